# SPDX-License-Identifier: GPL-2.0-or-later
"""The interop tests' tools: a guest with the real kernel, mdtool, the parity oracle, arrays full of garbage, expectations.

Knows how to run things and how to complain; what is expected of whom is said by the cases.
"""
import fcntl
import functools
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import ondisk

HERE = os.path.dirname(os.path.abspath(__file__))
RAID5_LAYOUTS = ["left-asymmetric", "right-asymmetric", "left-symmetric", "right-symmetric", "parity-first",
                 "parity-last"]
RAID6_LAYOUTS = RAID5_LAYOUTS + ["ddf-zero-restart", "ddf-N-restart", "ddf-N-continue", "left-asymmetric-6",
                                 "right-asymmetric-6", "left-symmetric-6", "right-symmetric-6", "parity-first-6"]
METADATA = ["0.90", "1.0", "1.1", "1.2"]
MOST_IMAGES = 16  # of a guest
FREE_AFTER_SECONDS = 20  # nothing may hold a guest's images so long after its end

# The words of every guest script. Answers are lines "@ KEY VALUE".
GUEST = r"""
say() { echo "@ $*"; }
sys() { cat /sys/block/$1/md/$2 2>/dev/null || echo none; }
syncs_of() { dmesg | grep -cE "md: .* of RAID array $1( |\$)" || true; }  # how many the kernel has started, checks too
settle() {  # MD: no sync, and marked clean
  sleep 0.3
  while [ "$(cat /sys/block/$1/md/sync_action 2>/dev/null || echo idle)" != idle ]; do sleep 0.1; done
  while grep -qE '^(active|write-pending)$' /sys/block/$1/md/array_state; do sleep 0.1; done
}
under_way() { until grep -q '^active' /sys/block/$1/md/array_state; do sleep 0.02; done; }  # MD: written to, its metadata says so
begun() {  # MD COUNT: a sync beyond the first COUNT has begun; or none does in ten seconds
  for _ in $(seq 100); do [ "$(syncs_of $1)" -le "$2" ] || break; sleep 0.1; done
}
stop() { settle $1; mdadm --stop /dev/$1 >/dev/null 2>&1; }
attach() {  # FILE...: $devices are loop devices on them
  devices=''
  for file in "$@"; do
    loop=$(losetup -f)
    losetup $loop "$file"
    devices="$devices $loop"
  done
}
detach() { for loop in $devices; do losetup -d $loop; done; }
assemble() {  # MD OPTION|MEMBER...: says how it went, the reason too
  one=$1
  shift
  if mdadm --assemble /dev/$one "$@" >/tmp/said 2>&1; then say $one.assembled yes; else say $one.assembled no; fi
  say $one.said "$(tr '\n' ' ' </tmp/said)"
  sleep 0.1
  say $one.array_state "$(sys $one array_state)"
  say $one.degraded "$(sys $one degraded)"
}
at_rest() {  # MD...: whether the kernel syncs anything of its own accord
  sleep 0.8
  for one in "$@"; do
    say $one.sync_action "$(sys $one sync_action)"
    say $one.sync_completed "$(sys $one sync_completed)"
    say $one.syncs $(syncs_of $one)
    say $one.mdstat "$(sed -n "/^$one :/,/^ *\$/p" /proc/mdstat | grep -cE 'resync|recover|PENDING|DELAYED' || true)"
  done
}
bits() { [ ! -e /sys/block/$1/md/llbitmap/bits ] || sed 's/ \([0-9]*\)$/=\1/; s/ /_/g' /sys/block/$1/md/llbitmap/bits | while read -r line; do say "$1.bits.${line%=*} ${line#*=}"; done; }
check() {  # MD...
  for one in "$@"; do echo check >/sys/block/$one/md/sync_action; done
  for one in "$@"; do
    settle $one
    say $one.mismatches "$(sys $one mismatch_cnt)"
  done
}
verify() {  # MD SEED FIRST COUNT: content
  [ "$4" -gt 0 ] || return 0
  if pattern check /dev/$1 $2 $3 $4 >/tmp/said 2>&1; then say "$1.content.$3 right"; else say "$1.content.$3 $(tr '\n' ' ' </tmp/said)"; fi
}
hash_of() { sha256sum </dev/$1 | sed 's/ .*//'; }
"""


def short(value, limit=300):
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "..."


class Abandoned(Exception):
    """The case cannot go on; why is already among the failures."""


@dataclass
class Shape:
    level: int
    slots: int
    layout: str | None = None
    chunk_kib: int = 64
    metadata: str = "1.2"
    bitmap: str = "none"
    bitmap_chunk_kib: int = 64
    member_kib: int = 4096
    size_kib: int | None = None
    extra: str = "--force"

    @property
    def data_disks(self):
        return self.slots - (2 if self.level == 6 else 1)

    def options(self):
        words = [f"--level={self.level} --raid-devices={self.slots} --chunk={self.chunk_kib}",
                 f"--metadata={self.metadata}", self.extra]
        if self.layout:
            words.append(f"--layout={self.layout}")
        if self.bitmap == "classic":
            words.append(f"--bitmap=internal --bitmap-chunk={self.bitmap_chunk_kib}K")
        if self.bitmap == "lockless":
            words.append("--bitmap=lockless")
        if self.size_kib:
            words.append(f"--size={self.size_kib}")
        return " ".join(words)

    def create(self, md, devices):
        return f"mdadm --create /dev/{md} --run {self.options()} {devices} >/tmp/created 2>&1 || {{ cat /tmp/created; exit 1; }}"

    def __str__(self):
        bitmap = self.bitmap if self.bitmap != "classic" else f"classic/{self.bitmap_chunk_kib}K"
        return f"{self.metadata} raid{self.level} {self.layout or '-'} x{self.slots} chunk {self.chunk_kib}K bitmap {bitmap}"


def letters(first, count):
    return " ".join(f"/dev/ubd{chr(ord('a') + n)}" for n in range(first, first + count))


@dataclass
class Members:
    """An array's images in slot order; an absent slot is None."""
    shape: Shape
    paths: list = field(default_factory=list)

    def present(self):
        return [path for path in self.paths if path]

    def superblocks(self):
        return [ondisk.superblock(path, self.shape.metadata) for path in self.present()]

    def first(self):
        return ondisk.superblock(self.present()[0], self.shape.metadata)

    def bitmap(self):
        return ondisk.bitmap(self.present()[0], self.first())

    def due(self):
        return ondisk.due_ranges(self.present(), self.shape.metadata)

    def without(self, slots):
        return Members(self.shape, [None if slot in slots else path for slot, path in enumerate(self.paths)])

    def digests(self):
        return [digest(path) for path in self.present()]

    def metadata(self):
        """A digest for each member of all that is not content: what an undo has to put back."""
        return [hashlib.sha256(ondisk.metadata_bytes(path, block)).hexdigest()
                for path, block in zip(self.present(), self.superblocks())]

    def copy_to(self, directory):
        os.makedirs(directory, exist_ok=True)
        copies = []
        for path in self.paths:
            copies.append(os.path.join(directory, os.path.basename(path)) if path else None)
            if path:
                subprocess.run(["cp", "--sparse=always", path, copies[-1]], check=True)
        return Members(self.shape, copies)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def within(seconds, holds):
    """Whether this holds at some moment of the next seconds; asked once at least."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def lock(file):
    """All of it for this open file alone, as mdtool does; OSError if it is locked."""
    fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


def can_be_locked(path):
    with open(path, "r+b") as file:
        try:
            lock(file)
        except (BlockingIOError, PermissionError):
            return False
    return True


def groups(things, slots_of):
    """In order, as many at a time as one guest takes images."""
    group, images = [], 0
    for thing in things:
        if images + slots_of(thing) > MOST_IMAGES:
            yield group
            group, images = [], 0
        group.append(thing)
        images += slots_of(thing)
    if group:
        yield group


def tolerable_losses(shape):
    """Every set of slots that the array can do without, the empty one first."""
    most = 2 if shape.level == 6 else 1
    return [set(lost) for n in range(most + 1) for lost in itertools.combinations(range(shape.slots), n)]


class Lab:
    """One part's run: its seed, its scratch directory and what went wrong so far."""

    def __init__(self, part, options):
        self.part = part
        self.options = options
        self.seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
        self.rounds = options.scale
        self.directory = tempfile.mkdtemp(prefix=f"mdtool-interop-{part}-", dir=options.scratch)
        self.failures = []
        self.expectations = 0
        self.where = part
        self.lacking = None

    # ---- expectations ------------------------------------------------------------------------------------------------

    def random(self, *what):
        """Random numbers of their own for each case, so that one case can be run again alone."""
        return random.Random(repr((self.seed, *what)))

    def expect(self, holds, what):
        self.expectations += 1
        if not holds:
            self.failures.append(f"{self.where}: {what}")
            print(f"FAILED {self.where}: {what}", flush=True)
        return holds

    def expect_equal(self, found, expected, what):
        return self.expect(found == expected, f"{what}: {short(found)}, expected {short(expected)}")

    def require(self, holds, what):
        if not self.expect(holds, what):
            raise Abandoned

    def skip(self, lacking):
        """Nothing is shown here: this machine lacks something."""
        self.lacking = lacking

    def note(self, what):
        print(f"  {self.where}: {what}", flush=True)

    def run(self, name, case, *arguments):
        """Runs one case (its result is returned). What others need, a "making of", runs whatever --only says."""
        if self.options.only and self.options.only not in name and not name.startswith("making of "):
            return None
        self.where = f"{self.part} {name}"
        self.name = name
        result = None
        try:
            result = case(self, *arguments)
        except Abandoned:
            pass
        except Exception as error:  # pylint: disable=broad-except  # the other cases are to run all the same
            self.expect(False, f"{type(error).__name__}: {error}")
            if self.options.trace:
                raise
        again = f"tests/interop/run {self.part} --seed {self.seed} --only '{name}'"
        if any(failure.startswith(self.where + ":") for failure in self.failures):
            print(f"  seed {self.seed}, files in {self.directory}; again: {again}", flush=True)
        return result

    def finish(self):
        if self.failures:
            print(f"\n{self.part}: {len(self.failures)} of {self.expectations} expectations failed (seed {self.seed}; "
                  f"again: tests/interop/run {self.part} --seed {self.seed}; files kept in {self.directory}):")
            for failure in self.failures:
                print(f"  {failure}")
            return 1
        if not self.options.keep:
            shutil.rmtree(self.directory)
        if self.lacking:
            print(f"{self.part}: not run here, this machine lacks: {self.lacking}")
            return 0
        print(f"{self.part}: {self.expectations} expectations, all met (seed {self.seed})")
        return 0 if self.expectations else 1

    # ---- running things ----------------------------------------------------------------------------------------------

    def place(self, *names):
        # No commas: the guest's disks are named on its command line.
        path = os.path.join(self.directory, *(re.sub(r"[^\w.+-]+", "_", name) for name in names))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def boot(self, script, images=(), *, share=None, write_through=False, limit=300, arguments=(), kernel=None):
        """Runs a script under the real kernel, or a stock one of that series; what it said with `say`, as {KEY: VALUE}."""
        path = self.place(self.name, f"guest-{next(self.counter)}.sh")
        with open(path, "w", encoding="ascii") as file:
            file.write(GUEST + script)
        runner = ["vm", "-k", kernel] if kernel else ["uml"]
        command = [os.path.join(HERE, runner[0]), *runner[1:], "-b", self.options.pattern, "-t", str(limit), *arguments]
        command += ["-s", share] if share else []
        command += ["-w"] if write_through else []
        done = subprocess.run([*command, path, *images], capture_output=True, text=True, errors="replace", check=False)
        with open(path + ".out", "w", encoding="utf-8") as file:
            file.write(done.stdout + done.stderr)
        self.require(done.returncode == 0, f"the guest ended with {done.returncode} ({path}): "
                     f"{(done.stdout + done.stderr)[-800:]}")
        held = [image for image in images if not within(FREE_AFTER_SECONDS, lambda image=image: can_be_locked(image))]
        self.require(not held, f"{FREE_AFTER_SECONDS} s after the guest's end ({path}) something still locks {held}")
        answers = {}
        for line in done.stdout.splitlines():
            if line.startswith("@ "):
                key, _, value = line[2:].partition(" ")
                answers[key] = value
        return answers

    counter = itertools.count(1)

    def mdtool(self, *arguments):
        """Runs mdtool --json: (exit status, document). It must answer with one document, however it went."""
        done = subprocess.run([self.options.mdtool, *arguments, "--json", "--progress=none"], capture_output=True,
                              check=False, timeout=300, stdin=subprocess.DEVNULL)
        words = " ".join(os.path.relpath(a, self.directory) if a.startswith(self.directory) else a for a in arguments)
        self.require(0 <= done.returncode < 128, f"mdtool {words} died: {done.returncode} {done.stderr[-500:]!r}")
        try:
            document = json.loads(done.stdout)
        except ValueError:
            self.require(False, f"mdtool {words}: no JSON on stdout: {done.stdout[:200]!r} {done.stderr[-500:]!r}")
        self.expect_equal(document["exit"], done.returncode, f"mdtool {words}: exit in JSON")
        self.last = f"mdtool {words} -> {done.returncode} {document.get('error', '')}"
        return done.returncode, document

    def examine(self, paths, *options):
        """The only array on these members."""
        status, document = self.mdtool("examine", *options, *paths)
        self.require(len(document["arrays"]) == 1, f"examine finds {len(document['arrays'])} arrays, not one")
        return status, document["arrays"][0], document["findings"]

    # ---- arrays ------------------------------------------------------------------------------------------------------

    def members(self, shape, *names, generator=None, tail_of_zeroes=False):
        """Images full of random bytes, so that no parity is right by accident."""
        generator = generator or self.random(*names)
        result = Members(shape)
        for slot in range(shape.slots):
            path = self.place(*names, f"m{slot}.img")
            content = generator.randbytes(shape.member_kib * 1024)
            if tail_of_zeroes:
                content = content[:len(content) * 2 // 3].ljust(len(content), b"\0")
            with open(path, "wb") as file:
                file.write(content)
            result.paths.append(path)
        return result

    def oracle(self, members, *mode):
        block = members.first()
        blocks = iter(members.superblocks())
        places = [f"{path}:{next(blocks).data_offset}" if path else "-" for path in members.paths]
        layout = str(block.layout) if members.shape.level != 4 else "-"
        done = subprocess.run([self.options.oracle, str(members.shape.level), layout, str(block.chunk),
                               str(block.raid_disks), str(block.size), *places, *map(str, mode)],
                              capture_output=True, text=True, check=False)
        self.require(done.returncode in (0, 1), f"the oracle failed: {done.stderr}")
        return done.stdout

    def wrong_rows(self, members, ranges=None):
        """First sectors of all 4 KiB rows there whose P or Q is wrong."""
        if ranges is None:
            ranges = [(0, members.first().size)]
        rows = []
        for first, end in ranges:
            lines = self.oracle(members, "--range", first, end - first).splitlines()
            wrong = int(lines[0].split()[3])
            named = [int(line.split()[1]) for line in lines if line.startswith("wrong ")]
            if wrong > len(named):
                middle = first + (end - first) // 16 * 8
                named = self.wrong_rows(members, [(first, middle), (middle, end)])
            rows += named
        return rows

    def content(self, members):
        """sha256 of the array's data blocks as the oracle reads them."""
        path = self.place("oracle-content")
        self.oracle(members, "--content", path)
        return digest(path)

    def expect_at_rest(self, answers, md, *, degraded=0):
        """The kernel took the array plainly and has nothing to synchronise."""
        self.expect_equal(answers.get(f"{md}.assembled"), "yes", f"mdadm --assemble ({answers.get(f'{md}.said')})")
        self.expect(answers.get(f"{md}.array_state") in ("clean", "active", "active-idle", "write-pending"),
                    f"array_state {answers.get(f'{md}.array_state')} ({answers.get(f'{md}.said')})")
        self.expect_equal(answers.get(f"{md}.degraded"), str(degraded), "degraded")
        self.expect_equal(answers.get(f"{md}.sync_action"), "idle", "sync_action")
        self.expect_equal(answers.get(f"{md}.syncs"), "0", "syncs that the kernel started")
        self.expect_equal(answers.get(f"{md}.mdstat"), "0", "syncs in /proc/mdstat")

    def expect_content(self, answers, md):
        for key, value in answers.items():
            if key.startswith(f"{md}.content."):
                self.expect_equal(value, "right", f"content from sector {key.rsplit('.', 1)[1]}")

    def expect_settled(self, members):
        """The metadata is what a clean stop by the kernel leaves."""
        blocks = members.superblocks()
        self.expect(all(block.clean for block in blocks), "resync_offset is not all ones everywhere")
        self.expect_equal(len({block.events for block in blocks}), 1, "different events among members")
        self.expect(all(block.recovery_offset is None for block in blocks), "a RECOVERY_OFFSET is left")
        for path, block in zip(members.present(), blocks):
            one = ondisk.bitmap(path, block)
            if one is None:
                continue
            self.expect_equal(one.events, block.events, "the bitmap's events against the superblock's")
            unsettled = bytes([2, 3, 4, 5, 6]) if one.lockless else b"\1"
            left = [c for c, state in enumerate(one.states) if state in unsettled or state > 7]
            self.expect(not left, f"{os.path.basename(path)}: chunks {left[:8]} are left due")


def bits_of(answers, md):
    """The kernel's llbitmap/bits."""
    prefix = f"{md}.bits."
    return {key[len(prefix):]: int(value) for key, value in answers.items() if key.startswith(prefix)}


def without_invalid(states):
    return {name: count for name, count in states.items() if name != "invalid"}
