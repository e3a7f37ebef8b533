# SPDX-License-Identifier: GPL-2.0-or-later
"""Many members, few, the wrong ones, folders, partitions, and members that something else holds."""
import os
import shutil
import struct
import subprocess
import uuid
import zlib

import lab
import ondisk
from lab import Shape

MANY = 64
LINUX_RAID = uuid.UUID("A19D880F-05FC-4D3B-A006-743F0F84911E")


def make(one, shape, *names, seed=1):
    """An array made in the guest; its members, and the sha256 of its content."""
    members = one.members(shape, *names)
    folder = os.path.dirname(members.paths[0])
    answers = one.boot(f"""
attach {" ".join(f"/share/m{slot}.img" for slot in range(shape.slots))}
{shape.create("md0", "$devices")}
settle md0
echo repair >/sys/block/md0/md/sync_action
settle md0
pattern write /dev/md0 {seed} 0 2000
say hash $(hash_of md0)
stop md0
detach
""", share=folder)
    return members, answers.get("hash")


def expect_copy(one, arguments, expected, what, status=0):
    target = one.place("copied")
    if os.path.exists(target):
        os.unlink(target)
    found, document = one.mdtool("copy", "--to", target, *arguments)
    one.expect_equal(found, status, f"copy {what}: exit status ({document.get('error')}, {[f['id'] for f in document['findings']]})")
    if one.expect(os.path.exists(target), f"copy {what}: no file"):
        one.expect_equal(lab.digest(target), expected, f"copy {what}: content")


def sixty_four(one):
    shape = Shape(6, MANY, "left-symmetric", 4, member_kib=2048, extra="--assume-clean")
    members, expected = make(one, shape, "many")
    status, array, _ = one.examine(members.paths)
    one.expect_equal((status, array["verdict"], array["raid_devices"], len(array["members"])), (0, "assembles", MANY, MANY), "examine")
    one.expect_equal(sorted(m["slot"] for m in array["members"]), list(range(MANY)), "slots")
    expect_copy(one, members.paths, expected, "of all")
    for lost in ({0, 63}, {17, 18}, {40}):
        expect_copy(one, members.without(lost).present(), expected, f"without {lost}", 2)
    expect_copy(one, [os.path.dirname(members.paths[0])], expected, "of a folder")


def three_and_strangers(one):
    shape = Shape(5, 3, "left-symmetric", 64, extra="--assume-clean")
    ours, expected = make(one, shape, "ours")
    theirs, other = make(one, Shape(4, 3, None, 16, "1.0", extra="--assume-clean"), "theirs", seed=2)
    before = ours.digests() + theirs.digests()
    expect_copy(one, ours.paths, expected, "of three members")

    status, array, _ = one.examine([ours.paths[0], *ours.paths])  # a member given twice
    one.expect_equal(array["verdict"], "assembles", "verdict with a member given twice")
    one.expect_equal(sum(m["state"] == "in-sync" for m in array["members"]), 3, "in-sync members, one given twice")
    expect_copy(one, [ours.paths[0], *ours.paths], expected, "with a member given twice", status)
    clone = one.place("clone.img")
    shutil.copy(ours.paths[0], clone)
    status, array, findings = one.examine([*ours.paths, clone])
    one.expect("member-cloned" in [f["id"] for f in findings] or "slot-claimed-twice" in [f["id"] for f in findings],
               f"a clone of a member: findings {[f['id'] for f in findings]}")
    status, document = one.mdtool("resync", "--yes", *ours.paths, clone)
    one.expect(status in (0, 2, 64), f"resync with a clone: {status}")

    both = [path for pair in zip(ours.paths, theirs.paths) for path in pair]
    status, document = one.mdtool("examine", *both)
    one.expect_equal(len(document["arrays"]), 2, "arrays found among members of two")
    one.expect(all(a["verdict"] == "assembles" for a in document["arrays"]), "verdicts of two arrays")
    for verb in ("copy", "resync"):
        extra = ["--to", one.place("mixed")] if verb == "copy" else ["--yes"]
        status, document = one.mdtool(verb, *extra, *both)
        one.expect(status in (16, 64), f"{verb} on members of two arrays: exit status {status}")
        one.expect("uuid" in str(document.get("error")).lower(), f"{verb}: it does not say what to do: {document.get('error')}")
    uuids = {a["level"]: a["uuid"] for a in one.mdtool("examine", *both)[1]["arrays"]}
    expect_copy(one, ["--uuid", uuids["raid5"], *both], expected, "of one of two")
    expect_copy(one, ["--uuid", uuids["raid4"], *both], other, "of the other of two")
    folder = os.path.dirname(ours.paths[0])
    status, array, _ = one.examine([folder])
    one.expect_equal((status, array["verdict"]), (0, "assembles"), "examine of a folder")
    with open(os.path.join(folder, "notes.txt"), "w", encoding="ascii") as file:
        file.write("no member\n")
    expect_copy(one, [folder], expected, "of a folder with a stranger in it", one.examine([folder])[0])
    one.expect_equal(ours.digests() + theirs.digests(), before, "members afterwards")


def dirty(members):
    """As if the power had gone: resync has something to do then."""
    for path, block in zip(members.paths, members.superblocks()):
        ondisk.edit_version_1(path, block, ondisk.RESYNC_OFFSET_AT, bytes(8))


def refused(one, members, holder, *verb):
    before = members.digests()
    status, document = one.mdtool(*verb, "--yes", "--undo", one.place("undo", one.name), *members.paths)
    one.expect_equal(status, 64, f"{verb[0]} on a member in use ({document.get('error')})")
    one.expect(holder in str(document.get("error")), f"{verb[0]} does not name {holder}: {document.get('error')}")
    one.expect_equal(members.digests(), before, "members after the refusal")


def held(one):
    members, expected = make(one, Shape(5, 3, None, 64, extra="--assume-clean"), "held")
    with open(members.paths[1], "r+b") as file:
        lab.lock(file)
        refused(one, members, "m1.img", "build-parity", "--all")
        dirty(members)
        refused(one, members, "m1.img", "resync")
        expect_copy(one, members.paths, expected, "of locked members", one.examine(members.paths)[0])
    attached = subprocess.run(["losetup", "--find", "--show", members.paths[2]], capture_output=True, text=True, check=False)
    if attached.returncode:
        one.note(f"no loop devices here ({attached.stderr.strip()}): only the lock was tried")
    else:
        loop = attached.stdout.strip()
        backing = f"/sys/block/{os.path.basename(loop)}/loop/backing_file"
        try:
            refused(one, members, loop, "resync")
            status, _, findings = one.examine(members.paths)
            one.expect("member-in-use" in [f["id"] for f in findings], f"no finding about {loop}: {findings}")
            one.expect(loop in str(findings), "the finding does not name the holder")
            expect_copy(one, members.paths, expected, "of a member in use", status)
            # The loop device itself is a fine member.
            through = lab.Members(members.shape, [members.paths[0], members.paths[1], loop])
            expect_copy(one, through.paths, expected, "through a loop device", one.examine(through.paths)[0])
        finally:
            subprocess.run(["losetup", "-d", loop], check=True)
        # While something else looks at the device, udev for one, it goes on a little longer.
        one.require(lab.within(20, lambda: not os.path.exists(backing)), f"{loop} still holds its file")
    status, document = one.mdtool("resync", "--yes", "--undo", one.place("undo", "freed"), *members.paths)
    one.expect(status in (0, 1), f"resync once nobody holds them: {status} ({document.get('error')})")


def mbr_image(path, member, start):
    count = len(member) // ondisk.SECTOR
    head = bytearray(start * ondisk.SECTOR)
    head[446:462] = struct.pack("<B3sB3sII", 0, b"\0\0\0", 0xFD, b"\0\0\0", start, count)
    head[510:512] = b"\x55\xaa"
    with open(path, "wb") as file:
        file.write(bytes(head) + member + bytes(1 << 20))


def gpt_image(path, member, start):
    count, spare = len(member) // ondisk.SECTOR, 2048
    last = start + count + spare - 1
    entry = LINUX_RAID.bytes_le + uuid.uuid4().bytes_le + struct.pack("<QQQ", start, start + count - 1, 0)
    entries = (entry + "raid".encode("utf-16-le")).ljust(128, b"\0").ljust(128 * 128, b"\0")
    disk = uuid.uuid4().bytes_le

    def header(own, other, table):
        def raw(crc):
            return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, own, other, 34, last - 33, disk, table,
                               128, 128, zlib.crc32(entries))
        return raw(zlib.crc32(raw(0))).ljust(ondisk.SECTOR, b"\0")

    protective = bytearray(ondisk.SECTOR)
    protective[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, last)
    protective[510:512] = b"\x55\xaa"
    head = bytes(protective) + header(1, last, 2) + entries
    tail = entries + header(last, 1, last - 32)
    with open(path, "wb") as file:
        file.write(head.ljust(start * ondisk.SECTOR, b"\0") + member)
        file.truncate((last + 1) * ondisk.SECTOR - len(tail))
        file.seek(0, os.SEEK_END)
        file.write(tail)


def partitions(one, metadata, table):
    members, expected = make(one, Shape(5, 3, None, 64, metadata, extra="--assume-clean"), "partitions", metadata, table)
    start, disks = 2048 + 8 * len(metadata), []
    for slot, path in enumerate(members.paths):
        with open(path, "rb") as file:
            content = file.read()
        disks.append(one.place("partitions", metadata, table, f"disk{slot}.img"))
        (gpt_image if table == "gpt" else mbr_image)(disks[-1], content, start)
    before = [lab.digest(disk) for disk in disks]
    status, array, _ = one.examine(disks)
    one.expect_equal((status, array["verdict"]), (0, "assembles"), "examine of disks with partitions")
    names = sorted(m["path"] for m in array["members"])
    size = os.path.getsize(members.paths[0])
    one.expect_equal(names, sorted(f"{disk}@{start * ondisk.SECTOR}+{size}" for disk in disks), "members' names")
    expect_copy(one, disks, expected, "of disks with partitions")
    expect_copy(one, names, expected, "of file@offset+size")
    one.expect_equal([lab.digest(disk) for disk in disks], before, "disks afterwards")
    if metadata == "1.2":
        for path in members.paths:
            os.unlink(path)
        resync_partitions(one, disks, start, size, members)


def resync_partitions(one, disks, start, size, members):
    """Writing goes into the partition and nowhere else."""
    def slices():
        for disk, path in zip(disks, members.paths):
            with open(path, "wb") as file:
                file.write(ondisk.read_at(disk, start * ondisk.SECTOR, size))
    slices()
    dirty(members)
    for disk, path in zip(disks, members.paths):
        ondisk.write_at(disk, start * ondisk.SECTOR, ondisk.read_at(path, 0, size))
    around = [(ondisk.read_at(d, 0, start * 512), ondisk.read_at(d, start * 512 + size, 1 << 20)) for d in disks]
    status, document = one.mdtool("resync", "--yes", "--undo", one.place("undo", one.name), *disks)
    one.expect(status in (0, 1), f"resync of partitions: {status} ({document.get('error')})")
    slices()
    one.expect_settled(members)
    one.expect(around == [(ondisk.read_at(d, 0, start * 512), ondisk.read_at(d, start * 512 + size, 1 << 20)) for d in disks],
               "bytes around the partitions have changed")


def run(one):
    one.run("64 members", sixty_four)
    one.run("three members, strangers, twice the same", three_and_strangers)
    one.run("members that are held", held)
    for metadata in lab.METADATA:
        one.run(f"partitions {metadata} gpt", partitions, metadata, "gpt")
    one.run("partitions 1.2 mbr", partitions, "1.2", "mbr")
