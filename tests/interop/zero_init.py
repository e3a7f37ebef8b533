# SPDX-License-Identifier: GPL-2.0-or-later
"""zero-init on members that were full of random bytes: what the kernel makes of it, beside its own, cut short, refused."""
import hashlib
import os
import re
import shutil
import signal
import subprocess

import interruption
import lab
import ondisk
import serving
from lab import Shape

MIB = 1 << 20
STEP_BYTES = 1 << 30  # the longest that one call may zero
METADATA = 4096  # bytes that a superblock, or one of these bitmaps, may take
WRITTEN = 31  # the seed of what the kernel writes afterwards
CUT_MIB = 128
LOOP_MIB = 2300  # three steps for each member
SCSI_MIB = 16
# Members that zero fast, as SCSI disks with LBPRZ do: drivers/scsi/scsi_debug.c.
SCSI = ["add_host=4", "per_host_store=1", f"dev_size_mb={SCSI_MIB}", "lbpu=1", "lbpws=1", "lbprz=1", "delay=0"]
# As strace prints a call that succeeded; flags that it does not know have a remark.
CALL = re.compile(r"(?:ioctl|fallocate)\((\d+), ([\w|]+)(?: /\*.*?\*/)?, \[?(\d+), (\d+)\]?\)\s*= 0$")


def data_of(path, block):
    return ondisk.read_at(path, block.data_offset * ondisk.SECTOR, block.size * ondisk.SECTOR)


def beside_data(members):
    """All else on the members, but for superblocks and bitmaps."""
    rest = []
    for path, block in zip(members.paths, members.superblocks()):
        content = bytearray(ondisk.read_at(path, 0, os.path.getsize(path)))
        first = block.data_offset * ondisk.SECTOR
        for at, length in ((first, block.size * ondisk.SECTOR), (block.at, METADATA), (block.bitmap_at or block.at, METADATA)):
            content[at:at + length] = bytes(length)
        rest.append(content)
    return rest


def expect_zero(one, members, what):
    for path, block in zip(members.present(), members.superblocks()):
        data = data_of(path, block)
        one.expect_equal(data.count(0), len(data), f"{what}: {os.path.basename(path)}: zeroes in its data")


def zero_init(one, members, *options, status=0):
    """The document of a run with this exit status."""
    number = next(one.counter)
    found, document = one.mdtool("zero-init", "--yes", "--undo", one.place("undo", f"{number}.undo"), *options, *members.present())
    one.expect_equal(found, status, f"zero-init {' '.join(options)}: exit status ({document.get('error')})")
    return document


def expect_refused(one, members, what, *options, saying=None):
    before = members.digests()
    document = zero_init(one, members, *options, status=64)
    text = str(document.get("error", {}).get("text"))
    one.expect(saying is None or saying in text, f"{what}: it does not say '{saying}': {text}")
    one.expect_equal(members.digests(), before, f"{what}: members after the refusal")


def expect_done(one, members, *options):
    """A further run has nothing to do, unless it is forced to zero all again."""
    before = members.digests()
    document = zero_init(one, members, *(option for option in options if option != "--force=data"))
    one.expect_equal(document.get("result"), None, "the second run")
    one.expect_equal(members.digests(), before, "members after the second run")


def expected_states(chunks, state="auto"):
    if state == "clean":
        return [ondisk.CLEAN] * chunks
    first = ondisk.CLEAN_UNWRITTEN if state == "clean-unwritten" else ondisk.CLEAN
    return [first] + [ondisk.CLEAN_UNWRITTEN] * (chunks - 1)


def never_started(shape, md, devices):
    """As mdadm leaves it, with --readonly: all of the resync is still to come, and the bitmap to be filled."""
    return f"""
echo 1 >/sys/module/md_mod/parameters/start_ro
{shape.create(md, devices)}
mdadm --stop /dev/{md} >/dev/null 2>&1
echo 0 >/sys/module/md_mod/parameters/start_ro
"""


# ---- on files, and then the kernel's -------------------------------------------------------------------------------------


class Array:
    """One that the guest makes among others, from image `first` on."""

    def __init__(self, one, number, shape, first, state="auto"):
        self.one, self.shape, self.state, self.md = one, shape, state, f"md{number}"
        self.members = one.members(shape, one.name, f"a{number}")
        self.devices = lab.letters(first, shape.slots).split()
        self.forced = [] if shape.bitmap == "lockless" else ["--force=data"]

    def making(self):
        devices = " ".join(self.devices)
        if "--readonly" in self.shape.extra:
            return never_started(self.shape, self.md, devices)
        return f"{self.shape.create(self.md, devices)}\nstop {self.md}\n"

    def zero(self):
        one, members = self.one, self.members
        one.note(str(self.shape))
        rows = one.oracle(members, "--range", 0, members.first().size).split()
        one.expect(rows[3] != "0", f"{self.md}: no row was wrong before, so nothing is shown")
        one.expect_equal(members.first().clean, "--readonly" not in self.shape.extra, f"{self.md}: clean before")
        if self.forced:
            expect_refused(one, members, self.md, saying="--force=data")
        self.dry_run()
        rest = beside_data(members)
        document = zero_init(one, members, *self.forced, f"--state={self.state}")
        bytes_zeroed = self.shape.slots * members.first().size * ondisk.SECTOR
        one.expect_equal(document["result"]["bytes_zeroed"], bytes_zeroed, f"{self.md}: bytes zeroed")
        expect_zero(one, members, self.md)
        one.expect(beside_data(members) == rest, f"{self.md}: bytes beside the data have changed")
        one.expect_settled(members)
        if self.shape.bitmap == "lockless":
            for path, block in zip(members.paths, members.superblocks()):
                states = list(ondisk.bitmap(path, block).states)
                one.expect_equal(states, expected_states(len(states), self.state), f"{self.md}: states")
        expect_done(one, members, *self.forced, f"--state={self.state}")

    def dry_run(self):
        before = self.members.digests()
        status, document = self.one.mdtool("zero-init", "--dry-run", *self.forced, *self.members.paths)
        self.one.expect_equal(status, 0, f"{self.md}: --dry-run ({document.get('error')})")
        self.one.expect_equal([m["fast"] for m in document["plan"]["zeroing"]], [True] * self.shape.slots, f"{self.md}: fast")
        self.one.expect_equal(self.members.digests(), before, f"{self.md}: members after --dry-run")

    def assembling(self):
        return f"assemble {self.md} {' '.join(self.devices)}\n"

    def writing(self):
        generator = self.one.random("written", self.one.name, self.md)
        sectors = self.members.first().size * self.shape.data_disks
        self.spans = [(generator.randrange(sectors - 300), generator.choice([1, 8, 40, 300])) for _ in range(8)]
        writes = "".join(f"pattern write /dev/{self.md} {WRITTEN} {first} {count}\n" for first, count in self.spans)
        return f"bits {self.md}\nsay {self.md}.zeroes $(hash_of {self.md})\n{writes}"

    def rereading(self):
        """Once more, without a member."""
        rest = self.devices[:-1] if self.one.random("lost", self.one.name, self.md).random() < 0.5 else self.devices[1:]
        reads = "".join(f"verify {self.md} {WRITTEN} {first} {count}\n" for first, count in self.spans)
        return f"""
say {self.md}.hash $(hash_of {self.md})
mdadm --stop /dev/{self.md} >/dev/null 2>&1
mdadm --assemble --run --readonly /dev/{self.md} {" ".join(rest)} >/dev/null 2>&1
say {self.md}.missing $(sys {self.md} degraded)
say {self.md}.without $(hash_of {self.md})
{reads}
mdadm --stop /dev/{self.md} >/dev/null 2>&1
"""

    def judge(self, answers):
        one, md = self.one, self.md
        one.expect_at_rest(answers, md)
        size = self.members.first().size * self.shape.data_disks * ondisk.SECTOR
        one.expect_equal(answers.get(f"{md}.zeroes"), hashlib.sha256(bytes(size)).hexdigest(), f"{md}: content before any write")
        if self.shape.bitmap == "lockless":
            chunks = expected_states(self.members.bitmap().chunks, self.state)
            bits = lab.bits_of(answers, md)
            one.expect_equal({name: count for name, count in bits.items() if count},
                             {ondisk.STATE_NAMES[state]: chunks.count(state) for state in set(chunks)}, f"{md}: the kernel's counts")
        one.expect_equal(answers.get(f"{md}.afterwards"), "0", f"{md}: syncs after later writes")
        one.expect_equal(answers.get(f"{md}.mismatches"), "0", f"{md}: mismatch_cnt")
        one.expect_equal(answers.get(f"{md}.missing"), "1", f"{md}: slots missing when it was read once more")
        one.expect_equal(answers.get(f"{md}.without"), answers.get(f"{md}.hash"), f"{md}: content without a member")
        one.expect_content(answers, md)
        one.expect_equal(one.wrong_rows(self.members), [], f"{md}: rows wrong after later writes")


def shapes(generator):
    """Some 600 chunks with the lockless bitmap: more than one block of them."""
    yield Shape(5, 3, generator.choice(lab.RAID5_LAYOUTS), 64, bitmap="lockless", member_kib=39 * 1024)
    yield Shape(6, 5, generator.choice(lab.RAID6_LAYOUTS), generator.choice([4, 16, 64]), generator.choice(lab.METADATA),
                "classic", extra="--assume-clean")
    yield Shape(4, 4, None, 16, generator.choice(lab.METADATA), extra="--force --readonly")
    yield Shape(6, 4, generator.choice(lab.RAID6_LAYOUTS), 16, bitmap="lockless", member_kib=5000, extra="--force --readonly")


def on_files(one, turn):
    generator = one.random("files", turn)
    arrays, first = [], 0
    for number, shape in enumerate(shapes(generator)):
        state = generator.choice(["clean-unwritten", "clean"]) if number == 3 else "auto"
        arrays.append(Array(one, number, shape, first, state))
        first += shape.slots
    images = [path for array in arrays for path in array.members.paths]
    one.boot("".join(array.making() for array in arrays), images)
    for array in arrays:
        array.zero()
    mds = " ".join(array.md for array in arrays)
    answers = one.boot(f"""
{"".join(array.assembling() for array in arrays)}
at_rest {mds}
{"".join(array.writing() for array in arrays)}
for one in {mds}; do settle $one; say $one.afterwards $(syncs_of $one); done
check {mds}
{"".join(array.rereading() for array in arrays)}
""", images)
    for array in arrays:
        array.judge(answers)


# ---- on devices, inside of the guest, beside the kernel's own --------------------------------------------------------------


def guest_programs(one):
    one.require(shutil.which("strace"), "strace is not there")
    programs = {"mdtool": one.options.mdtool, "strace": shutil.which("strace")}
    return [word for name, program in programs.items() for word in ("-b", serving.guest_program(one, name, program))]


def traced(name, options, devices):
    """Runs it there; what it asked of the kernel is in NAME.trace."""
    return f"""
if strace -f -e trace=ioctl,fallocate -o /share/{name}.trace mdtool zero-init --yes --undo none {options} {devices} >/tmp/said 2>&1
then say {name}.status 0; else say {name}.status "$? $(tr '\\n' ' ' </tmp/said)"; fi
"""


def zeroed_by(path):
    """{what was asked for: {descriptor: [(offset, length)]}} of all calls that succeeded."""
    calls = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            call = CALL.search(line.strip())
            if call:
                calls.setdefault(call[2], {}).setdefault(call[1], []).append((int(call[3]), int(call[4])))
    return calls


def expect_calls(one, trace, block, slots, wanted):
    """Every member's data, and no other byte, was zeroed by calls that fit, none longer than it may be."""
    calls = zeroed_by(trace)
    one.expect_equal([what for what in calls if re.search(wanted, what)], list(calls), f"{os.path.basename(trace)}: calls")
    ranges = [ondisk.merged((at, at + length) for at, length in sorted(spans)) for by in calls.values() for spans in by.values()]
    first = block.data_offset * ondisk.SECTOR
    one.expect_equal(ranges, [[(first, first + block.size * ondisk.SECTOR)]] * slots, f"{os.path.basename(trace)}: ranges")
    longest = max((length for by in calls.values() for spans in by.values() for _, length in spans), default=0)
    one.expect(0 < longest <= STEP_BYTES, f"{os.path.basename(trace)}: a call for {longest} bytes")


def beside_the_kernel(one):
    """SCSI members let Linux start a lockless array with every chunk CleanUnwritten; ours is the same but for chunk 0."""
    shape = Shape(5, 4, one.random("layout", one.name).choice(lab.RAID5_LAYOUTS), 64, bitmap="lockless", member_kib=SCSI_MIB * 1024)
    plain = Shape(5, 4, shape.layout, 64, member_kib=shape.member_kib, extra="--assume-clean")
    shape.extra = plain.extra = "--force --uuid=01234567:89abcdef:01234567:89abcdef"
    plain.extra += " --assume-clean"
    kernels, ours, zeroout, unmap = (one.members(shape, one.name, kind) for kind in ("kernels", "ours", "zeroout", "unmap"))
    disks = "/dev/sda /dev/sdb /dev/sdc /dev/sdd"

    def copied(source, target):
        return "".join(f"dd if={a} of={b} bs=1M conv=fsync 2>/dev/null\n" for a, b in zip(source.split(), target.split()))

    images = [lab.letters(first, 4) for first in (0, 4, 8, 12)]
    runs = "".join(copied(images[at], disks) + plain.create("md0", disks) + "\nstop md0\n" +
                   traced(method, f"--force=data --method={method}", disks) + copied(disks, images[at])
                   for at, method in ((2, "zeroout"), (3, "unmap")))
    share = os.path.dirname(one.place(one.name, "share", "x"))
    answers = one.boot(f"""
{shape.create("md0", images[1])}
bits md0
stop md0
{copied(images[0], disks)}
{shape.create("md1", disks)}
settle md1
bits md1
stop md1
{copied(disks, images[0])}
{runs}
""", [path for members in (kernels, ours, zeroout, unmap) for path in members.paths], share=share,
                       arguments=[*guest_programs(one), *(word for one_of in SCSI for word in ("-a", f"scsi_debug.{one_of}"))])
    chunks = kernels.bitmap().chunks
    one.require(lab.bits_of(answers, "md1").get("clean_unwritten") == chunks, f"the kernel does not start it so: {answers}")
    one.expect_equal(lab.bits_of(answers, "md0").get("unwritten"), chunks, "Unwritten chunks where it cannot zero")
    expect_zero(one, kernels, "the kernel's own")
    for state in ("clean-unwritten", "auto"):
        members = ours.copy_to(one.place(one.name, state))
        zero_init(one, members, f"--state={state}")
        for path, kernel in zip(members.paths, kernels.paths):
            expect_same_bitmap(one, path, kernel, 0 if state == "clean-unwritten" else 1)
    for method, members, wanted in (("zeroout", zeroout, "^BLKZEROOUT$"), ("unmap", unmap, "^(FALLOC_FL_WRITE_ZEROES|0x80)")):
        one.expect_equal(answers.get(f"{method}.status"), "0", f"--method={method} in the guest")
        plain_members = lab.Members(plain, members.paths)
        expect_zero(one, plain_members, f"--method={method}")
        one.expect_settled(plain_members)
        expect_calls(one, os.path.join(share, f"{method}.trace"), plain_members.first(), plain.slots, wanted)


def expect_same_bitmap(one, path, kernel, differing):
    """All bytes of header and states, but for the events and so many first chunks."""
    found, block = ondisk.bitmap(path, ondisk.superblock(path, "1.2")), ondisk.superblock(kernel, "1.2")
    expected = ondisk.bitmap(kernel, block)
    one.expect_equal((found.version, found.chunk, found.chunks, found.flags),
                     (expected.version, expected.chunk, expected.chunks, expected.flags), "the bitmap's header")
    one.expect_equal(found.states[differing:], expected.states[differing:], "states beside the kernel's own")
    one.expect_equal(list(found.states[:differing]), [ondisk.CLEAN] * differing, "the first chunks")
    headers = [bytearray(ondisk.read_at(one_of, block.bitmap_at, 256)) for one_of in (path, kernel)]
    for header in headers:
        header[24:32] = bytes(8)  # events
    one.expect_equal(headers[0].hex(), headers[1].hex(), "header bytes beside the kernel's own")


# Loop devices on a file system without fallocate(): the kernel writes every zero.
SLOW_LOOPS = """
for slot in 0 1 2; do dd if=/dev/urandom of=/share/slow$slot.img bs=1M count=4 2>/dev/null; done
attach /share/slow0.img /share/slow1.img /share/slow2.img
mdadm --create /dev/md2 --run --force --level=5 --raid-devices=3 --chunk=64 --bitmap=lockless $devices >/dev/null 2>&1
stop md2
before=$(cat $devices | sha256sum)
status=0; mdtool zero-init --yes --undo none $devices >/tmp/said 2>&1 || status=$?
say slow.status $status
say slow.said "$(tr '\\n' ' ' </tmp/said)"
[ "$before" = "$(cat $devices | sha256sum)" ] && say slow.members untouched
for how in --force=slow --method=write; do
  status=0; mdtool zero-init --dry-run $how $devices >/tmp/said 2>&1 || status=$?
  say slow.$how $status
done
detach
"""


def on_loops(one):
    """Loop devices on ext4: large ones, so that it takes more than one step."""
    shape = Shape(5, 3, None, 64, bitmap="lockless", member_kib=LOOP_MIB * 1024)
    image, share = one.place(one.name, "ext4.img"), os.path.dirname(one.place(one.name, "share", "x"))
    with open(image, "wb") as file:
        file.truncate(4 * LOOP_MIB * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    files = " ".join(f"/mnt/m{slot}.img" for slot in range(shape.slots))
    heads = "".join(f"dd if=/mnt/m{slot}.img of=/share/m{slot}.img bs=64K count=48 2>/dev/null\n" for slot in range(shape.slots))
    answers = one.boot(f"""
mount -t ext4 /dev/ubda /mnt
for file in {files}; do truncate -s {LOOP_MIB}M $file; done
attach {files}
{shape.create("md0", "$devices")}
stop md0
{traced("zeroout", "--method=zeroout", "$devices")}
{heads}
{shape.create("md0", "$devices")}
stop md0
{traced("unmap", "--method=unmap --force=slow", "$devices")}
assemble md1 $devices
at_rest md1
bits md1
stop md1
detach
umount /mnt
{SLOW_LOOPS}
""", [image], share=share, arguments=guest_programs(one))
    members = lab.Members(shape, [os.path.join(share, f"m{slot}.img") for slot in range(shape.slots)])
    for method, wanted in (("zeroout", "^BLKZEROOUT$"), ("unmap", r"^(FALLOC_FL_WRITE_ZEROES|0x80|.*FALLOC_FL_PUNCH_HOLE)")):
        one.expect_equal(answers.get(f"{method}.status"), "0", f"--method={method} in the guest")
        expect_calls(one, os.path.join(share, f"{method}.trace"), members.first(), shape.slots, wanted)
    one.expect_settled(members)
    one.expect_equal((answers.get("slow.status"), answers.get("slow.members")), ("64", "untouched"), "members that zero slowly")
    one.expect("--force=slow" in answers.get("slow.said", ""), f"it does not say --force=slow: {answers.get('slow.said')}")
    one.expect_equal((answers.get("slow.--force=slow"), answers.get("slow.--method=write")), ("0", "0"), "slow members, as told")
    one.expect_at_rest(answers, "md1")
    bits = lab.bits_of(answers, "md1")
    one.expect_equal(bits.get("clean"), 1, "Clean chunks that the kernel counts")
    one.expect_equal(bits.get("clean_unwritten"), members.bitmap().chunks - 1, "CleanUnwritten chunks that the kernel counts")


# ---- cut short, and refused --------------------------------------------------------------------------------------------


def promised_rows(one, members):
    """Wrong rows where the bitmap, or a clean superblock without one, promises that they are right."""
    states, size = members.bitmap(), members.first().size
    if states is None:
        return one.wrong_rows(members) if all(block.clean for block in members.superblocks()) else []
    if not states.lockless:
        return [] if not members.first().clean else one.wrong_rows(members)
    kept = ondisk.merged((c * states.chunk, min((c + 1) * states.chunk, size)) for c, s in enumerate(states.states)
                         if s in (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN))
    return one.wrong_rows(members, kept)


def still_due(members):
    """Sectors of each member that the metadata do not call zeroed."""
    block, bitmap = members.first(), members.bitmap()
    if bitmap is None:
        return block.size - min(block.resync_offset, block.size)
    done = (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN) if bitmap.lockless else (0,)
    return sum(min(bitmap.chunk, block.size - c * bitmap.chunk) for c, state in enumerate(bitmap.states) if state not in done)


def cut_to_pieces(one, bitmap):
    shape = Shape(6, interruption.SLOTS, one.random(bitmap).choice(lab.RAID6_LAYOUTS), 64, bitmap=bitmap, bitmap_chunk_kib=256,
                  extra="" if bitmap == "lockless" else "--assume-clean")
    members = interruption.sparse_members(one, shape, CUT_MIB)
    devices = lab.letters(0, shape.slots)
    one.boot(f"{shape.create('md0', devices)}\nstop md0\n", members.paths)
    options = ["--method=write", *([] if bitmap == "lockless" else ["--force=data"])]
    attempts = interruption.Attempts(one, "zero-init", members, *options)
    interruption.interrupted(one, attempts)
    one.expect_equal(promised_rows(one, members), [], "wrong rows that are promised after SIGINT")
    status, said = attempts.until_cut(signal.SIGKILL)
    one.expect_equal(status, -signal.SIGKILL, f"status of the killed run ({said[-300:]})")
    one.expect_equal(promised_rows(one, members), [], "wrong rows that are promised after SIGKILL")
    interruption.assembles(one, members, "after SIGKILL")
    due = still_due(members) * ondisk.SECTOR
    one.note(f"interrupted and killed in the middle, of {attempts.runs} runs; {due} bytes of each member are left")
    document = zero_init(one, members, *options)
    one.expect_equal(document["result"]["bytes_zeroed"], shape.slots * due, "bytes zeroed by the last run")
    expect_zero(one, members, "in the end")
    expect_done(one, members, *options)
    one.expect_settled(members)
    answers = one.boot(f"assemble md0 {devices}\nat_rest md0\ncheck md0\nstop md0\n", members.paths)
    one.expect_at_rest(answers, "md0")
    one.expect_equal(answers.get("md0.mismatches"), "0", "mismatch_cnt in the end")


def with_data(one):
    """What looks like data is kept: a file system, also over zeroes where the bitmap says nothing, and plain noise."""
    noise = one.members(Shape(5, 4, None, 64, bitmap="lockless"), one.name, "noise")
    sparse = lab.Members(Shape(5, 3, None, 64, bitmap="classic", extra="--assume-clean", member_kib=32 * 1024))
    empty = lab.Members(Shape(5, 3, None, 64, extra="--force --readonly", member_kib=32 * 1024))
    for members, kind in ((sparse, "sparse"), (empty, "empty")):
        for slot in range(members.shape.slots):
            members.paths.append(one.place(one.name, kind, f"m{slot}.img"))
            with open(members.paths[-1], "wb") as file:
                file.truncate(members.shape.member_kib * 1024)
    one.boot(f"""
{noise.shape.create("md0", lab.letters(0, 4))}
dd if=/dev/urandom of=/dev/md0 bs=64k seek=20 count=8 conv=fsync 2>/dev/null
stop md0
{sparse.shape.create("md1", lab.letters(4, 3))}
mke2fs /dev/md1 >/dev/null
stop md1
{never_started(empty.shape, "md2", lab.letters(7, 3))}
""", noise.paths + sparse.paths + empty.paths)
    expect_refused(one, noise, "noise in a few chunks", saying="--force=data")
    expect_refused(one, sparse, "a file system over zeroes", saying="--force=data")
    refused_as_they_are(one, noise)
    in_use(one, noise)
    zero_init(one, noise, "--force=data")
    expect_zero(one, noise, "noise, forced")
    one.expect(not empty.first().clean, "no resync is due where nothing was ever written")
    zero_init(one, empty)
    one.expect_settled(empty)
    expect_done(one, empty)
    one.expect_equal(one.wrong_rows(noise) + one.wrong_rows(empty), [], "rows with wrong parity")


def refused_as_they_are(one, members):
    """Degraded, and dirty as well: not even where data may be lost."""
    expect_refused(one, members.without({1}), "degraded", "--force=data")
    dirty = members.copy_to(one.place(one.name, "dirty"))
    for path, block in zip(dirty.paths, dirty.superblocks()):
        ondisk.edit_version_1(path, block, ondisk.RESYNC_OFFSET_AT, bytes(8))
    expect_refused(one, dirty.without({3}), "dirty and degraded", "--force=data")


def in_use(one, members):
    with open(members.paths[2], "r+b") as file:
        lab.lock(file)
        expect_refused(one, members, "locked", "--force=data", saying="m2.img")
    lacking = serving.missing_for_fuse()
    if lacking:
        one.note(f"not tried while it is served: {lacking}")
        return
    # Nothing is due then that the server would synchronise.
    status, document = one.mdtool("resync", "--yes", "--undo", one.place("undo", "settled"), *members.paths)
    one.expect(status in (0, 1), f"resync: {status} ({document.get('error')})")
    with serving.Server(one, members.paths) as server:
        expect_refused(one, members, "served", "--force=data")
        one.expect_equal(server.terminate(), 0, "the server's end")


def run(one):
    for turn in range(one.rounds):
        one.run(f"{turn} files", on_files, turn)
    one.run("beside the kernel's own", beside_the_kernel)
    one.run("loop devices", on_loops)
    bitmaps = ["lockless", "classic", "none"]
    for bitmap in bitmaps if one.rounds > 1 or one.options.only else one.random("few").sample(bitmaps, 1):
        one.run(f"cut short {bitmap}", cut_to_pieces, bitmap)
    one.run("with data", with_data)
