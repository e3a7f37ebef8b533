# SPDX-License-Identifier: GPL-2.0-or-later
"""What real kernels leave behind: made by one, named, cured by mdtool, then taken by the kernel with every row right."""
import dataclasses
import os
import struct
import subprocess

import lab
import ondisk
from lab import Members, Shape

FIRST, LATER = 11, 22  # seeds of content
CHUNK = 128  # sectors; the kernel's choice for members this small
CHUNKS = 48
WIDTH = 2 * CHUNK  # array sectors over each chunk
SCSI_MIB = 4
# Members that zero fast, as SCSI disks with LBPRZ do: drivers/scsi/scsi_debug.c.
SCSI = ["add_host=3", "per_host_store=1", f"dev_size_mb={SCSI_MIB}", "lbpu=1", "lbpws=1", "lbprz=1", "delay=0"]
DISKS = "/dev/sda /dev/sdb /dev/sdc"
FEATURE_MAP_AT, BAD_BLOCKS_FEATURE = 8, 0x8
LARGE = "1.2-raid5-3-lockless-3300-chunks"  # a fixture: more states than there is room in front of the bad-block log


def scsi(*more):
    return [word for one_of in (*SCSI, *more) for word in ("-a", f"scsi_debug.{one_of}")]


def copied(sources, targets):
    return "".join(f"dd if={a} of={b} bs=1M conv=fsync 2>/dev/null\n" for a, b in zip(sources.split(), targets.split()))


def ranges_of(doubts, kind):
    return {chunk for d in doubts if d["kind"] == kind for chunk in range(d["first_chunk"], d["last_chunk"] + 1)}


@dataclasses.dataclass
class Case:
    """An array with one hazard; `number` is its device in every guest."""
    number: int
    name: str
    shape: Shape
    members: Members
    hash: str = None  # of its content, by the kernel

    @property
    def md(self):
        return f"md{self.number}"

    @property
    def devices(self):
        return f"$devices{self.number}"

    def attached(self, one):
        return f"attach {shared(one, self.members)}\ndevices{self.number}=$devices\n"


def shared(one, members):
    """As the guest finds them."""
    return " ".join("/share/" + os.path.relpath(path, one.directory) for path in members.present())


def over_garbage(one, number, name, members=3, **shape):
    shape = Shape(5, 3, None, **{"bitmap": "lockless", "member_kib": SCSI_MIB * 1024, **shape})
    found = one.members(dataclasses.replace(shape, slots=members), name)
    return Case(number, name, shape, Members(shape, found.paths))


def make(one):
    """All but the one on large blocks, in one guest: each as its kernel's bug needs it."""
    spare = over_garbage(one, 0, "a spare at creation, over members that zero", extra="")
    replaced = over_garbage(one, 1, "a replaced member")
    short = over_garbage(one, 2, "a short sync")
    discarded = over_garbage(one, 3, "a discard of half a chunk", chunk_kib=16)
    reused = over_garbage(one, 4, "a slot that had two members", members=4, bitmap="classic")
    a, b, c, d, e = (lab.letters(first, count) for first, count in ((0, 3), (3, 3), (6, 3), (9, 3), (12, 3)))
    third, old, new = lab.letters(5, 1), lab.letters(14, 1), lab.letters(15, 1)
    answers = one.boot(f"""
lose() {{ mdadm /dev/$1 --fail $2 >/dev/null 2>&1; sleep 0.3; mdadm /dev/$1 --remove $2 >/dev/null 2>&1; }}
{copied(a, DISKS)}
{spare.shape.create("md0", DISKS)}
{replaced.shape.create("md1", b)}
{short.shape.create("md2", c)}
{discarded.shape.create("md3", d)}
{reused.shape.create("md4", e)}
for one in md0 md1 md2 md3 md4; do settle $one; done
bits md0

echo 1 >/sys/block/md1/md/llbitmap/proactive_sync
pattern write /dev/md2 {FIRST} {20 * WIDTH} 8
pattern write /dev/md3 {FIRST} {10 * WIDTH} {WIDTH}
pattern write /dev/md4 {FIRST} 0 2000
for one in md1 md2 md3 md4; do settle $one; done
stop md4
assemble md4 {e}

lose md1 {third}
mdadm --zero-superblock {third}
pattern garbage {third} 77 2048 6144
mdadm /dev/md1 --add {third} >/dev/null 2>&1
blkdiscard -o {10 * WIDTH * 512} -l {WIDTH // 2 * 512} /dev/md3
verify md3 {FIRST} {10 * WIDTH + WIDTH // 2} {WIDTH // 2}
lose md4 {old}
pattern write /dev/md4 {LATER} 200 600
mdadm /dev/md4 --add {new} >/dev/null 2>&1
settle md1
settle md4
lose md4 {new}
for one in md0 md1 md2 md3 md4; do
  settle $one
  say hash.$one $(hash_of $one)
  stop $one
done
{copied(DISKS, a)}
""", [path for case in (spare, replaced, short, discarded, reused) for path in case.members.paths],
                       arguments=[*scsi(), "-a", "raid456.devices_handle_discard_safely=Y"])
    one.require(lab.bits_of(answers, "md0").get("clean_unwritten") == CHUNKS, f"the kernel zeroes no member: {answers}")
    one.expect_content(answers, "md3")
    cases = [spare, replaced, short, discarded, reused]
    for case in cases:
        case.hash = answers.get(f"hash.{case.md}")
    return cases


def make_on_large_blocks(one):
    case = over_garbage(one, 5, "a header on blocks of 4 KiB")
    images = lab.letters(0, 3)
    answers = one.boot(f"""
say block $(cat /sys/block/sda/queue/logical_block_size)
{copied(images, DISKS)}
{case.shape.create("md5", DISKS)}
settle md5
pattern write /dev/md5 {FIRST} 0 200
pattern write /dev/md5 {FIRST} {10 * WIDTH} 200
settle md5
say hash $(hash_of md5)
stop md5
assemble md5 {DISKS}
{copied(DISKS, images)}
""", case.members.paths, arguments=scsi("sector_size=4096"))
    one.expect_equal(answers.get("block"), "4096", "the disks' logical blocks")
    one.require(answers.get("md5.assembled") == "no", f"the kernel starts it again all the same: {answers}")
    case.hash = answers.get("hash")
    return case


def found(one, case, *expected, verdict="assembles"):
    """examine names these, each with a next step."""
    _, document = one.mdtool("examine", *case.members.present())
    for one_id in expected:
        named = [f for f in document["findings"] if f["id"] == one_id]
        if one.expect(named, f"examine does not find {one_id}: {[f['id'] for f in document['findings']]}"):
            one.expect(all(f["next"] for f in named), f"{one_id} names no next step")
    one.expect_equal([a["verdict"] for a in document["arrays"]], [verdict], "verdict")
    return document


def doubts_of(one, case):
    before = case.members.digests()
    status, document = one.mdtool("bitmap", "check", *case.members.paths)
    one.require("doubts" in document, f"bitmap check: {status} {document.get('error')}")
    one.expect_equal(status, 4 if document["doubts"] else 0, "exit of bitmap check")
    one.expect_equal(case.members.digests(), before, "members after bitmap check")
    return document["doubts"]


def done(one, *command, statuses=(0, 1)):
    status, document = one.mdtool(*command, "--yes", "--undo", "none")
    one.require(status in statuses, f"{' '.join(command[:2])}: {status} {document.get('error')}")
    return document


def chunks_with_wrong_rows(one, case):
    return {row // CHUNK for row in one.wrong_rows(case.members)}


def built(one, case, kind, chunks, *findings):
    """What is doubtful is named chunk by chunk, and building all parity settles it."""
    found(one, case, *findings)
    wrong = chunks_with_wrong_rows(one, case)
    doubts = doubts_of(one, case)
    if kind == "data-in-unwritten":  # so are chunks that nobody wrote, over garbage
        one.expect(chunks <= ranges_of(doubts, kind), f"chunks {chunks} are not named")
    else:
        one.expect_equal(ranges_of(doubts, kind), chunks, f"chunks with {kind}")
        one.expect(chunks <= wrong, f"chunks {chunks - wrong} have right parity by the oracle")
    states = case.members.bitmap().states
    promised = {chunk for chunk, state in enumerate(states) if state in (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN)}
    named = ranges_of(doubts, "wrong-parity-clean") | ranges_of(doubts, "wrong-parity-clean-unwritten")
    one.expect_equal(named, wrong & promised, "named chunks against the oracle's")
    done(one, "build-parity", "--all", *case.members.paths)
    one.expect_equal(one.wrong_rows(case.members), [], "rows that are wrong afterwards")
    one.expect_equal(doubts_of(one, case), [], "doubts afterwards")
    one.expect_settled(case.members)
    if kind == "data-in-unwritten":
        after = case.members.bitmap().states
        one.expect_equal({after[chunk] for chunk in chunks}, {ondisk.CLEAN}, "states of what holds data")
    return case


def not_re_added(one, case):
    """The bitmap has no bit set, the member's events are not below events_cleared: the kernel takes it back as it is."""
    a, b, old, _ = case.members.paths
    case.members = Members(case.shape, [a, b, old])
    stale = case.members.copy_to(one.place(one.name, "stale"))
    one.expect_equal(sum(case.members.bitmap().states), 0, "bits that are set")
    before = case.members.digests()
    command = ["re-add", *case.members.paths, "--target", old]
    status, document = one.mdtool(*command, "--yes", "--undo", "none")
    one.expect_equal(status, 64, "re-add")
    one.expect("slot-history" in document["error"]["text"], f"it does not name the check: {document['error']}")
    one.expect_equal(case.members.digests(), before, "members after the refusal")
    done(one, *command, "--force=bitmap")
    done(one, "recover", *case.members.paths)
    one.expect_equal(one.wrong_rows(case.members), [], "rows that are wrong afterwards")
    one.expect_settled(case.members)
    return stale


def header_rebuilt(one, case):
    """Repaired for the kernel to synchronise; and repaired and converted, so that it does not happen again."""
    one.expect_equal(ondisk.read_at(case.members.paths[0], case.members.first().bitmap_at + 4, 4), b"\6\3\3\3", "version")
    document = found(one, case, "bitmap-header-overwritten", "lockless-on-large-blocks", verdict="needs-force")
    named = [f["next"] for f in document["findings"] if f["id"] == "bitmap-header-overwritten"]
    one.expect("mdtool bitmap repair" in named[0], f"next: {named}")
    done(one, "bitmap", "repair", *case.members.paths)
    found(one, case, "lockless-on-large-blocks")
    rebuilt = case.members.bitmap()
    one.expect_equal((rebuilt.version, rebuilt.chunk, rebuilt.chunks), (6, CHUNK, CHUNKS), "the header")
    one.expect(not case.members.first().clean, "the array is not marked dirty")
    converted = dataclasses.replace(case, number=6, members=case.members.copy_to(one.place(one.name, "converted")))
    done(one, "bitmap", "convert", "--bitmap=internal", *converted.members.paths)
    one.expect_equal(converted.members.bitmap().version, 4, "version after the conversion")
    status, document = one.mdtool("bitmap", "convert", "--bitmap=lockless", *converted.members.paths, "--yes", "--undo", "none")
    one.expect_equal(status, 64, f"back again on large blocks ({document.get('error')})")
    return converted


def log_under_states(one):
    """Feature BAD_BLOCKS by damage, where states lie: nothing of it is believed or written, and it is taken off."""
    shape = Shape(5, 3, bitmap="lockless")
    case = Case(7, one.name, shape, Members(shape))
    folder = os.path.join(lab.HERE, "..", "fixtures", LARGE)
    for slot in range(3):
        path = one.place(one.name, f"m{slot}.img")
        subprocess.run(["zstd", "-q", "-d", "--sparse", os.path.join(folder, f"m{slot}.img.zst"), "-o", path], check=True)
        case.members.paths.append(path)
    states = [ondisk.bitmap(path, block) for path, block in zip(case.members.paths, case.members.superblocks())]
    one.expect(states[0].chunks > 3072, "the states do not reach the log")
    for path, block in zip(case.members.paths, case.members.superblocks()):
        features, = struct.unpack("<I", ondisk.read_at(path, block.at + FEATURE_MAP_AT, 4))
        ondisk.edit_version_1(path, block, FEATURE_MAP_AT, struct.pack("<I", features | BAD_BLOCKS_FEATURE))
    found(one, case, "bad-block-log-under-bitmap")
    before = case.members.digests()
    for command in (["copy", "--to", one.place(one.name, "content")], ["bitmap", "check"], ["resync", "--yes"],
                    ["build-parity", "--all", "--yes"]):
        status, document = one.mdtool(*command, *case.members.paths)
        one.expect_equal(status, 64, f"{command[0]} ({document.get('error')})")
    status, document = one.mdtool("set", *case.members.paths, "--bad-blocks", "show")
    one.expect("bad-blocks" not in [f["id"] for f in document["findings"]], "states are shown as bad blocks")
    one.expect_equal(case.members.digests(), before, "members after that")
    done(one, "set", *case.members.paths, "--update", "force-no-bbl")
    after = [ondisk.bitmap(path, block) for path, block in zip(case.members.paths, case.members.superblocks())]
    one.expect_equal([one_of.states for one_of in after], [one_of.states for one_of in states], "states on the members")
    return case


class Word:
    """What the kernel is to say of the cured arrays: the script, and then its answers."""

    def __init__(self, one):
        self.one = one
        self.script = ""
        self.checks = []

    def expect(self, check):
        self.checks.append(check)

    def hear(self):
        answers = self.one.boot(self.script, share=self.one.directory)
        for check in self.checks:
            check(answers)


def taken_plainly(one, word, case):
    """At rest, its check counts nothing, and a member less changes nothing of the content."""
    md = case.md
    word.script += case.attached(one) + f"""
assemble {md} {case.devices}
at_rest {md}
say hash.{md} $(hash_of {md})
check {md}
set -- {case.devices}
mdadm /dev/{md} --fail $1 >/dev/null 2>&1
say less.{md} $(hash_of {md})
stop {md}
"""

    def check(answers):
        one.expect_at_rest(answers, md)
        one.expect_equal(answers.get(f"{md}.mismatches"), "0", f"{case.name}: mismatch_cnt")
        for when in ("hash", "less"):
            one.expect_equal(answers.get(f"{when}.{md}"), case.hash, f"{case.name}: content ({when})")
    word.expect(check)


def synchronised(one, word, case, *, written_later=False):
    """The kernel resynchronises it: every row is right then. Writes side by side, and it starts again."""
    md = case.md
    word.script += case.attached(one) + f"""
assemble {md} {case.devices}
begun {md} 0
settle {md}
say hash.{md} $(hash_of {md})
check {md}
""" + (f"""
pattern write /dev/{md} {LATER} 0 8
pattern write /dev/{md} {LATER} {20 * WIDTH} 8
stop {md}
assemble {md} {case.devices}
at_rest {md}
verify {md} {LATER} 0 8
""" if written_later else "") + f"stop {md}\n"

    def check(answers):
        one.expect_equal(answers.get(f"{md}.assembled"), "yes", f"{case.name} ({answers.get(md + '.said')})")
        one.expect_equal(answers.get(f"hash.{md}"), case.hash, f"{case.name}: content")
        one.expect_equal(answers.get(f"{md}.mismatches"), "0", f"{case.name}: mismatch_cnt")
        one.expect_equal(one.wrong_rows(case.members), [], f"{case.name}: rows that are wrong")
        if written_later:
            one.expect_equal(answers.get(f"{md}.sync_action"), "idle", f"{case.name}: sync_action after it was started again")
            one.expect_content(answers, md)
    word.expect(check)


def large_one(one, word, case):
    md = case.md
    word.script += case.attached(one) + f"""
assemble {md} {case.devices}
at_rest {md}
bits {md}
verify {md} 1 0 200
verify {md} 2 {3200 * WIDTH} 200
stop {md}
"""
    states = ondisk.after_reload(case.members.bitmap().states)

    def check(answers):
        one.expect_at_rest(answers, md)
        one.expect_content(answers, md)
        one.expect_equal(lab.bits_of(answers, md), states, f"{case.name}: states as the kernel loads them")
    word.expect(check)


def as_the_kernel_would(one, word, stale):
    """No trap, no refusal: it takes the member back as it is."""
    word.script += f"""
attach {shared(one, stale)}
set -- $devices
assemble md8 --run $1 $2
mdadm /dev/md8 --re-add $3 >/tmp/said 2>&1 || true
settle md8
say stale.degraded $(sys md8 degraded)
check md8
stop md8
"""

    def check(answers):
        one.expect_equal(answers.get("stale.degraded"), "0", "degraded after the kernel's own re-add")
        one.expect(int(answers.get("md8.mismatches") or 0) > 0, "what the kernel took back is not stale")
    word.expect(check)


def judge(one, cured, stale, repaired, converted, large):
    """One guest for all, one after the other: some are copies of others."""
    word = Word(one)
    for case in cured:
        taken_plainly(one, word, case)
    if stale:
        as_the_kernel_would(one, word, stale)
    if converted:
        synchronised(one, word, repaired)
        synchronised(one, word, converted, written_later=True)
    if large:
        large_one(one, word, large)
    word.hear()


def run(one):
    cases = one.run("making of all but one", make) or []
    large_blocks = one.run("making of the one on large blocks", make_on_large_blocks)
    if not cases or not large_blocks:
        return
    spare, replaced, short, discarded, reused = cases
    every_chunk = set(range(CHUNKS))
    later = "clean-unwritten-after-replacement"
    cured = [one.run(spare.name, built, spare, "wrong-parity-clean-unwritten", every_chunk, later),
             one.run(replaced.name, built, replaced, "wrong-parity-clean-unwritten", every_chunk, later),
             one.run(short.name, built, short, "wrong-parity-clean", {20}),
             one.run(discarded.name, built, discarded, "data-in-unwritten", {10})]
    stale = one.run(reused.name, not_re_added, reused)
    cured += [reused] if stale else []
    converted = one.run(large_blocks.name, header_rebuilt, large_blocks)
    large = one.run("a bad-block log under states", log_under_states)
    one.run("judged by the kernel", judge, [case for case in cured if case], stale, large_blocks, converted, large)
