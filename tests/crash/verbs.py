#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every verb that changes metadata, ended at every one of its writes: the same command again finishes it, and undo
takes it back, byte for byte.

Usage: verbs.py MDTOOL CUT_WRITES_LIBRARY FIXTURES [SCALE]
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "interop"))
import ondisk  # pylint: disable=wrong-import-position  # what is on disk, read by code that is not mdtool's

MDTOOL, LIBRARY, FIXTURES = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
SCALE = int(sys.argv[4]) if len(sys.argv) > 4 else 1
CUT, REFUSED = 111, 64
SECTOR = 512
DENSE = 12  # so many writes are all cut at
MOST_CUTS = 1000  # of one command; more is a loop
ROW, BLOCK = 4096, 1 << 16
FIRST_USE, ALL_CLEAN = 0x08, 0x10  # a lockless header's flags
BLANK_MEMBERS, BLANK_BYTES = 3, 3 << 20


@dataclasses.dataclass
class Case:
    """A command on a fixture's members, or on blank ones: names of members stand for their paths."""
    name: str
    fixture: str | None
    arguments: list
    prepare: tuple = ()  # commands before it
    zeroed: tuple = ()   # (member, offset, length): lost before it
    done_is_refused: bool = False  # run again after its last change it has nothing left that it could work on
    rows: bool = False   # RAID-5, metadata 1.2: no cut may leave a row wrong whose parity is promised


# Members with a part of the new superblocks hold another array then, which has to be overridden.
GEOMETRY = ["--level=5", "--chunk=16", "--seed=1", "--force=old-content"]


def cases():
    raid5, raid6 = "1.2-raid5-4-none-clean", "1.2-raid6-5-classic-clean"
    every = [
        Case("set-name", raid5, ["set", "*", "--name", "other"]),
        Case("set-uuid", raid6, ["set", "*", "--field", "set_uuid=01234567:89abcdef:01234567:89abcdef"]),
        Case("set-chunk", raid5, ["set", "*", "--field", "chunksize=256", "--force=meaning"]),
        Case("set-slots", raid5, ["set", "*", "--slot", "m0.img=1", "--slot", "m1.img=0"]),
        Case("set-metadata", "0.90-raid5-3-none-clean", ["set", "*", "--update", "metadata"]),
        Case("fail", raid6, ["fail", "*", "--target", "m1.img"]),
        Case("fail-lockless", "1.2-raid5-4-lockless-clean", ["fail", "*", "--target", "m1.img"]),
        Case("fail-0.90", "0.90-raid6-5-classic-clean", ["fail", "*", "--target", "m1.img"]),
        Case("remove", raid6, ["remove", "*", "--target", "m1.img"], prepare=(["fail", "*", "--target", "m1.img"],)),
        Case("add-spare", raid6, ["add", "*", "--target", "m4.img"],
             prepare=(["fail", "*", "--target", "m4.img"], ["erase", "m4.img"])),
        Case("add-slot", raid5, ["add", "*", "--target", "m2.img", "--slot", "2"], zeroed=(("m2.img", 4096, 4096),)),
        Case("re-add", raid6, ["re-add", "*", "--target", "m1.img", "--force=slot-history"], prepare=(["fail", "*", "--target", "m1.img"],)),
        Case("force", raid5, ["force", "*"], prepare=(["fail", "*", "--target", "m1.img"],
                                                      ["fail", "*", "--target", "m2.img", "--force=too-few"])),
        Case("erase", raid5, ["erase", "m0.img", "m1.img", "--force=last-members"]),
        Case("resync", "1.2-raid5-4-classic-crash", ["resync", "*"]),
        Case("build-parity", "1.2-raid6-5-lockless-unwritten", ["build-parity", "*"]),
        Case("recover", "1.2-raid5-4-none-recovering", ["recover", "*"]),
    ]
    for metadata in ("0.90", "1.0", "1.2"):
        every.append(Case(f"create-{metadata}", None,
                          ["create", "*", *GEOMETRY, f"--metadata={metadata}", "--bitmap=internal"]))
    every += [
        Case("create-lockless", None, ["create", "*", *GEOMETRY, "--bitmap=lockless", "--write-zeroes"]),
        Case("create-ppl", None, ["create", "*", *GEOMETRY, "--consistency-policy=ppl", "--assume-clean"]),
        Case("create-over-others", None, ["create", "*", *GEOMETRY, "--metadata=1.1"],
             prepare=(["create", "m0.img", "m1.img", "--level=1", "--metadata=0.90", "--seed=2"],
                      ["create", "m2.img", "missing", "--level=1", "--metadata=1.0", "--seed=3"])),
        Case("zero-init", None, ["zero-init", "*"], rows=True,
             prepare=(["create", "*", *GEOMETRY, "--bitmap=lockless"],)),
        Case("zero-init-classic", None, ["zero-init", "*", "--force=data"], rows=True,
             prepare=(["create", "*", *GEOMETRY, "--bitmap=internal", "--bitmap-chunk=64K"],)),
        Case("bitmap-add", raid5, ["bitmap", "add", "*"], rows=True),
        Case("bitmap-add-lockless", None, ["bitmap", "add", "*", "--bitmap=lockless"], rows=True,
             prepare=(["create", "*", *GEOMETRY],)),
        Case("bitmap-remove", "1.2-raid5-4-lockless-mixed-crash", ["bitmap", "remove", "*"], rows=True),
        Case("bitmap-remove-classic", raid6, ["bitmap", "remove", "*"]),
        Case("bitmap-to-lockless", "1.2-raid5-4-classic-crash", ["bitmap", "convert", "*", "--bitmap=lockless"],
             rows=True),
        Case("bitmap-to-classic", "1.2-raid5-4-lockless-mixed-crash", ["bitmap", "convert", "*", "--bitmap=internal"],
             rows=True),
        Case("bitmap-chunk", "1.2-raid5-4-classic-crash",
             ["bitmap", "convert", "*", "--bitmap=internal", "--bitmap-chunk=256K"], rows=True),
        Case("bitmap-to-file", "1.2-raid5-4-classic-crash", ["bitmap", "convert", "*", "--bitmap=bits.file", "--force=overwrite"],
             done_is_refused=True),
        Case("bitmap-in-file", "1.2-raid5-4-classic-crash",
             ["bitmap", "convert", "*", "--from=bits.file", "--bitmap=bits.file", "--bitmap-chunk=8K", "--force=overwrite"],
             prepare=(["bitmap", "convert", "*", "--bitmap=bits.file"],)),
        Case("create-file", None, ["create", "*", *GEOMETRY, "--bitmap=bits.file"]),
        Case("bitmap-repair", "1.2-raid5-3-lockless-infected-header", ["bitmap", "repair", "*"]),
    ]
    return every


class Failure(Exception):
    pass


def changed(before, now, unit):
    """Where pieces of this size differ."""
    for block in range(0, len(before), BLOCK):
        if before[block:block + BLOCK] != now[block:block + BLOCK]:
            for at in range(block, min(block + BLOCK, len(before)), unit):
                if before[at:at + unit] != now[at:at + unit]:
                    yield at


def but_events(bitmap):
    """The file of a bitmap, but for its event counts: finished in a second run they are higher."""
    content = bitmap.read_bytes()
    return content[:24] + content[40:]


def wrong_rows(members):
    """First sectors of all rows whose blocks do not cancel each other out; RAID-5, wherever its parity is."""
    blocks = [ondisk.superblock(path, "1.2") for path in members]
    sum_of_all = 0
    for path, block in zip(members, blocks):
        sum_of_all ^= int.from_bytes(ondisk.read_at(path, block.data_offset * SECTOR, block.size * SECTOR), "little")
    rows = sum_of_all.to_bytes(blocks[0].size * SECTOR, "little")
    return [at // SECTOR for at in changed(bytes(len(rows)), rows, ROW)]


def promises(bitmap, array, row):
    """Whether a kernel that reads this copy of the bitmap believes the parity of this row."""
    if bitmap is None:
        return array.clean
    state = bitmap.states[row // bitmap.chunk]
    if not bitmap.lockless:
        return array.clean or (state == 0 and bitmap.events >= array.events)
    if bitmap.flags & FIRST_USE:
        return bool(bitmap.flags & ALL_CLEAN)
    return state in (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN)


def broken_promises(folder):
    members = sorted(folder.glob("*.img"))
    blocks = [ondisk.superblock(path, "1.2") for path in members]
    array = max(blocks, key=lambda block: block.events)
    copies = [ondisk.bitmap(path, block) for path, block in zip(members, blocks)]
    return {row for row in wrong_rows(members) if any(promises(copy, array, row) for copy in copies)}


def blank_members(folder):
    """Full of noise: over zeroes every parity would be right."""
    generator = random.Random(1)
    for slot in range(BLANK_MEMBERS):
        (folder / f"m{slot}.img").write_bytes(generator.randbytes(BLANK_BYTES))


def unpack(fixture, folder):
    for packed in sorted(fixture.glob("*.img.zst")):
        subprocess.run(["zstd", "-q", "-d", "--sparse", str(packed), "-o", str(folder / packed.stem)], check=True)


class Bench:
    """One case: its members as they were, and what an undisturbed run makes of them."""

    def __init__(self, case, scratch):
        self.case, self.scratch = case, scratch
        self.start = scratch / "start"
        self.start.mkdir(parents=True)
        if case.fixture is None:
            blank_members(self.start)
        else:
            unpack(FIXTURES / case.fixture, self.start)
        for command in case.prepare:
            self.require(self.run(command, self.start), (0, 1, 2), f"preparing by {command}")
        for member, offset, length in case.zeroed:
            with open(self.start / member, "r+b") as file:
                file.seek(offset)
                file.write(bytes(length))
        self.excused = broken_promises(self.start) if case.rows else set()
        self.after = self.copy("after")
        self.plan = self.dry_run(self.after)
        ran = self.run(case.arguments, self.after)
        self.require(ran, (0, 1, 2), "the undisturbed run")
        self.wanted = self.outcome(self.after)
        self.check_rows(self.after, "the undisturbed run")

    def require(self, ran, statuses, what):
        if ran.returncode not in statuses:
            raise Failure(f"{what}: exit status {ran.returncode}: {ran.stdout.decode()[-600:]}{ran.stderr.decode()[-600:]}")

    def copy(self, name):
        folder = self.scratch / name
        shutil.copytree(self.start, folder)
        return folder

    def words(self, command, folder):
        members = sorted(str(path) for path in folder.glob("*.img"))
        words = []
        for word in command:
            name, equals, rest = word.partition("=")
            if word == "*":
                words += members
            elif rest.endswith(".file"):
                words.append(name + equals + str(folder / rest))
            elif name.endswith(".img"):
                words.append(str(folder / name) + equals + rest)
            else:
                words.append(word)
        return words

    def run(self, command, folder, undo="none", writes=None, sectors=0, more=()):
        environment = dict(os.environ, XDG_STATE_HOME=str(folder / "state"))
        if writes is not None:
            environment.update(LD_PRELOAD=LIBRARY, CUT_WRITES=str(writes), CUT_SECTORS=str(sectors))
        options = ["--yes", "--undo", str(undo)] if "--dry-run" not in more else []
        return subprocess.run([MDTOOL, *self.words(command, folder), *options, *more], capture_output=True, timeout=60,
                              check=False, stdin=subprocess.DEVNULL, env=environment)

    def dry_run(self, folder):
        ran = self.run(self.case.arguments, folder, more=("--dry-run", "--json"))
        self.require(ran, (0, 1, 2), "the dry run")
        return json.loads(ran.stdout)["plan"]

    def outcome(self, folder):
        """What matters of the members: who holds which slot, in which state, and what the array is."""
        ran = subprocess.run([MDTOOL, "examine", "--json", *sorted(str(p) for p in folder.glob("*.img"))],
                             capture_output=True, timeout=60, check=False)
        arrays = json.loads(ran.stdout)["arrays"]
        return [{"uuid": a["uuid"], "name": a.get("name"), "verdict": a["verdict"], "clean": a["clean"],
                 "members": sorted((str(m["slot"]), m["role"], m["state"],
                                    pathlib.Path(m["path"]).name if m["path"] else "") for m in a["members"])}
                for a in arrays]

    def planned(self):
        """(member's name, first byte, end) of everything that the dry run said may be written."""
        extents = []
        for patch in (patch for stage in self.plan.get("stages", []) for patch in stage):
            path = self.plan["members"][patch["member"]]["path"]
            extents.append((pathlib.Path(path).name, patch["offset_bytes"],
                            patch["offset_bytes"] + patch["length_bytes"]))
        for zeroed in self.plan.get("zeroed", []):
            extents.append((pathlib.Path(self.plan["members"][zeroed["member"]]["path"]).name, zeroed["offset_bytes"],
                            zeroed["offset_bytes"] + zeroed["length_bytes"]))
        for member in self.plan.get("members", []):
            for extent in member.get("may_write", []):
                extents.append((pathlib.Path(member["path"]).name, extent["offset_bytes"],
                                extent["offset_bytes"] + extent["length_bytes"]))
        return extents

    def check_only_planned(self, folder):
        planned = self.planned()
        for path in sorted(self.start.glob("*.img")):
            extents = [(first, end) for name, first, end in planned if name == path.name]
            for at in changed(path.read_bytes(), (folder / path.name).read_bytes(), SECTOR):
                if not any(first < at + SECTOR and at < end for first, end in extents):
                    raise Failure(f"{path.name}: sector at byte {at} changed, which the plan does not name")

    def check_files(self, folder, where):
        """Whatever is no member is as it was or as it becomes, and whole."""
        for name in sorted({path.name for of in (self.start, self.after) for path in of.glob("*.file")}):
            versions = [path.read_bytes() if path.exists() else None for path in (self.start / name, self.after / name)]
            now = (folder / name).read_bytes() if (folder / name).exists() else None
            if now not in versions:
                raise Failure(f"{where}: {name} is neither what it was nor what it is to be")

    def check_rows(self, folder, where):
        broken = broken_promises(folder) - self.excused if self.case.rows else None
        if broken:
            raise Failure(f"{where}: parity is promised and wrong from sector {min(broken)} on, in {len(broken)} rows")

    def cut(self, writes, sectors):
        """True while the run was cut: then what it left is finished on one copy and taken back on another."""
        name = f"cut-{writes}-{sectors}"
        folder = self.copy(name)
        undo = self.scratch / f"{name}.undo"
        ran = self.run(self.case.arguments, folder, undo, writes, sectors)
        where = f"cut after {writes} writes and {sectors} sectors"
        if ran.returncode != CUT:
            self.require(ran, (0, 1, 2), where)
            shutil.rmtree(folder)
            return False
        self.check_only_planned(folder)
        self.check_files(folder, where)
        self.check_rows(folder, where)
        again = self.scratch / f"{name}-again"
        shutil.copytree(folder, again)
        # A cut can fall after the last change: then there is nothing left to do, which is as good.
        done = self.case.done_is_refused and self.outcome(again) == self.wanted
        self.require(self.run(self.case.arguments, again), (0, 1, 2, REFUSED) if done else (0, 1, 2), f"{where}, and run again")
        found = self.outcome(again)
        if found != self.wanted:
            raise Failure(f"{where}, and run again:\n  {found}\ninstead of\n  {self.wanted}")
        if any(but_events(again / path.name) != but_events(path) for path in self.after.glob("*.file")):
            raise Failure(f"{where}, and run again: a file is not what it is to be")
        self.check_rows(again, f"{where}, and run again")
        self.undo(folder, undo, where)
        shutil.rmtree(folder)
        shutil.rmtree(again)
        return True

    def undo(self, folder, undo, where):
        if undo.exists():
            ran = subprocess.run([MDTOOL, "undo", "--yes", "--undo", "none", str(undo)], capture_output=True,
                                 timeout=60, check=False, stdin=subprocess.DEVNULL)
            # Cut off in a record an undo file tells of no write that was made; in its first one, of nothing at all.
            torn = {8: b"cut off before it was of use", 4: b"undo-tail-dropped"}.get(ran.returncode)
            if torn is None or torn not in ran.stderr:
                self.require(ran, (0,), f"{where}, and undone")
        parity = self.plan.get("zeroed") or any(e.get("purpose") not in ("superblock", "bitmap") for m in self.plan.get("members", [])
                     for e in m.get("may_write", []))
        for path in sorted(self.start.glob("*.img")):
            if not parity and path.read_bytes() != (folder / path.name).read_bytes():
                raise Failure(f"{where}, and undone: {path.name} is not what it was")


def try_case(case):
    with tempfile.TemporaryDirectory(prefix="mdtool-verbs-") as scratch:
        bench = Bench(case, pathlib.Path(scratch))
        cuts = 0
        for sectors in (0, 1, 3):
            writes = 0
            while bench.cut(writes, sectors):
                # All of a short command; of a long one the further on, the fewer.
                writes += 1 + writes // (DENSE * SCALE)
                cuts += 1
                if cuts > MOST_CUTS:
                    raise Failure(f"{MOST_CUTS} cuts and no end")
        if cuts < 6:
            raise Failure(f"only {cuts} cuts: the writes are not counted")
        return cuts


def main():
    wanted = sys.argv[5:]
    chosen = [case for case in cases() if not wanted or case.name in wanted]
    failures = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for case, future in [(case, pool.submit(try_case, case)) for case in chosen]:
            try:
                print(f"{case.name}: {future.result()} cuts, each finished and taken back")
            except Failure as failure:
                failures += 1
                print(f"{case.name}: FAILED: {failure}")
    print(f"{len(chosen) - failures} of {len(chosen)} commands converge from every cut")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
