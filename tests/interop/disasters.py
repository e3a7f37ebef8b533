# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrays that will not start: explained, tried in memory, brought back, judged by the kernel; and taken back again."""
import json
import os
import shutil
import struct

import lab
import ondisk
from lab import Members, Shape
from members import gpt_image, mbr_image

FIRST, LATER, OTHER = 11, 22, 33  # seeds of patterns
ALL = 4096  # sectors that are written first: array content from 0 on
SPAN = 512  # sectors that are written later
UTIME_AT = 192
TWO_MONTHS = 60 * 24 * 3600


def make(one, shape, after="", *, name="md0"):
    """An array made by the kernel and filled; `after` is what becomes of it in the same guest."""
    members = one.members(shape, one.name)
    answers = one.boot(f"""
{shape.create(name, lab.letters(0, shape.slots))}
settle {name}
echo repair >/sys/block/{name}/md/sync_action
settle {name}
pattern write /dev/{name} {FIRST} 0 {ALL}
settle {name}
say hash $(hash_of {name})
{after}
stop {name}
""", members.paths)
    return members, answers


def ids(findings):
    return [finding["id"] for finding in findings]


def look(one, paths, *expected, verdict=None):
    """What examine finds; each finding that is expected is there, with a next step."""
    status, document = one.mdtool("examine", *paths)
    for one_id in expected:
        found = [f for f in document["findings"] if f["id"] == one_id]
        if one.expect(found, f"examine does not find {one_id}: {ids(document['findings'])}"):
            one.expect(any(f["next"] for f in found), f"{one_id} names no next step")
    if verdict:
        one.expect_equal([a["verdict"] for a in document["arrays"]], [verdict], "verdict")
        one.expect(document["arrays"][0]["choices"], "no choices are offered")
    return status, document


def plan_of(one, *command):
    """The dry run's document in a file. It writes nothing."""
    status, document = one.mdtool(*command, "--dry-run")
    one.require(status == 0, f"{command[0]} --dry-run: {status} {document.get('error')}")
    one.expect(not document["written"], "the dry run says that it wrote")
    path = one.place("plans", f"{one.name}-{next(one.counter)}.json")
    with open(path, "w", encoding="ascii") as file:
        json.dump(document, file)
    return path


def tried(one, plan, paths):
    """sha256 of the array's content as the plan would give it; None if it cannot be read then."""
    target = one.place("tried", f"{one.name}-{next(one.counter)}")
    status, document = one.mdtool("copy", "--to", target, "--with", plan, *paths)
    if status & ~2:
        one.note(f"copy --with: {status} {document.get('error')}")
        return None
    found = lab.digest(target)
    os.unlink(target)
    return found


class Cure:
    """A command that is planned, tried, applied; the members before it are kept, so that it can be taken back."""

    def __init__(self, one, members, *command, paths=None, hash=None):
        self.one, self.members, self.name = one, members, one.name
        paths = paths or members.present()
        before = {path: lab.digest(path) for path in paths}
        self.plan = plan_of(one, *command)
        if hash:
            one.expect_equal(tried(one, self.plan, paths), hash, "content, tried in memory")
        one.expect_equal({path: lab.digest(path) for path in paths}, before, "members after it was tried")
        undo = one.place("undo", f"{one.name}-{next(one.counter)}.undo")
        status, document = one.mdtool(*command, "--yes", "--undo", undo)
        one.require(status in (0, 1, 2), f"{command[0]}: {status} {document.get('error')}")
        one.expect(document["written"], f"{command[0]} says that it wrote nothing")
        cured = {path: lab.digest(path) for path in paths}
        self.undo_round_trip(undo, before, cured)

    def undo_round_trip(self, undo, before, cured):
        """Back to the byte, and the undo undone is the cure again."""
        one = self.one
        second = undo + ".undone"
        status, document = one.mdtool("undo", undo, "--yes", "--undo", second)
        one.expect_equal(status, 0, f"undo ({document.get('error')})")
        one.expect_equal({path: lab.digest(path) for path in before}, before, "members after undo")
        status, document = one.mdtool("undo", second, "--yes", "--undo", "none")
        one.expect_equal(status, 0, f"undo of the undo ({document.get('error')})")
        one.expect_equal({path: lab.digest(path) for path in cured}, cured, "members after the undo was undone")


def judged(one, members, hash, *, degraded=0, more=""):
    """The kernel takes the members as they are, without force, and starts no sync."""
    answers = one.boot(f"""
assemble md0 {"--run " if degraded else ""}{lab.letters(0, len(members.present()))}
at_rest md0
say hash $(hash_of md0)
{more}
[ {degraded} -gt 0 ] || check md0
stop md0
""", members.present())
    one.expect_at_rest(answers, "md0", degraded=degraded)
    if hash:
        one.expect_equal(answers.get("hash"), hash, "content as the kernel reads it")
    if not degraded:
        one.expect_equal(answers.get("md0.mismatches"), "0", "mismatch_cnt")
    return answers


def two_dropped(one, bitmap):
    """Two of a RAID-6, one after the other; then a third is gone for good."""
    members, answers = make(one, Shape(6, 4, bitmap=bitmap), f"""
mdadm /dev/md0 --fail /dev/ubdb >/dev/null 2>&1
pattern write /dev/md0 {LATER} 0 {SPAN}
settle md0
say later $(hash_of md0)
mdadm /dev/md0 --fail /dev/ubdc >/dev/null 2>&1
settle md0
""")
    left = members.without({0})
    _, document = look(one, left.present(), verdict="needs-force")
    departures = document["arrays"][0]["history"]
    one.expect_equal([os.path.basename(d["path"]) for d in departures], ["m2.img", "m1.img"], "who left, the last first")
    Cure(one, left, "force", *left.present(), hash=answers["later"])
    judged(one, left, answers["later"], degraded=2)


def all_spare(one):
    members, answers = make(one, Shape(5, 3))
    for path, block in zip(members.paths, members.superblocks()):
        ondisk.edit_version_1(path, block, ondisk.ROLES_AT, b"\xff\xff" * len(block.roles))
    look(one, members.paths, "all-members-spare")
    slots = [word for slot, path in enumerate(members.paths) for word in ("--slot", f"{path}={slot}")]
    wrong = [word for slot, path in enumerate(members.paths) for word in ("--slot", f"{path}={(slot + 1) % 3}")]
    other = tried(one, plan_of(one, "set", *members.paths, *wrong), members.paths)
    one.expect(other != answers["hash"], "the wrong order reads as right")
    Cure(one, members, "set", *members.paths, *slots, hash=answers["hash"])
    judged(one, members, answers["hash"])


def claimed_twice(one):
    members, answers = make(one, Shape(5, 3))
    clone = one.place(one.name, "clone.img")
    shutil.copy(members.paths[1], clone)
    first = members.first()
    ondisk.write_at(clone, first.data_offset * 512, os.urandom(64 << 10))
    paths = [*members.paths, clone]
    look(one, paths, "member-cloned")
    Cure(one, members, "erase", clone, paths=[clone])
    _, array, _ = one.examine(members.paths)
    one.expect_equal(array["verdict"], "assembles", "verdict")
    judged(one, members, answers["hash"])


def zeroed(one, metadata, bitmap):
    members, answers = make(one, Shape(5, 3, metadata=metadata, bitmap=bitmap))
    lost = members.paths[2]
    ondisk.write_at(lost, ondisk.superblock_at(lost, metadata), bytes(4096))
    look(one, members.paths, "superblock-zeroed", verdict="degraded")
    Cure(one, members, "add", *members.paths, "--target", lost, "--slot", "2", hash=answers["hash"])
    judged(one, members, answers["hash"])


def gpt_over(one):
    members, answers = make(one, Shape(6, 4))
    image = one.place(one.name, "gpt.img")
    gpt_image(image, bytes(1 << 20), 2048)
    ondisk.write_at(members.paths[1], 0, ondisk.read_at(image, 0, 34 * 512))
    look(one, members.paths, "gpt-over-superblock", verdict="degraded")
    Cure(one, members, "add", *members.paths, "--target", members.paths[1], "--slot", "1", hash=answers["hash"])
    judged(one, members, answers["hash"])


def accidental_create(one):
    shape = Shape(5, 3, chunk_kib=64)
    again = Shape(5, 3, chunk_kib=32, extra="--assume-clean")
    members, answers = make(one, shape, f"""
stop md0
{again.create("md0", lab.letters(0, 3))}
settle md0
""")
    command = ["set", *members.paths, "--field"]
    beside = {chunk: tried(one, plan_of(one, *command, f"chunksize={chunk}"), members.paths) for chunk in (32, 128, 256)}
    one.expect_equal([chunk for chunk, found in beside.items() if found == answers["hash"]], [128],
                     "the chunk sizes whose content is right")
    Cure(one, members, *command, "chunksize=128", hash=answers["hash"])
    judged(one, members, answers["hash"])


def foreign_bitmap(one):
    shape = Shape(5, 3, bitmap="classic")
    members, answers = make(one, shape)
    for path, block in zip(members.paths, members.superblocks()):
        ondisk.write_at(path, block.bitmap_at + ondisk.BITMAP_UUID_AT, os.urandom(16))
    look(one, members.paths, "bitmap-uuid", verdict="needs-force")
    Cure(one, members, "set", *members.paths, "--update", "no-bitmap", hash=answers["hash"])
    judged(one, members, answers["hash"])


def two_halves(one):
    members, _ = make(one, Shape(6, 4))
    answers = one.boot(f"""
assemble md0 --run /dev/ubda /dev/ubdb
pattern write /dev/md0 {LATER} 0 {SPAN}
settle md0
say first $(hash_of md0)
stop md0
assemble md1 --run /dev/ubdc /dev/ubdd
pattern write /dev/md1 {OTHER} 0 {SPAN}
settle md1
say second $(hash_of md1)
stop md1
""", members.paths)
    one.require(answers.get("first") and answers.get("second") and answers["first"] != answers["second"], f"no two halves: {answers}")
    _, document = look(one, members.paths, "split-brain")
    halves = sorted(sorted(os.path.basename(p) for p in half) for half in document["arrays"][0]["halves"])
    one.expect_equal(halves, [["m0.img", "m1.img"], ["m2.img", "m3.img"]], "halves")
    before = members.digests()
    status, document = one.mdtool("force", *members.paths, "--yes", "--undo", "none")
    one.expect_equal(status, 64, f"force without a choice ({document.get('error')})")
    one.expect_equal(members.digests(), before, "members after the refusal")
    second = plan_of(one, "force", *members.paths, "--target", members.paths[2], "--target", members.paths[3],
                     "--force=split-brain")
    one.expect_equal(tried(one, second, members.paths), answers["second"], "the other half, tried in memory")
    Cure(one, members, "force", *members.paths, "--target", members.paths[0], "--target", members.paths[1],
         "--force=split-brain", hash=answers["first"])
    judged(one, members, answers["first"], degraded=2)


def renamed(one):
    members, answers = make(one, Shape(5, 3))
    Cure(one, members, "set", *members.paths, "--homehost", "rescue", "--name", "tank", hash=answers["hash"])
    answers = judged(one, members, answers["hash"], more="say name $(mdadm --examine /dev/ubda | sed -n 's/^ *Name : //p')")
    one.expect(answers["name"].startswith("rescue:tank"), f"mdadm calls it {answers['name']}")


def end_of_partition(one):
    members, answers = make(one, Shape(5, 3, metadata="0.90"))
    disks, slices = [], []
    start = 128
    for slot, path in enumerate(members.paths):
        disks.append(one.place(one.name, f"disk{slot}.img"))
        with open(path, "rb") as file:
            content = file.read()
        mbr_image(disks[-1], content, start)
        os.truncate(disks[-1], start * 512 + len(content))
        slices.append(f"{disks[-1]}@{start * 512}+{len(content)}")
    look(one, disks, "superblock-ambiguous")
    _, array, _ = one.examine(slices)
    one.expect_equal(array["verdict"], "assembles", "verdict of the partitions alone")
    on_disks = Members(Shape(5, 3, metadata="1.0"), disks)
    Cure(one, on_disks, "set", *slices, "--update", "metadata", paths=disks)
    for path, disk in zip(members.paths, disks):
        ondisk.write_at(path, 0, ondisk.read_at(disk, start * 512, os.path.getsize(path)))
    members.shape = on_disks.shape
    judged(one, members, answers["hash"])


def two_months(one):
    members, answers = make(one, Shape(5, 3), f"""
mdadm /dev/md0 --fail /dev/ubdc >/dev/null 2>&1
pattern write /dev/md0 {LATER} 0 {SPAN}
settle md0
""")
    stale = ondisk.superblock(members.paths[2], "1.2")
    utime, = struct.unpack("<Q", ondisk.read_at(members.paths[2], stale.at + UTIME_AT, 8))
    ondisk.edit_version_1(members.paths[2], stale, UTIME_AT, struct.pack("<Q", utime - TWO_MONTHS))
    left = members.without({1})
    _, document = look(one, left.present(), verdict="needs-force")
    choice = next((c for c in document["arrays"][0]["choices"] if c["id"].startswith("force")), None)
    one.expect(choice and choice["stale_bytes"], f"no price is named: {document['arrays'][0]['choices']}")
    Cure(one, left, "force", *left.present())
    answers = judged(one, left, None, degraded=1, more=f"verify md0 {FIRST} {SPAN} {ALL - SPAN}")
    one.expect_content(answers, "md0")


def logical_block_size(one):
    members, answers = make(one, Shape(5, 3))
    _, array, _ = one.examine(members.paths)
    found = [r["id"] for r in array["compatibility"]["requirements"]]
    one.expect("logical-block-size" in found, f"requirements: {found}")
    Cure(one, members, "set", *members.paths, "--field", "logical_block_size=0", hash=answers["hash"])
    _, array, _ = one.examine(members.paths)
    found = [r["id"] for r in array["compatibility"]["requirements"]]
    one.expect("logical-block-size" not in found, f"requirements afterwards: {found}")
    for path, block in zip(members.paths, members.superblocks()):
        one.expect_equal(ondisk.read_at(path, block.at + 224, 32), bytes(32), "what 6.18 calls padding")
    judged(one, members, answers["hash"])


def re_added(one, level, bitmap, by):
    """A member is away while the array is written; back in its slot it gets exactly what it missed."""
    shape = Shape(level, 4, bitmap=bitmap)
    members, answers = make(one, shape, f"""
mdadm /dev/md0 --fail /dev/ubdb --remove /dev/ubdb >/dev/null 2>&1
pattern write /dev/md0 {LATER} 640 {SPAN}
pattern write /dev/md0 {OTHER} 3000 8
settle md0
say later $(hash_of md0)
""")
    away = members.paths[1]
    command = ["re-add", *members.paths, "--target", away]
    status, document = one.mdtool(*command, "--yes", "--undo", "none")
    one.expect_equal(status, 64, "re-add without a word about who held the slot meanwhile")
    one.expect("slot-history" in document["error"]["text"], f"it does not name the check: {document['error']}")
    Cure(one, members, *command, "--force=slot-history", hash=answers["later"])
    block = ondisk.superblock(away, "1.2")
    one.expect_equal((block.slot, block.recovery_offset), (1, 0), "slot and recovery_offset of the member")
    if by == "mdtool":
        status, document = one.mdtool("recover", *members.paths, "--yes", "--undo", "none")
        one.expect(status in (0, 1), f"recover: {status} {document.get('error')}")
        one.expect_equal(one.wrong_rows(members, members.due()[0]), [], "rows that are wrong where writes went")
        judged(one, members, answers["later"])
        return
    answers_then = one.boot(f"""
assemble md0 {lab.letters(0, 4)}
begun md0 0
settle md0
say hash $(hash_of md0)
say degraded $(sys md0 degraded)
check md0
stop md0
""", members.paths)
    one.expect_equal(answers_then.get("md0.assembled"), "yes", f"assembled ({answers_then.get('md0.said')})")
    one.expect_equal(answers_then.get("degraded"), "0", "degraded after the kernel's recovery")
    one.expect_equal(answers_then.get("hash"), answers["later"], "content after the kernel's recovery")
    one.expect_equal(answers_then.get("md0.mismatches"), "0", "mismatch_cnt")
    one.expect_settled(members)


def run(one):
    for bitmap in ("none", "classic"):
        one.run(f"two members dropped at different times, bitmap {bitmap}", two_dropped, bitmap)
    one.run("all members are spares", all_spare)
    one.run("a slot claimed twice", claimed_twice)
    one.run("superblock zeroed, 1.2", zeroed, "1.2", "none")
    one.run("superblock zeroed, 1.0 with a bitmap", zeroed, "1.0", "classic")
    one.run("GPT over a member", gpt_over)
    one.run("accidental create with another chunk size", accidental_create)
    one.run("bitmap of another array", foreign_bitmap)
    one.run("two halves both written", two_halves)
    one.run("name and homehost changed", renamed)
    one.run("0.90 at the end of a partition", end_of_partition)
    one.run("a member two months stale", two_months)
    one.run("a logical block size that 6.18 refuses", logical_block_size)
    for level, bitmap in ((5, "classic"), (6, "lockless")):
        for by in ("kernel", "mdtool"):
            one.run(f"re-added to raid{level} {bitmap}, finished by {by}", re_added, level, bitmap, by)
