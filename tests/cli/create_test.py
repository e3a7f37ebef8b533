#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mdtool create: mdadm's words, what is refused, what is written, and what is not once something goes wrong.

Usage: create_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
OPERATIONAL, USAGE, INTERRUPTED, REFUSED = 8, 16, 32, 64
SECTOR, SUPERBLOCK, MIB = 512, 4096, 1 << 20  # SUPERBLOCK: of metadata 1.2
MAGIC, ALL_ONES = 0xA92B4EFC, 2**64 - 1
HOST_HASH = hashlib.sha1(b"host").digest()[:8]


def validate(document):
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store[document["mdtool"]["command"] + ".schema.json"]
    jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store)).validate(document)


def at(path, offset, count):
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(count)


class Superblock:
    """The few fields of a 1.2 superblock that these tests ask for."""

    def __init__(self, path):
        raw = at(path, SUPERBLOCK, 512)
        self.magic, = struct.unpack_from("<I", raw)
        self.uuid = raw[16:32].hex()
        self.name = raw[32:64].rstrip(b"\0").decode()
        self.ctime, = struct.unpack_from("<Q", raw, 64)
        self.level, self.layout, self.size, self.chunk, self.slots = struct.unpack_from("<iIQII", raw, 72)
        self.data_offset, self.data_size = struct.unpack_from("<QQ", raw, 128)
        self.events, self.resync_offset = struct.unpack_from("<QQ", raw, 200)
        self.roles = struct.unpack_from("<6H", raw, 256)


class Create(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-create-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.undo = self.scratch / "run.undo"

    def blank(self, count, size=64 * MIB, prefix="m"):
        paths = [self.scratch / f"{prefix}{n}" for n in range(count)]
        for path in paths:
            with path.open("wb") as file:
                file.truncate(size)
        return paths

    def noisy(self, count, size=4 * MIB):
        paths = self.blank(count, size, "noise")
        for n, path in enumerate(paths):
            path.write_bytes(random.Random(n).randbytes(size))
        return paths

    def run_mdtool(self, *arguments, environment=None, **more):
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, stdin=subprocess.DEVNULL, timeout=120,
                              check=False, cwd=self.scratch, env={**os.environ, **(environment or {})}, **more)

    def document(self, *arguments, status=0, undo="none", **more):
        """A real run of create."""
        ran = self.run_mdtool("create", *arguments, "--yes", "--undo", undo, "--json", "--progress=none", **more)
        document = json.loads(ran.stdout)
        validate(document)
        self.assertEqual((ran.returncode, document["exit"]), (status, status), document.get("error"))
        return document

    def assert_refused(self, paths, *arguments, words=(), status=REFUSED, **more):
        before = [(path, hashlib.sha256(path.read_bytes()).digest()) for path in paths]
        document = self.document(*arguments, status=status, **more)
        for word in words:
            self.assertIn(word, document["error"]["text"])
        for path, digest in before:
            self.assertEqual(hashlib.sha256(path.read_bytes()).digest(), digest, path)
        return document

    def examine(self, *arguments):
        return json.loads(self.run_mdtool("examine", "--json", *arguments).stdout)

    # ---- what is made

    def test_an_array_by_default(self):
        members = self.blank(4)
        document = self.document("-l5", "-x1", *members, undo=self.undo)
        array = document["array"]
        self.assertEqual((array["level"], array["layout"], array["raid_devices"], array["metadata"], array["name"]),
                         ("raid5", "left-symmetric", 3, "1.2", None))
        self.assertEqual((array["chunk_bytes"], array["used_member_bytes"], array["size_bytes"]),
                         (512 << 10, 62 * MIB, 124 * MIB))
        self.assertEqual((array["events"], array["clean"], array["verdict"]), (1, False, "assembles"))
        self.assertEqual((document["written"], document["undo_file"], document["dry_run"]), (True, str(self.undo), False))
        self.assertEqual(document["findings"], [])
        (found,) = self.examine(*members)["arrays"]
        self.assertEqual((found["uuid"], [m["state"] for m in found["members"]]), (array["uuid"], ["in-sync"] * 3 + ["spare"]))
        self.assertEqual(Superblock(members[3]).roles, (0, 1, 2, 0xffff, 0xffff, 0xffff))
        self.assertEqual(self.run_mdtool("undo", "--yes", "--undo=none", self.undo).returncode, 0)
        self.assertTrue(all(not any(path.read_bytes()) for path in members))

    def test_dry_run_writes_nothing_and_can_be_tried(self):
        members = self.blank(4)
        ran = self.run_mdtool("create", "--level=raid6", "--bitmap=lockless", *members, "--dry-run", "--json")
        document = json.loads(ran.stdout)
        validate(document)
        self.assertEqual((ran.returncode, document["written"]), (0, False))
        plan = self.scratch / "plan.json"
        plan.write_bytes(ran.stdout)
        (tried,) = self.examine("--with", plan, *members)["arrays"]
        self.assertEqual((tried["uuid"], tried["level"], tried["bitmap"]["kind"]),
                         (document["array"]["uuid"], "raid6", "lockless"))
        self.assertTrue(all(not any(path.read_bytes()) for path in members))
        self.assertEqual(self.run_mdtool("create", "-l5", *members, "--with", plan).returncode, USAGE)

    def test_text_of_a_dry_run(self):
        members = self.blank(3)
        ran = self.run_mdtool("create", "-l5", "--write-zeroes", "--dry-run", *[m.name for m in members])
        text = ran.stdout.decode()
        for line in ("Plan:", "ZEROES from byte 2097152 on (65011712 bytes)", "resync_offset", "mdtool examine --with plan.json m0 m1 m2"):
            self.assertIn(line, text)
        self.assertNotIn("dev_roles[5]", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)
        self.assertEqual(ran.stderr, b"")

    def test_seed_and_source_date_epoch_make_the_same_bytes(self):
        images = []
        for seed, epoch in ((7, 1000), (7, 1000), (8, 1000), (7, 1001)):
            members = self.blank(3, 8 * MIB)
            self.document("-l5", "--seed", seed, *members, environment={"SOURCE_DATE_EPOCH": str(epoch)})
            images.append([path.read_bytes() for path in members])
            self.assertEqual(Superblock(members[0]).ctime, epoch)
        self.assertEqual(images[0], images[1])
        self.assertNotEqual(images[0][0][SUPERBLOCK + 16:SUPERBLOCK + 32], images[2][0][SUPERBLOCK + 16:SUPERBLOCK + 32])
        self.assertEqual(images[0][0][SUPERBLOCK + 16:SUPERBLOCK + 32], images[3][0][SUPERBLOCK + 16:SUPERBLOCK + 32])
        self.assertNotEqual(images[0][0][SUPERBLOCK + 168:SUPERBLOCK + 184], images[0][1][SUPERBLOCK + 168:SUPERBLOCK + 184])
        members = self.blank(3, 8 * MIB)
        self.document("-l5", *members, status=USAGE, environment={"SOURCE_DATE_EPOCH": "now"})

    def test_words_as_mdadm_has_them(self):
        for words, field, value in (
                ("-l linear", "level", -1), ("-l stripe", "layout", 1), ("-l 0 -p alternate", "layout", 2), ("-l mirror", "level", 1),
                ("-l 4 -c 64", "chunk", 128), ("-l raid5 -c 64K", "chunk", 128), ("-l 5 -c 1M", "chunk", 2048),
                ("-l 5 -p ra", "layout", 1), ("-l 5 --layout=left-asymmetric", "layout", 0), ("-l 5 -p parity-last", "layout", 5),
                ("-l 5 -p default", "layout", 2), ("-l 5 -p 3", "layout", 3), ("-l 6 -p ddf-N-continue", "layout", 10),
                ("-l 6 -p left-symmetric-6", "layout", 18), ("-l 10", "layout", 0x102), ("-l 10 -p n3", "layout", 0x103),
                ("-l 10 -p f2", "layout", 0x201), ("-l 10 -p o2", "layout", 0x10201), ("-l 5 -z 10240", "size", 20480),
                ("-l 5 -z 16M", "size", 32768), ("-l 5 --size=max", "size", 126976), ("-l 5 --data-offset=4096", "data_offset", 8192),
                ("-l 5 --data-offset=9000s", "data_offset", 9000), ("-l 5 -N data", "name", "data"),
                ("-l 5 -N data --homehost=host", "name", "host:data"), ("-l 5 -e default --assume-clean", "resync_offset", ALL_ONES),
                ("-l 5 -u 01234567:89abcdef:01234567:89abcdef", "uuid", "0123456789abcdef" * 2),
                ("-l 5 -n 3 -x 1", "slots", 3), ("-l 5 -n 4", "slots", 4), ("-l 5 -e 1", "events", 1)):
            with self.subTest(words):
                members = self.blank(4)
                self.document(*words.split(), *members)
                self.assertEqual(getattr(Superblock(members[0]), field), value)

    def test_0_90_has_the_homehost_in_its_uuid(self):
        members = self.blank(2)
        self.document("-l1", "-e0.90", "--homehost=host", *members)
        self.assertEqual(at(members[0], 64 * MIB - 65536 + 56, 8), HOST_HASH)
        self.assert_refused(self.blank(2), "-l1", "-e0", "--name=x", *members, status=USAGE)

    def test_missing_slots_and_a_file_called_missing(self):
        members = self.blank(2)
        document = self.document("-l5", members[0], "missing", members[1])
        self.assertEqual((document["array"]["raid_devices"], document["array"]["verdict"]), (3, "degraded"))
        self.assertEqual(Superblock(members[1]).roles[:4], (0, 0xffff, 2, 0xffff))
        self.assertEqual([f["id"] for f in document["findings"]], ["created-degraded"])
        named = self.scratch / "missing"
        self.blank(1)[0].rename(named)
        members = self.blank(2)
        self.document("-l5", *members, "./missing")
        self.assertEqual(Superblock(named).roles[:4], (0, 1, 2, 0xffff))

    def test_parts_of_a_file(self):
        disk, = self.blank(1, 40 * MIB)
        parts = [f"{disk}@{n * 20 * MIB}+{20 * MIB}" for n in range(2)]
        self.document("-l1", *parts)
        self.assertEqual([struct.unpack("<I", at(disk, n * 20 * MIB + SUPERBLOCK, 4))[0] for n in range(2)], [MAGIC] * 2)

    def test_parts_that_share_bytes(self):
        disk, = self.blank(1, 40 * MIB)
        whole, front, middle, back = disk, f"{disk}@0+{20 * MIB}", f"{disk}@{20 * MIB - SECTOR}+{20 * MIB}", f"{disk}@{20 * MIB}+{20 * MIB}"
        for members in ([front, middle], [back, middle], [whole, back], [front, back, "--spare-devices=1", middle]):
            self.assert_refused([disk], "-l1", *members, words=[str(middle if middle in members else whole), "share bytes"])

    def test_bitmap_in_a_file(self):
        members, target = self.blank(3, 8 * MIB), self.scratch / "bits"
        document = self.document("-l5", "--bitmap=./bits", "--bitmap-chunk=64", *members)
        self.assertEqual(document["plan"]["file"], {"path": "./bits", "length_bytes": target.stat().st_size})
        magic, version = struct.unpack_from("<4sI", target.read_bytes())
        self.assertEqual((magic, version, target.read_bytes()[8:24].hex()), (b"bitm", 4, Superblock(members[0]).uuid))
        self.assertEqual(target.stat().st_size, 256 + 6 * 16 // 8)
        kept = target.read_bytes()
        members = self.blank(3, 8 * MIB)
        self.assert_refused([*members, target], "-l5", "--bitmap=./bits", *members, words=["--force=overwrite"])
        self.document("-l5", "--bitmap=./bits", "--force=overwrite", *members)
        self.assertNotEqual(target.read_bytes(), kept)
        members = self.blank(3, 8 * MIB)
        self.assert_refused(members, "-l5", f"--bitmap={members[1]}", "--force=overwrite", *members, words=["one of the members"])

    def test_the_file_of_a_bitmap(self):
        members, target = self.blank(3, 8 * MIB), self.scratch / "bits"
        same = ["-l5", "--seed=1", "--bitmap=./bits", "--bitmap-chunk=64"]
        environment = {"SOURCE_DATE_EPOCH": "1000"}
        self.document(*same, *members, environment=environment)
        members = self.blank(3, 8 * MIB)  # a power cut, say, before any superblock was written
        self.document(*same, *members, environment=environment)
        old, link = target.read_bytes(), self.scratch / "link"
        target.chmod(0o640)
        link.symlink_to("bits")
        members = self.blank(3, 8 * MIB)
        ran = self.run_mdtool("create", "-l5", "--bitmap=./link", "--force=overwrite", "--dry-run", *members)
        self.assertIn("./link is replaced: what it holds now is lost", ran.stdout.decode())
        ran = self.run_mdtool("create", "-l5", "--bitmap=./link", "--force=overwrite", "--yes", "--undo", self.undo, *members)
        self.assertIn("create: done, 3 members and the file ./link written", ran.stdout.decode())
        self.assertTrue(link.is_symlink())
        self.assertNotEqual(target.read_bytes(), old)
        self.assertEqual(target.stat().st_mode & 0o777, 0o640)
        undone = self.run_mdtool("undo", "--yes", "--undo=none", self.undo)
        self.assertEqual(undone.returncode, 0)
        self.assertLessEqual(max(map(len, undone.stdout.decode().splitlines())), 80)
        self.assertTrue(target.exists())
        self.assertEqual(list(self.scratch.glob("*.new-*")), [])

    def test_the_file_of_a_bitmap_is_refused(self):
        members, file = self.blank(3, 8 * MIB), self.scratch / "u1"
        for path in (file, self.scratch / "." / "u1"):
            self.assert_refused(members, "-l5", f"--bitmap={path}", "--force=overwrite", *members, undo="./u1", words=["both the undo file"])
            self.assertFalse(file.exists())
        self.assert_refused(members, "-l5", "--bitmap=/dev/full", "--force=overwrite", *members, words=["not a regular file"])
        self.assert_refused(members, "-l5", "--bitmap=./", "--force=overwrite", *members, words=["not a regular file"])

    def test_a_file_that_cannot_be_written_stops_before_anything_is_zeroed(self):
        members = self.noisy(3)
        document = self.assert_refused(members, "-l5", "-c64", "--write-zeroes", "--bitmap=./no/bits", *members, undo=self.undo,
                                       status=OPERATIONAL, words=["./no/bits"])
        self.assertFalse(document["written"] or self.undo.exists())
        self.assertNotIn("array", document)

        def no_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        self.assert_refused(members, "-l5", "-c64", "--bitmap=./bits", *members, status=OPERATIONAL, words=["writing"], preexec_fn=no_files)
        self.assertEqual(sorted(self.scratch.glob("bits*")), [])
        self.document("-l5", "-c64", "--bitmap=./bits", *members)

    # ---- zeroing

    def test_zeroed_members_are_clean_and_keep_what_is_around_their_data(self):
        members = self.noisy(4)
        before = [path.read_bytes() for path in members]
        document = self.document("-l6", "-c64", "--write-zeroes", *members, undo=self.undo)
        block = Superblock(members[0])
        first, end = block.data_offset * SECTOR, (block.data_offset + block.size) * SECTOR
        self.assertEqual(document["plan"]["zeroed"], [{"member": n, "offset_bytes": first, "length_bytes": end - first} for n in range(4)])
        self.assertEqual([z["path"] for z in document["plan"]["zeroing"]], list(map(str, members)))
        self.assertEqual(block.resync_offset, ALL_ONES)
        for path, was in zip(members, before):
            now = path.read_bytes()
            self.assertFalse(any(now[first:end]))
            self.assertEqual((now[:SUPERBLOCK], now[end:]), (was[:SUPERBLOCK], was[end:]))
        self.assertEqual(self.run_mdtool("undo", "--yes", "--undo=none", self.undo).returncode, 0)
        for path, was in zip(members, before):
            self.assertEqual(path.read_bytes(), was[:first] + bytes(end - first) + was[end:])

    def test_zeroes_can_be_tried(self):
        members = self.noisy(3)
        plan = self.scratch / "plan.json"
        plan.write_bytes(self.run_mdtool("create", "-l5", "-c64", "--write-zeroes", *members, "--dry-run", "--json").stdout)
        content = self.scratch / "content"
        ran = self.run_mdtool("copy", "--with", plan, "--to", content, *members)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual(content.read_bytes(), bytes(6 * MIB))
        document = json.loads(plan.read_bytes())
        document["plan"]["zeroed"][1]["offset_bytes"] = 4 * MIB
        plan.write_text(json.dumps(document))
        self.assertEqual(self.run_mdtool("examine", "--with", plan, *members).returncode, OPERATIONAL)

    def test_interrupted_zeroing_leaves_no_superblock(self):
        members = self.blank(3, 768 * MIB)
        process = subprocess.Popen([MDTOOL, "create", "-l5", "--write-zeroes=write", "--bitmap=./bits", *members, "--yes", "--undo",
                                    str(self.undo), "--json", "--progress=none"], stdout=subprocess.PIPE, cwd=self.scratch)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        while members[0].stat().st_blocks == 0 and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        document = json.loads(process.stdout.read())
        validate(document)
        self.assertEqual((process.wait(), document["written"], document["undo_file"]), (INTERRUPTED, True, None))
        self.assertFalse(self.undo.exists() or list(self.scratch.glob("bits*")))
        self.assertNotIn("array", document)
        self.assertEqual([Superblock(path).magic for path in members], [0] * 3)
        self.assertEqual(members[2].stat().st_blocks, 0)

    # ---- what is refused

    def test_members_that_hold_data(self):
        members = self.blank(3, 8 * MIB)
        entry = struct.pack("<B3sB3sII", 0, bytes(3), 0x83, bytes(3), 2048, 8192)
        with members[1].open("r+b") as file:
            file.seek(446)
            file.write(entry.ljust(64, b"\0") + b"\x55\xaa")
        self.assert_refused(members, "-l5", *members, words=[str(members[1]), "dos", "--force=old-content"])
        self.document("-l5", "--force=old-content", *members)

    def test_members_of_another_array_lose_its_superblock(self):
        members = self.blank(3, 8 * MIB)
        self.document("-l1", "-e1.0", *members)
        end = (8 * MIB // SECTOR - 16 & ~7) * SECTOR
        self.assertEqual(struct.unpack("<I", at(members[0], end, 4))[0], MAGIC)
        self.assert_refused(members, "-l5", *members, words=["--force=old-content", str(members[0])])
        self.document("-l5", "--force=old-content", *members, undo=self.undo)
        self.assertEqual([at(path, end, SECTOR) for path in members], [bytes(SECTOR)] * 3)
        (array,) = self.examine(*members)["arrays"]
        self.assertEqual((array["level"], array["metadata"]), ("raid5", "1.2"))
        self.assertEqual(self.run_mdtool("undo", "--yes", "--undo=none", self.undo).returncode, 0)
        (array,) = self.examine(*members)["arrays"]
        self.assertEqual((array["level"], array["metadata"]), ("raid1", "1.0"))

    def test_a_partition_inside_is_no_member(self):
        inner, = self.blank(1, 20 * MIB, "inner")
        other, = self.blank(1, 20 * MIB, "other")
        self.document("-l1", inner, other)
        disk, more = self.blank(2, 32 * MIB)
        with disk.open("r+b") as file:
            file.seek(446)
            file.write(struct.pack("<B3sB3sII", 0, bytes(3), 0xfd, bytes(3), 2048, 20 * 2048).ljust(64, b"\0") + b"\x55\xaa")
            file.seek(MIB)
            file.write(inner.read_bytes())
        self.assert_refused([disk, more], "-l1", disk, more, words=[str(disk), "partition table"])
        document = self.document("-l1", "--force=old-content", disk, more)
        self.assertEqual([m["size_bytes"] for m in document["plan"]["members"]], [32 * MIB] * 2)

    def test_usage_errors(self):
        members = self.blank(3, 8 * MIB)
        names = [str(path) for path in members]
        for words in (["-l5", "-n5"], ["-l5", "-x3"], ["-l5", "-n2", "-x2"], ["-l7"], ["-l5", "-p", "n2"], ["-l10", "-p", "ls"],
                      ["-l10", "-p", "n0"], ["-l5", "-c", "64k"], ["-l5", "-c", "0"], ["-l5", "-z", "1P"], ["-l5", "-c", "7"],
                      ["-l5", "--data-offset=99999999999999T"], ["-l5", "-e2"], ["-l5", "-b", "file"], ["-l5", "--seed=x"], ["-l5", "--seed", ""], ["-l5", "-u", ""], ["-l5", "-n", ""], ["-l5", "-x", ""], ["-l5", "-n2"],
                      ["-l5", "--name="], ["-l5", "--write-zeroes="], ["-l5", "--name=a\x1bb"], ["-l5", "--homehost=a\tb"], ["-l5", "--name", "x" * 32],
                      ["-l5", "--uuid=1"], ["-l5", "--homehost=a:b"], ["-l5", "--name", "x" * 33], ["-l5", "--assume-clean", "--write-zeroes"],
                      ["-l5", "-kppl", "-binternal"], ["-l5", "-kbitmap", "-bnone"], ["-l5", "-kresync", "-blockless"], ["-l1", "-kppl"],
                      ["-l0", "-binternal"], ["-l5", "-e1.0", "-blockless"], ["-l5", "--write-zeroes=fast"], ["-l5", "--force=all"], []):
            with self.subTest(words):
                self.assert_refused(members, *words, *names, status=USAGE)
        self.assert_refused(members, "-l5", "-x1", *names, "missing", status=USAGE, words=["spare"])
        self.assert_refused(members, "-l5", self.scratch, *names, words=["directory"])
        self.assert_refused(members, "-l5", "missing", "missing", names[0], status=USAGE)
        self.assert_refused(members, "-l5", *names, names[0])
        self.assert_refused(members, "-l5", *names, self.scratch / "no", status=OPERATIONAL, words=["no"])

    def test_n_is_not_a_dry_run(self):
        members = self.blank(3)
        self.assertEqual(self.run_mdtool("create", "-l5", "-n", *members).returncode, USAGE)
        self.assertFalse(any(members[0].read_bytes()))

    def test_without_a_terminal_it_has_to_be_told(self):
        members = self.blank(3)
        ran = self.run_mdtool("create", "-l5", *members, "--undo=none")
        self.assertEqual(ran.returncode, REFUSED)
        self.assertFalse(any(members[0].read_bytes()))

    # ---- what fails on the way

    def test_a_write_that_fails_leaves_no_half_made_array(self):
        members = self.noisy(2)
        disk = self.scratch / "disk"
        disk.write_bytes(random.Random(3).randbytes(12 * MIB))
        part = f"{disk}@{8 * MIB}+{4 * MIB}"
        before = [path.read_bytes() for path in [*members, disk]]

        def no_large_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))

        for bitmap in ("none", "internal", "./bits"):
            with self.subTest(bitmap):
                document = self.document("-l5", "-c64", f"--bitmap={bitmap}", *members, part, status=OPERATIONAL, undo=self.undo,
                                         preexec_fn=no_large_files)
                self.assertIn("as it was before", document["error"]["text"])
                self.assertEqual((document["written"], document["undo_file"]), (False, None))
                self.assertEqual([path.read_bytes() for path in [*members, disk]], before)
                self.assertFalse(self.undo.exists() or (self.scratch / "bits").exists())

    # ---- what the command line says

    def on_a_terminal(self, *arguments):
        """The program, its terminal's other end, and what it has said once it asks."""
        here, there = os.openpty()
        self.addCleanup(os.close, here)
        process = subprocess.Popen([MDTOOL, *map(str, arguments)], stdin=there, stderr=there, stdout=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        os.close(there)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(here, 4096)
        return process, here

    def test_ctrl_c_at_the_question(self):
        members = self.blank(2, 8 * MIB)
        process, terminal = self.on_a_terminal("create", "-l1", "--undo=none", *members)
        time.sleep(0.1)  # until it waits
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=20), INTERRUPTED)
        self.assertIn(b"interrupted: nothing was written", os.read(terminal, 4096))
        self.assertFalse(any(any(path.read_bytes()) for path in members))

    def test_the_answer(self):
        members = self.blank(2, 8 * MIB)
        for answer, status, magic in ((b"n\n", REFUSED, 0), (b"\n", REFUSED, 0), (b"y\n", 0, MAGIC)):
            with self.subTest(answer):
                process, terminal = self.on_a_terminal("create", "-l1", "--undo=none", *members)
                os.write(terminal, answer)
                self.assertEqual(process.wait(timeout=20), status)
                self.assertEqual([Superblock(path).magic for path in members], [magic] * 2)

    def test_more_members_than_slots_are_no_spares(self):
        members = self.blank(4, 8 * MIB)
        self.assert_refused(members, "-l5", "-n3", *members, status=USAGE, words=["4 MEMBERs", "3 slots", "0 spares"])
        self.document("-l5", "-n3", "-x1", *members)

    def test_members_named_so_that_no_slot_is_sure(self):
        members = self.blank(3, 8 * MIB)
        other = self.scratch / "other"
        other.symlink_to(members[0])
        self.assert_refused(members, "-l1", members[0], other, members[1], words=[f"{members[0]} and {other} are the same"])
        self.assert_refused(members, "-l1", f"{members[0]}@7+{4 * MIB}", members[1], words=["within a sector"])
        gone = self.scratch / "gone"
        self.assert_refused(members, "-l5", *members, gone, status=OPERATIONAL, words=["write missing in its place"])

    def test_names_with_a_slash(self):
        members = self.blank(2, 8 * MIB)
        self.document("-l1", "--name=a/b", *members)
        self.assertEqual(Superblock(members[0]).name, "a/b")

    def test_creation_times_that_fit(self):
        members = self.blank(2, 8 * MIB)
        for metadata, most in (("1.2", 2**40 - 1), ("0.90", 2**32 - 1)):
            for epoch in (most + 1, "1e9"):
                self.assert_refused(members, "-l1", "-e", metadata, *members, status=USAGE, words=["SOURCE_DATE_EPOCH"],
                                    environment={"SOURCE_DATE_EPOCH": str(epoch)})
        self.document("-l1", *members, environment={"SOURCE_DATE_EPOCH": str(2**40 - 1)})
        self.assertEqual(Superblock(members[0]).ctime, 2**40 - 1)

    def test_sizes_are_read_alike(self):
        members = self.blank(2, 64 * MIB)
        self.document("-l1", "--bitmap=internal", "--bitmap-chunk=16384s", *members)
        convert = ["bitmap", "convert", *members, "--dry-run", "--json"]
        for word in ("", "0", "64k", "1P", "9007199254740992K", "-1"):
            with self.subTest(word):
                ran = self.run_mdtool(*convert, "--bitmap-chunk", word)
                self.assertEqual(ran.returncode, USAGE, ran.stdout)
                self.assert_refused(members, "-l1", "--bitmap=internal", "--bitmap-chunk", word, *members, status=USAGE)
        same = json.loads(self.run_mdtool(*convert, "--bitmap-chunk=8M").stdout)
        self.assertEqual((same["exit"], same["plan"]["members"]), (0, []))
        same = json.loads(self.run_mdtool(*convert, "--bitmap-chunk=16384s").stdout)
        self.assertEqual((same["exit"], same["plan"]["members"]), (0, []))

    def test_too_small_is_a_refusal(self):
        members = self.blank(3, 64 << 10)
        self.assert_refused(members, "-l5", *members, words=["has 65536 bytes, too few"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
