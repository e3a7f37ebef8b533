# SPDX-License-Identifier: GPL-2.0-or-later
"""The same writes through the kernel's md and through mdtool: the lockless bitmap's states have to be the same, chunk by
chunk, before any daemon ran and at rest. Where the kernel loses data, mdtool differs, and it is said how."""
import os
import subprocess

import lab
import ondisk
import serving
from lab import Shape

CHUNK = 128  # sectors of a member: the kernel's choice here
MEMBER_KIB = 41 * 1024  # more than one block of 512 states
SNAPSHOT_BYTES = 256 << 10  # superblock and bitmap of a member
AT_REST = "at rest"
WRITE = 5  # seed of what is written
DAEMON = 1  # seconds; else the kernel takes 30

# What the arrays are when the pattern begins.
BASES = {"unwritten": ("--force", ""), "clean": ("--assume-clean", ""),
         "clean-unwritten": ("--force", "syncs=$(syncs_of MD); echo 1 >/sys/block/MD/md/llbitmap/proactive_sync; begun MD $syncs; settle MD\n")}


def slots_of(level):
    return 4 if level == 6 else 3


def at(chunk, sectors_in=0):
    """An array sector in this chunk of the bitmap, of an array with two data disks."""
    return chunk * CHUNK * 2 + sectors_in


# Patterns: (name, base, level, lost, operations). Sectors of the array, all for two data disks.
PATTERNS = [
    ("one sector", "unwritten", 5, None, [("write", at(3, 5), 1)]),
    ("one sector of a clean array", "clean", 5, None, [("write", at(3, 5), 1)]),
    ("one sector of a built array", "clean-unwritten", 5, None, [("write", at(3, 5), 1)]),
    ("one chunk", "unwritten", 4, None, [("write", at(7), 256)]),
    ("two chunks at once", "unwritten", 5, None, [("write", at(7, 200), 100)]),
    ("two chunks of one block", "unwritten", 5, None, [("write", at(2), 8), ("write", at(90), 8)]),
    ("two chunks of one block, clean", "clean", 5, None, [("write", at(2), 8), ("write", at(90), 8)]),
    ("two chunks of one block, built", "clean-unwritten", 5, None, [("write", at(2), 8), ("write", at(90), 8)]),
    ("two blocks", "unwritten", 5, None, [("write", at(2), 8), ("write", at(600), 8)]),
    ("rewrites", "unwritten", 5, None, [("write", at(4, 9), 3)] * 3),
    ("rewrites, clean", "clean", 4, None, [("write", at(4, 9), 3), ("write", at(4, 11), 30)]),
    ("rewrite after rest", "unwritten", 5, None, [("write", at(4, 9), 3), ("rest",), ("write", at(4, 60), 3)]),
    ("rest, then another", "clean", 5, None, [("write", at(4, 9), 3), ("rest",), ("write", at(40), 3)]),
    ("raid6", "unwritten", 6, None, [("write", at(2), 8), ("write", at(601), 80)]),
    ("degraded", "unwritten", 5, 1, [("write", at(3), 9), ("write", at(3, 40), 9)]),
    ("degraded, clean", "clean", 5, 0, [("write", at(3), 9), ("write", at(33), 9)]),
    ("degraded, built", "clean-unwritten", 5, 2, [("write", at(3), 9), ("write", at(33), 700)]),
    ("fails in between", "clean", 5, None, [("write", at(3), 9), ("fail", 1), ("write", at(60), 9)]),
    ("fails in between, unwritten", "unwritten", 6, None, [("write", at(3), 9), ("fail", 0), ("write", at(60), 9)]),
    ("discard", "clean", 5, None, [("discard", at(8), 256 * 3)]),
    ("discard of what was written", "unwritten", 5, None, [("write", at(8), 256), ("discard", at(8), 256)]),
    ("write after discard", "clean", 5, None, [("discard", at(8), 256 * 3), ("write", at(9), 8)]),
    ("discard, built", "clean-unwritten", 5, None, [("discard", at(520), 256 * 2)]),
    ("discard from within a chunk", "clean", 5, None, [("discard", at(8, 64), 256 * 3 - 64)]),
    ("discard to within a chunk", "clean", 5, None, [("discard", at(8), 256 * 2 + 64)]),
]

class Case:
    def __init__(self, number, pattern, base):
        self.name, self.base_name, self.level, self.lost, self.operations = pattern
        self.number = number
        self.base = base

    def devices(self, all_of_them):
        return " ".join(device for slot, device in enumerate(all_of_them) if slot != self.lost)

    def has(self, kind):
        return any(operation[0] == kind for operation in self.operations)

    def for_kernel(self, md, letters):
        one = letters.split()
        script = f"""
mdadm --assemble --run /dev/{md} {self.devices(one)} >/tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}
echo {DAEMON} >/sys/block/{md}/md/llbitmap/daemon_sleep
echo {DAEMON} >/sys/block/{md}/md/llbitmap/barrier_idle
echo frozen >/sys/block/{md}/md/sync_action
"""
        for operation in self.operations:
            script += {"write": "pattern write /dev/{md} {seed} {0} {1}\n",
                       "discard": "blkdiscard -o $(({0} * 512)) -l $(({1} * 512)) /dev/{md}\n",
                       "fail": "mdadm /dev/{md} --fail {failing} >/dev/null 2>&1\nsleep 0.5\n",
                       "rest": "rest {md}\necho frozen >/sys/block/{md}/md/sync_action\n"}[operation[0]].format(
                           *operation[1:], md=md, seed=WRITE, failing=one[operation[1]] if operation[0] == "fail" else "")
        return script

    def snapshots(self, letters, when):
        return "".join(f"dd if={device} of=/share/{self.number}-{when}-{slot} bs=64k count={SNAPSHOT_BYTES >> 16} 2>/dev/null\n"
                       for slot, device in enumerate(letters.split()))

    def for_mdtool(self):
        words = {"write": "write {0} {1} {seed}\nflush", "discard": "discard {0} {1}\nflush", "fail": "fail {0}", "rest": "idle"}
        return "".join(words[operation[0]].format(*operation[1:], seed=WRITE) + "\n" for operation in self.operations)

    def gone(self):
        """Slots that are out in the end."""
        return {self.lost} - {None} | {operation[1] for operation in self.operations if operation[0] == "fail"}

    def states_before(self):
        """By name: the header of an array that was only created says nothing of its chunks yet."""
        value = {"unwritten": ondisk.UNWRITTEN, "clean": ondisk.CLEAN, "clean-unwritten": ondisk.CLEAN_UNWRITTEN}[self.base_name]
        return [value] * (self.base.first().size // CHUNK + 1)

    def wholly_discarded(self):
        """Chunks of which a discard leaves nothing."""
        width = 2 * CHUNK
        return {chunk for kind, *where in self.operations if kind == "discard"
                for chunk in range(-(-where[0] // width), sum(where) // width)}

    def partly_discarded(self):
        """Chunks of which a discard covers a part only."""
        result = set()
        for operation in self.operations:
            if operation[0] == "discard":
                first, end = operation[1], operation[1] + operation[2]
                result |= {edge // (2 * CHUNK) for edge in (first, end) if edge % (2 * CHUNK)}
        return result


REST = f"""
rest() {{  # MD...: parity is built, bits are cleared
  for one in "$@"; do echo idle >/sys/block/$one/md/sync_action; done
  sleep 0.5
  for one in "$@"; do settle $one; done
  sleep {2 * DAEMON + 1.5}
}}
"""


def make_bases(one, patterns):
    """One array of each kind that these patterns begin with."""
    kinds = sorted({(level, base) for _, base, level, _, _ in patterns})
    bases = {}
    for group in lab.groups(kinds, lambda kind: slots_of(kind[0])):
        script, images = "", []
        for n, (level, base) in enumerate(group):
            extra, then = BASES[base]
            shape = Shape(level, slots_of(level), None, 64, bitmap="lockless", member_kib=MEMBER_KIB, extra=extra)
            members = lab.Members(shape)
            generator = one.random("base", level, base)
            for slot in range(shape.slots):
                path = one.place("bases", f"{level}-{base}", f"m{slot}.img")
                with open(path, "wb") as file:
                    file.truncate(MEMBER_KIB * 1024)
                for island in (1, 2, 9, 22, 38):
                    ondisk.write_at(path, island << 20, generator.randbytes(1 << 20))
                members.paths.append(path)
            md = f"md{n}"
            script += f"{shape.create(md, lab.letters(len(images), shape.slots))}\nsettle {md}\n{then.replace('MD', md)}stop {md}\n"
            images += members.paths
            bases[level, base] = members
        one.boot(script, images)
    return bases


def give_own_uuid(members, uuid):
    """Two arrays of one UUID cannot run at a time."""
    for path, block in zip(members.paths, members.superblocks()):
        ondisk.edit_version_1(path, block, ondisk.UUID_AT, uuid)
        ondisk.write_at(path, block.bitmap_at + ondisk.BITMAP_UUID_AT, uuid)


def kernels(one, number, cases):
    """All of these cases at a time; what the kernel had on its members at once, and at rest, is in the share."""
    share = os.path.dirname(one.place(f"boot-{number}", "share", "x"))
    images, letters, script = [], [], REST
    for case in cases:
        case.kernel = case.base.copy_to(one.place(f"boot-{number}", f"kernel-{case.number}"))
        give_own_uuid(case.kernel, one.random("uuid", case.number).randbytes(16))
        letters.append(lab.letters(len(images), case.kernel.shape.slots))
        images += case.kernel.paths
        case.share = share
    for n, case in enumerate(cases):
        script += case.for_kernel(f"md{n}", letters[n])
    script += "echo 3 >/proc/sys/vm/drop_caches\n"
    script += "".join(case.snapshots(letters[n], "once") for n, case in enumerate(cases))
    script += "rest " + " ".join(f"md{n}" for n in range(len(cases))) + "\n"
    script += "".join(f"bits md{n}\nstop md{n}\n" for n in range(len(cases)))
    return one.boot(script, images, share=share, arguments=["-a", "raid456.devices_handle_discard_safely=Y"])


def states_of(case, paths):
    """The bitmap on the first member that is still in the array; all copies have to be alike."""
    left = [path for slot, path in enumerate(paths) if slot not in case.gone()]
    return [ondisk.bitmap(path, ondisk.superblock(path, "1.2")).states for path in left]


def drive(one, members, case, script):
    rest = members.without({case.lost} - {None})
    done = subprocess.run([one.options.live_array, *rest.present()], input=script, capture_output=True, text=True, check=False,
                          timeout=120)
    one.require(done.returncode == 0, f"live_array: {done.returncode} {done.stderr}")


def through_the_file(one, members, case):
    with serving.Server(one, members.without({case.lost} - {None}).present()) as server:
        for _, first, count in case.operations:
            done = subprocess.run([one.options.pattern, "write", server.at, str(WRITE), str(first), str(count)], check=False,
                                  capture_output=True, text=True)
            one.require(done.returncode == 0, f"pattern write: {done.stderr}")
        server.kill()
        server.clear_away()


def compare(one, case, ours, kernels_paths, when):
    copies = states_of(case, ours.paths)
    one.expect(all(copy == copies[0] for copy in copies), f"{when}: the members' copies differ")
    mine, theirs, before = copies[0], states_of(case, kernels_paths)[0], case.states_before()
    differing = [chunk for chunk, (a, b) in enumerate(zip(mine, theirs)) if a != b]
    part, whole = case.partly_discarded(), case.wholly_discarded()
    one.expect(all(mine[chunk] != ondisk.UNWRITTEN or before[chunk] == ondisk.UNWRITTEN for chunk in part),
               f"{when}: a chunk of which a part was discarded is called Unwritten")
    known = part | {chunk for chunk in whole if when != AT_REST and mine[chunk] == ondisk.DIRTY}  # what is zeroed may be torn
    for chunk in sorted(known & set(differing)):
        one.note(f"{when}: discarded chunk {chunk} is {state(theirs[chunk])} by the kernel, {state(mine[chunk])} by mdtool")
    if case.gone() and case.level == 6:  # the kernel syncs on with one member missing
        known = known | {chunk for chunk in differing if mine[chunk] == ondisk.NEED_SYNC and theirs[chunk] == ondisk.DIRTY}
    unknown = {chunk: (state(mine[chunk]), state(theirs[chunk])) for chunk in differing if chunk not in known}
    one.expect(not unknown, f"{when}: {len(unknown)} chunks differ (mdtool's, the kernel's): {dict(list(unknown.items())[:6])}")
    one.expect(bool(case.operations) and len(mine) > 512, "too few chunks")


def state(value):
    return ondisk.STATE_NAMES[value] if value < len(ondisk.STATE_NAMES) else hex(value)


def one_case(one, case):
    at_once = [os.path.join(case.share, f"{case.number}-once-{slot}") for slot in range(case.base.shape.slots)]
    ours = case.base.copy_to(one.place("ours", f"{case.number}-once"))
    drive(one, ours, case, case.for_mdtool())
    compare(one, case, ours, at_once, "killed at once")
    if not serving.missing_for_fuse() and all(operation[0] == "write" for operation in case.operations):
        served = case.base.copy_to(one.place("ours", f"{case.number}-served"))
        through_the_file(one, served, case)
        compare(one, case, served, at_once, "served, and killed at once")
    rested = case.base.copy_to(one.place("ours", f"{case.number}-rest"))
    drive(one, rested, case, case.for_mdtool() + "idle\nstop\n")
    compare(one, case, rested, case.kernel.paths, AT_REST)
    if case.gone():
        return
    bits = rested.bitmap()
    promised = ondisk.merged((c * CHUNK, min((c + 1) * CHUNK, rested.first().size)) for c, s in enumerate(bits.states)
                             if s in (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN))
    before = set(one.wrong_rows(case.base, promised))  # --assume-clean over garbage
    one.expect_equal(set(one.wrong_rows(rested, promised)) - before, set(), f"{AT_REST}: rows with wrong parity")
    one.expect_settled(rested)
    if not case.has("discard"):
        compare_content(one, case, rested)


def compare_content(one, case, rested):
    """What was written is the same; elsewhere the kernel's lazy recovery changes what was never written, mdtool nothing."""
    contents = []
    for members in (rested, case.kernel, case.base):
        path = one.place("content")
        one.oracle(members, "--content", path)
        with open(path, "rb") as file:
            contents.append(bytearray(file.read()))
    ours, theirs, before = contents
    written = [slice(where[0] * 512, sum(where) * 512) for kind, *where in case.operations if kind == "write"]
    for piece in written:
        one.expect(ours[piece] == theirs[piece] != before[piece], f"content of what was written at byte {piece.start}")
    for piece in written:
        ours[piece] = before[piece]
    one.expect(ours == before, "content that nobody wrote to")


def some_patterns(one):
    """All of them in a full run; else a few of every kind."""
    if one.rounds > 1 or one.options.only:
        return PATTERNS
    generator = one.random("patterns")
    discards = [pattern for pattern in PATTERNS if "discard" in pattern[0]]
    missing = [pattern for pattern in PATTERNS if "degraded" in pattern[0] or "fails" in pattern[0]]
    writes = [pattern for pattern in PATTERNS if pattern not in discards and pattern not in missing]
    return generator.sample(writes, 2) + generator.sample(missing, 1) + generator.sample(discards, 2)


def run(one):
    patterns = some_patterns(one)
    bases = one.run("making of bases", make_bases, patterns)
    cases = [Case(number, pattern, bases[pattern[2], pattern[1]]) for number, pattern in enumerate(patterns)]
    for number, group in enumerate(lab.groups(cases, lambda case: slots_of(case.level))):
        one.run(f"making of boot {number}", kernels, number, group)
        for case in group:
            if hasattr(case, "share"):
                one.run(case.name, one_case, case)
