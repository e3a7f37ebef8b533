# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitmaps that are not what was expected: another version than suggested, and headers that the kernel refuses."""
import struct

import lab
import ondisk
from lab import Shape

BASELINE, STORM = 7, 40
# name: (where in the header, what is put there)
DAMAGE = {"magic": (0, b"none"), "version": (4, struct.pack("<I", 9)), "overwritten by infection": (4, b"\x06\x02\x02\x02"),
          "uuid": (8, b"\xee" * 16), "chunk size": (52, struct.pack("<I", 12345)), 
          "daemon sleep": (56, bytes(4))}


def make(one, bitmap, *, cut):
    generator = one.random(one.name)
    extra = "--assume-clean" if cut else "--force"
    shape = Shape(generator.choice([5, 6]), 4, None, 64, bitmap=bitmap, member_kib=3072, extra=extra)
    members = one.members(shape, one.name)
    end = f"pattern storm /dev/md0 {STORM} 384 256 &\nunder_way md0\nsleep 0.2\ncrash" if cut else "stop md0"
    one.boot(f"""
{shape.create("md0", lab.letters(0, shape.slots))}
settle md0
echo repair >/sys/block/md0/md/sync_action
settle md0
pattern write /dev/md0 {BASELINE} 0 3000
stop md0
mdadm --assemble /dev/md0 {lab.letters(0, shape.slots)} >/dev/null 2>&1
settle md0
{end}
""", members.paths)
    return members


def other_version(one, bitmap):
    """The version on disk decides; what the caller believes is a finding and changes nothing."""
    members = make(one, bitmap, cut=False)
    own = {"classic": "internal", "lockless": "lockless", "none": "none"}[bitmap]
    before = members.digests()
    _, plain, _ = one.examine(members.paths)
    for word in ("internal", "lockless"):
        _, array, findings = one.examine(members.paths, f"--bitmap={word}")
        one.expect_equal(array, plain, f"--bitmap={word}: the answer")
        told = [f for f in findings if f["id"] == "bitmap-version-mismatch"]
        one.expect_equal(bool(told), word != own and bitmap != "none", f"--bitmap={word}: a finding (all: {[f['id'] for f in findings]})")
        status, document = one.mdtool("resync", "--yes", f"--bitmap={word}", *members.paths)
        one.expect_equal((status & ~2, document.get("result")), (0, None), f"resync --bitmap={word} on a clean array ({document.get('error')})")
    one.expect_equal(members.digests(), before, "members afterwards")


def starts(answers, md):
    return answers.get(f"{md}.assembled") == "yes" and answers.get(f"{md}.array_state") not in ("inactive", "clear", "none", "")


def damaged_header(one, bitmap, damage, cut):
    """The kernel refuses it if and only if examine says so; resync makes parity right all the same."""
    members = make(one, bitmap, cut=cut)
    place, value = DAMAGE[damage]
    for path, block in zip(members.paths, members.superblocks()):
        ondisk.write_at(path, block.bitmap_at + place, value)
    size = members.first().size
    planted = [one.random(one.name, n).randrange(size) // 8 * 8 for n in range(4)]
    for row in planted:
        one.oracle(members, "--plant", row)
    devices = lab.letters(0, members.shape.slots)
    kernels = members.copy_to(one.place(one.name, "kernels"))
    answers = one.boot(f"assemble md0 --readonly {devices}\nmdadm --stop /dev/md0 >/dev/null 2>&1 || true\n", kernels.paths)
    status, array, findings = one.examine(members.paths)
    ids = [f["id"] for f in findings]
    one.expect_equal(array["verdict"] == "assembles", starts(answers, "md0"),
                     f"verdict {array['verdict']} against the kernel's ({answers.get('md0.said')})")
    if not starts(answers, "md0"):
        one.expect_equal((status & 4, array["verdict"]), (4, "needs-force"), "exit status and verdict")
        told = [f for f in findings if f["id"].startswith("bitmap")]
        one.expect(told, f"no finding about the bitmap: {ids}")
        one.expect(array["bitmap"].get("cures") or any("no-bitmap" in f["text"] for f in told), f"no cure is named: {told}")
    content = one.content(members)
    target = one.place(one.name, "copied")
    found, document = one.mdtool("copy", "--to", target, *members.paths)
    one.expect(found in (0, 2), f"copy: {found} ({document.get('error')})")
    one.expect_equal(lab.digest(target), content, "content without the bitmap")
    metadata = members.metadata()
    undo = one.place("undo", one.name)
    found, document = one.mdtool("resync", "--yes", "--undo", undo, *members.paths)
    one.expect(found & ~3 == 0, f"resync: {found} ({document.get('error')})")
    one.expect_equal(one.wrong_rows(members), [], "rows with wrong parity after resync")
    one.expect_equal(one.content(members), content, "data blocks")
    resynced = members.copy_to(one.place(one.name, "resynced"))
    settled = resynced.digests()
    found, document = one.mdtool("resync", "--yes", "--undo", undo + ".second", *resynced.paths)
    one.expect(found & ~3 == 0, f"the second run: {found} ({document.get('error')})")
    one.expect(resynced.digests() == settled, "the second run has written")
    after = one.examine(resynced.paths)[1]["verdict"]
    found, document = one.mdtool("undo", "--yes", undo)
    one.expect_equal(found, 0, f"undo ({document.get('error')})")
    one.expect(members.metadata() == metadata, "metadata after undo is not what it was")
    answers = one.boot(f"""
assemble md0 {devices}
at_rest md0
mdadm --stop /dev/md0 >/dev/null 2>&1 || true
assemble md1 --update=no-bitmap {devices}
at_rest md1
verify md1 {BASELINE} 640 2000
[ "$(sys md1 sync_action)" = none ] || check md1
mdadm --stop /dev/md1 >/dev/null 2>&1 || true
""", resynced.paths)
    one.expect_equal(after == "assembles", starts(answers, "md0"), f"verdict after resync: {after} ({answers.get('md0.said')})")
    one.expect_at_rest(answers, "md1")
    one.expect_content(answers, "md1")
    one.expect_equal(answers.get("md1.mismatches"), "0", "mismatch_cnt, without the bitmap")


def run(one):
    for bitmap in ("classic", "lockless", "none"):
        one.run(f"{bitmap} and another expected", other_version, bitmap)
    cases = [("lockless", "overwritten by infection", True), ("lockless", "uuid", False), ("lockless", "chunk size", True),
             ("classic", "version", True), ("classic", "uuid", True), ("classic", "chunk size", False),
             ("classic", "daemon sleep", True)]
    if one.rounds > 1:
        cases = [(bitmap, damage, cut) for bitmap in ("classic", "lockless") for damage in DAMAGE for cut in (False, True)]
    for bitmap, damage, cut in cases:
        one.run(f"{bitmap} with a damaged header ({damage}), {'cut' if cut else 'clean'}", damaged_header, bitmap, damage, cut)
