# SPDX-License-Identifier: GPL-2.0-or-later
"""Cuts that the kernel does not start from by itself: a lazy recovery cut off, and dirty arrays with a member less."""
import lab
import ondisk
from lab import Shape

BASELINE, STORM = 7, 40
ATTEMPTS = 6
FEW = 4  # dirty and degraded arrays in a short run


def cut_lazy_recovery(one, attempt):
    """A dirty array whose highest member carries RECOVERY_OFFSET; or None where the cut fell elsewhere."""
    generator = one.random("lazy", one.name, attempt)
    level = generator.choice([5, 6])
    shape = Shape(level, generator.choice([4, 5]), None, 64, bitmap="lockless", member_kib=6144)
    members = one.members(shape, one.name, f"attempt-{attempt}")
    # A first write on Unwritten chunks makes the kernel ask for a lazy recovery; slow, it is still under way at the cut.
    one.boot(f"""
{shape.create("md0", lab.letters(0, shape.slots))}
settle md0
echo 400 >/proc/sys/dev/raid/speed_limit_max
pattern write /dev/md0 {BASELINE} 640 600
sleep {generator.choice([0.05, 0.2, 0.4, 1.0])}
pattern storm /dev/md0 {STORM} 640 600 &
under_way md0
sleep {generator.uniform(0.1, 0.5):.2f}
crash
""", members.paths)
    blocks = members.superblocks()
    lazy = blocks[-1].recovery_offset is not None
    return members if lazy and not any(block.clean for block in blocks) else None


def mark_all_ones(one, members):
    """The mark a cut lazy recovery leaves is all ones or some way in, as it happens; all ones is what this is about."""
    last = members.superblocks()[-1]
    one.note(f"the cut left recovery_offset {last.recovery_offset}")
    if last.recovery_offset != ondisk.MAXSECT:
        ondisk.edit_version_1(members.paths[-1], last, ondisk.RECOVERY_OFFSET_AT, b"\xff" * 8)


def lazy_recovery(one, _turn):
    for attempt in range(ATTEMPTS):
        members = cut_lazy_recovery(one, attempt)
        if members:
            break
    one.require(members, f"{ATTEMPTS} cuts, and none fell into a lazy recovery of a dirty array")
    mark_all_ones(one, members)
    shape = members.shape
    _, array, findings = one.examine(members.paths)
    one.expect_equal(array["verdict"], "needs-force", "verdict")
    one.expect("lazy-recovery-cut" in [f["id"] for f in findings], f"no finding about the lazy recovery: {findings}")
    cut = members.copy_to(one.place(one.name, "cut"))
    due, _ = members.due()
    outside = ondisk.complement(due, members.first().size)
    wrong_outside, content = one.wrong_rows(members, outside), one.content(members)
    metadata = members.metadata()
    undo = one.place("undo", one.name)
    status, document = one.mdtool("resync", "--yes", "--undo", undo, *members.paths)
    one.expect(status in (0, 1), f"resync: exit status {status} ({document.get('error')})")
    one.expect_equal(one.wrong_rows(members, due), [], "rows still wrong in due chunks")
    one.expect_equal(one.wrong_rows(members, outside), wrong_outside, "wrong rows elsewhere")
    one.expect_equal(one.content(members), content, "data blocks")
    one.expect_settled(members)
    undone = members.copy_to(one.place(one.name, "resynced"))
    status, document = one.mdtool("undo", "--yes", undo)
    one.expect_equal(status, 0, f"undo ({document.get('error')})")
    one.expect(members.metadata() == metadata, "metadata after undo is not what it was")
    members, undone = undone, members
    one.require(len(cut.paths + members.paths) + len(undone.paths) <= 16, "too many images")
    n = shape.slots
    answers = one.boot(f"""
assemble md0 {lab.letters(0, n)}
mdadm --stop /dev/md0 >/dev/null 2>&1 || true
assemble md1 {lab.letters(n, n)}
at_rest md1
check md1
stop md1
assemble md2 {lab.letters(2 * n, n)}
mdadm --stop /dev/md2 >/dev/null 2>&1 || true
""", cut.paths + members.paths + undone.paths)
    one.expect_equal(answers.get("md0.assembled"), "no", "the kernel on the cut array, before resync")
    one.expect_at_rest(answers, "md1")
    mismatches = len([row for row in wrong_outside if members.bitmap().states[row // 128] not in (0, 7)])
    one.expect_equal(answers.get("md1.mismatches"), str(8 * mismatches), "mismatch_cnt")
    one.expect_equal(answers.get("md2.assembled"), "no", "the kernel after undo")


def cut_degraded(one, shape, lost):
    """A member leaves, then the power goes in the middle of writes. The one that left keeps its old image."""
    members = one.members(shape, one.name)
    devices = lab.letters(0, shape.slots)
    gone = devices.split()[lost]
    filled = 1800 * shape.data_disks
    one.boot(f"""
{shape.create("md0", devices)}
settle md0
echo repair >/sys/block/md0/md/sync_action
settle md0
pattern write /dev/md0 {BASELINE} 0 {filled}
stop md0
mdadm --assemble /dev/md0 {devices} >/dev/null 2>&1
settle md0
mdadm /dev/md0 --fail {gone} >/dev/null 2>&1
until mdadm /dev/md0 --remove {gone} >/dev/null 2>&1; do sleep 0.1; done
settle md0
pattern storm /dev/md0 {STORM} 0 768 &
pattern storm /dev/md0 {STORM + 1} 0 768 &
under_way md0
sleep {one.random("moment", one.name).uniform(0.1, 0.4):.2f}
crash
""", members.paths, write_through=one.random("through", one.name).random() < 0.5)
    return members, filled


def dirty_degraded(one, level, metadata, bitmap, turn):
    generator = one.random("degraded", level, metadata, bitmap, turn)
    extra = "--assume-clean" if bitmap == "lockless" else "--force"
    shape = Shape(level, generator.randint(4, 5), None, generator.choice([16, 64]), metadata, bitmap, 64, extra=extra)
    lost = generator.randrange(shape.slots)
    members, filled = cut_degraded(one, shape, lost)
    rest = members.without({lost})
    if any(block.clean for block in rest.superblocks()):
        one.note("the cut fell into an idle moment")
    before = rest.digests()
    status, document = one.mdtool("resync", "--yes", *rest.present())
    one.expect_equal(status, 64, f"resync without force ({document.get('error')})")
    one.expect_equal(rest.digests(), before, "members after the refusal")
    metadata_before = rest.metadata()
    undo = one.place("undo", one.name)
    status, document = one.mdtool("resync", "--yes", "--force=dirty-degraded", "--undo", undo, *rest.present())
    one.expect(status & ~7 == 0, f"forced: exit status {status} ({document.get('error')})")
    only_parity_lost = level == 4 and lost == shape.slots - 1
    one.expect(document.get("uncertain") or level == 6 or only_parity_lost, "no uncertain extents are listed")
    if level == 5 and document.get("result"):
        one.expect(all(t["bytes_written"] == 0 for t in document["result"]["members"]), "RAID-5: something was computed")
    if level == 6:
        one.expect_equal(one.wrong_rows(rest), [], "rows where P and Q disagree about the lost block")
    expect_bits_kept(one, rest)
    target = one.place(one.name, "copied")
    status, document = one.mdtool("copy", "--to", target, *rest.present())
    one.expect_equal(status, 2, f"copy of the degraded array ({document.get('error')})")
    resynced = rest.copy_to(one.place(one.name, "resynced"))
    status, document = one.mdtool("undo", "--yes", undo)
    one.expect_equal(status, 0, f"undo ({document.get('error')})")
    one.expect(rest.metadata() == metadata_before, "metadata after undo is not what it was")
    kernel_takes_it(one, resynced, members.paths[lost], lost, filled, lab.digest(target))


def expect_bits_kept(one, rest):
    for path, block in zip(rest.present(), rest.superblocks()):
        bits = ondisk.bitmap(path, block)
        if bits is not None:
            one.expect(any(state in (2, 3, 4) if bits.lockless else state for state in bits.states),
                       "no bit is left for the missing member")


def kernel_takes_it(one, rest, absent, lost, filled, content):
    """Degraded without force; and the absent member's old image is not taken for good, offered at once or added later."""
    shape = rest.shape
    present = lab.letters(0, shape.slots - 1)
    gone = lab.letters(shape.slots - 1, 1)
    answers = one.boot(f"""
assemble md0 {present}
at_rest md0
verify md0 {BASELINE} 768 {filled - 768}
say md0.hash $(hash_of md0)
stop md0
assemble md1 {gone} {present}
say md1.slots "$(cat /sys/block/md1/md/dev-*/slot 2>/dev/null | tr '\\n' ' ')"
stop md1 || true
assemble md2 {present}
mdadm /dev/md2 --add {gone} >/tmp/said 2>&1 || mdadm /dev/md2 --re-add {gone} >>/tmp/said 2>&1 || true
say md2.added "$(tr '\\n' ' ' </tmp/said)"
begun md2 0
settle md2
say md2.state "$(cat /sys/block/md2/md/dev-{gone.rsplit("/", 1)[1]}/state 2>/dev/null || true)"
say md2.recoveries $(syncs_of md2)
say md2.hash $(hash_of md2)
verify md2 {BASELINE} 768 {filled - 768}
check md2
stop md2
""", rest.present() + [absent])
    one.expect_at_rest(answers, "md0", degraded=1)
    one.expect_content(answers, "md0")
    one.expect_equal(answers.get("md0.hash"), content, "content, degraded, against mdtool copy")
    one.expect_equal(answers.get("md1.degraded"), "1", f"degraded with the old image offered ({answers.get('md1.said')})")
    one.expect_equal(answers.get("md2.recoveries"), "1", f"recoveries of the added member ({answers.get('md2.added')})")
    one.expect("in_sync" in answers.get("md2.state", ""), f"rebuilt at last: {answers.get('md2.state')}")
    one.expect_equal(answers.get("md2.hash"), content, "content after the rebuild")
    one.expect_content(answers, "md2")
    one.expect_equal(answers.get("md2.mismatches"), "0", "mismatch_cnt after the rebuild")


def run(one):
    for turn in range(one.rounds):
        one.run(f"{turn} lazy recovery", lazy_recovery, turn)
        every = [(5, "0.90", "none"), (5, "1.2", "classic"), (5, "1.2", "lockless"), (6, "0.90", "classic"),
                 (6, "1.2", "none"), (6, "1.2", "lockless"), (5, "1.0", "none"), (4, "1.1", "classic")]
        for level, metadata, bitmap in every if one.rounds > 1 or one.options.only else one.random("few").sample(every, FEW):
            one.run(f"{turn} dirty-degraded raid{level} {metadata} {bitmap}", dirty_degraded, level, metadata, bitmap, turn)
