#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Metadata dumped to one file, looked at as images, and put back.

Usage: dump_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
FIXTURES = SOURCE / "tests" / "fixtures"
UNCORRECTED, OPERATIONAL, USAGE, REFUSED = 4, 8, 16, 64
SUPERBLOCK = 4096  # of metadata 1.2
UUID = re.compile("[0-9a-f]{8}(:[0-9a-f]{8}){3}")


def validate(document):
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store[document["mdtool"]["command"] + ".schema.json"]
    jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store)).validate(document)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


class Dumps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.scratch = pathlib.Path(folder.name)
        self.environment = dict(os.environ, XDG_STATE_HOME=str(self.scratch / "state"), LC_ALL="C.UTF-8")
        self.bundle = self.scratch / "saved.mdtool"

    def run_mdtool(self, *arguments):
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, env=self.environment, timeout=60)

    def document(self, *arguments, status=0):
        ran = self.run_mdtool(*arguments, "--json")
        document = json.loads(ran.stdout)
        validate(document)
        self.assertEqual(document["exit"], ran.returncode)
        self.assertEqual(ran.returncode, status, document)
        return document

    def unpack(self, name, folder="members"):
        members = self.scratch / folder
        members.mkdir()
        for packed in sorted((FIXTURES / name).glob("*.img.zst")):
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(members / packed.stem)], check=True)
        return members

    def restore(self, *arguments, status=0):
        return self.document("restore", self.bundle, "--yes", "--undo", self.scratch / "taken-back.undo", *arguments,
                             status=status)

    def judged(self, members):
        ran = self.run_mdtool("examine", members, "--json")
        return [{key: array[key] for key in ("level", "verdict", "clean", "events", "raid_devices")} |
                {"states": [member["state"] for member in array["members"]], "bitmap": UUID.sub("UUID", json.dumps(array["bitmap"]))}
                for array in json.loads(ran.stdout)["arrays"]]


class Dump(Dumps):
    def test_saves_every_area_of_every_member(self):
        members = self.unpack("1.2-raid5-4-classic-crash")
        others = self.unpack("0.90-raid5-3-classic-crash", "others")
        before = digests(members), digests(others)
        document = self.document("dump", "--to", self.bundle, members, others)
        self.assertEqual(len(document["members"]), 7)
        self.assertFalse(document["anonymized"])
        self.assertEqual([(a["name"], a["offset_bytes"], a["length_bytes"]) for a in document["members"][0]["areas"]],
                         [("superblock", 4096, 4096), ("bitmap", 8192, 512), ("bad-block log", 12288, 4096)])
        self.assertEqual([a["name"] for a in document["members"][6]["areas"]], ["superblock", "bitmap"])
        self.assertEqual(stat.S_IMODE(self.bundle.stat().st_mode), 0o600)
        self.assertEqual((digests(members), digests(others)), before)
        subprocess.run(["zstd", "-q", "-t", self.bundle], check=True)

    def test_uuid_picks_one_array(self):
        members = self.unpack("1.2-raid5-4-classic-crash")
        others = self.unpack("0.90-raid5-3-classic-crash", "others")
        uuid = json.loads(self.run_mdtool("examine", others, "--json").stdout)["arrays"][0]["uuid"]
        document = self.document("dump", "--to", self.bundle, members, others, "--uuid", uuid)
        self.assertEqual([pathlib.Path(m["path"]).parent.name for m in document["members"]], ["others"] * 3)

    def test_replaces_nothing_unless_told(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        before = digests(members)
        self.bundle.write_text("mine")
        self.document("dump", "--to", self.bundle, members, status=REFUSED)
        self.assertEqual(self.bundle.read_text(), "mine")
        for force in ((), ("--force=overwrite",)):
            self.document("dump", "--to", members / "m0.img", *force, members, status=REFUSED)
        self.assertEqual(digests(members), before)
        self.document("dump", "--to", self.bundle, "--force=overwrite", members)
        self.document("restore", self.bundle, "--images", self.scratch / "images")
        self.assertEqual(self.document("dump", "--to", self.scratch, members, status=REFUSED)["error"]["kind"],
                         "refused")

    def test_nothing_to_save_makes_no_file(self):
        blank = self.scratch / "blank"
        blank.write_bytes(bytes(1 << 20))
        self.document("dump", "--to", self.bundle, blank, status=REFUSED)
        self.assertFalse(self.bundle.exists())
        self.document("dump", "--to", self.scratch / "no" / "folder", self.unpack("1.2-raid5-4-none-clean"),
                      status=OPERATIONAL)

    def test_goes_on_without_a_member_that_cannot_be_read(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        document = self.document("dump", "--to", self.bundle, members, self.scratch / "missing", status=OPERATIONAL)
        self.assertEqual(len(document["members"]), 4)
        self.assertTrue(any(f["id"] == "member-unreadable" for f in document["findings"]))

    def test_anonymized_is_judged_alike_and_names_nobody(self):
        for name in ("1.2-raid5-4-classic-stale-member", "0.90-raid5-3-classic-crash", "1.2-raid5-3-ppl-crash"):
            with self.subTest(name):
                members = self.unpack(name, name)
                bundle, images = self.scratch / (name + ".mdtool"), self.scratch / (name + "-images")
                document = self.document("dump", "--anonymize", "--to", bundle, members)
                self.assertTrue(document["anonymized"])
                self.document("restore", bundle, "--images", images)
                self.assertEqual(self.judged(images), self.judged(members))
                raw = subprocess.run(["zstd", "-q", "-d", "-c", bundle], capture_output=True, check=True).stdout
                told = json.loads(self.run_mdtool("examine", members, "--json").stdout)["arrays"][0]
                self.assertNotIn(bytes.fromhex(told["uuid"].replace(":", "")), raw)
                self.assertNotIn(str(self.scratch).encode(), raw)
                self.assertNotIn(name.encode(), raw)


class Images(Dumps):
    def test_are_what_the_members_are_without_data(self):
        members = self.unpack("1.2-raid5-4-lockless-crash")
        self.document("dump", "--to", self.bundle, members)
        images = self.scratch / "images"
        document = self.document("restore", self.bundle, "--images", images)
        self.assertEqual([image["path"] for image in document["images"]],
                         [str(images / f"m{i}.img") for i in range(4)])
        self.assertEqual(self.judged(images), self.judged(members))
        for image in images.iterdir():
            self.assertEqual(image.stat().st_size, (members / image.name).stat().st_size)
            self.assertLess(image.stat().st_blocks * 512, 64 << 10)
            self.assertEqual(stat.S_IMODE(image.stat().st_mode), 0o600)

    def test_go_to_an_empty_folder_only(self):
        self.document("dump", "--to", self.bundle, self.unpack("1.2-raid5-4-none-clean"))
        before = digests(self.scratch / "members")
        self.document("restore", self.bundle, "--images", self.scratch / "members", status=REFUSED)
        self.document("restore", self.bundle, "--images", self.bundle, status=OPERATIONAL)
        self.assertEqual(digests(self.scratch / "members"), before)

    def test_either_members_or_images(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        self.document("dump", "--to", self.bundle, members)
        self.document("restore", self.bundle, status=USAGE)
        self.document("restore", self.bundle, "--images", self.scratch / "images", members, status=USAGE)
        self.assertFalse((self.scratch / "images").exists())

    def test_damaged_files_are_refused(self):
        self.document("dump", "--to", self.bundle, self.unpack("1.2-raid5-4-none-clean"))
        packed = self.bundle.read_bytes()
        for damaged in (b"", b"no dump", packed[:-1], packed + b"\0", packed[:40] + b"\xff" + packed[41:]):
            self.bundle.write_bytes(damaged)
            self.document("restore", self.bundle, "--images", self.scratch / "images", status=OPERATIONAL)
        self.assertFalse((self.scratch / "images").exists())


class PutBack(Dumps):
    def setUp(self):
        super().setUp()
        self.members = self.unpack("1.2-raid5-4-classic-crash")
        self.intact = digests(self.members)
        self.document("dump", "--to", self.bundle, self.members)
        self.paths = sorted(self.members.iterdir())

    def damage(self):
        overwrite(self.paths[0], SUPERBLOCK, bytes(4096))
        overwrite(self.paths[1], SUPERBLOCK, b"\xa5" * (4096 + 512))
        overwrite(self.paths[2], 8192, b"\x11" * 512)

    def test_brings_the_same_bytes_back(self):
        self.damage()
        damaged = digests(self.members)
        plan = self.document("restore", self.bundle, "--dry-run", *self.paths)
        self.assertEqual(digests(self.members), damaged)
        self.assertEqual(len(plan["plan"]["members"]), 3)
        self.assertTrue(any(f["name"] == "set_uuid" for p in plan["plan"]["stages"][-1] for f in p["fields"]))
        document = self.restore(*self.paths)
        self.assertTrue(document["written"])
        self.assertEqual(digests(self.members), self.intact)
        self.assertFalse(self.restore(*self.paths)["written"])
        self.document("undo", "--yes", "--undo", "none", self.scratch / "taken-back.undo")
        self.assertEqual(digests(self.members), damaged)

    def test_can_be_tried_first(self):
        self.damage()
        plan = self.scratch / "plan.json"
        plan.write_bytes(self.run_mdtool("restore", self.bundle, "--dry-run", "--json", *self.paths).stdout)
        tried = json.loads(self.run_mdtool("examine", "--with", plan, "--json", *self.paths).stdout)
        self.assertEqual([m["state"] for m in tried["arrays"][0]["members"]], ["in-sync"] * 4)

    def test_members_that_moved_are_known_by_what_is_on_them(self):
        moved = self.scratch / "moved"
        moved.mkdir()
        for i, path in enumerate(self.paths):
            shutil.copy(path, moved / f"disk{3 - i}")
        before = digests(moved)
        overwrite(moved / "disk3", 8192, bytes(512))
        self.restore(moved)
        self.assertEqual(digests(moved), before)

    def test_asks_for_a_map_where_it_would_have_to_guess(self):
        moved = self.scratch / "moved"
        moved.mkdir()
        for path in self.paths[:2]:
            shutil.copy(path, moved)
            overwrite(moved / path.name, SUPERBLOCK, bytes(4096))
        blank = digests(moved)
        images = sorted(moved.iterdir())
        document = self.restore(*images, status=REFUSED)
        self.assertIn(f"--map {self.paths[0]}={images[0]}", document["error"]["text"])
        self.assertEqual(digests(moved), blank)
        self.restore("--map", f"nobody={images[0]}", *images, status=USAGE)
        self.restore("--map", f"{self.paths[0]}={images[0]}", "--map", f"{self.paths[1]}={images[1]}", *images)
        self.assertEqual(digests(moved), {path.name: self.intact[path.name] for path in self.paths[:2]})

    def test_other_sizes_are_refused(self):
        with open(self.paths[0], "ab") as file:
            file.write(bytes(65536))
        before = digests(self.members)
        document = self.restore(*self.paths, status=REFUSED)
        self.assertIn("size", document["error"]["text"])
        self.assertEqual(digests(self.members), before)

    def test_anonymized_is_refused_unless_forced(self):
        self.bundle.unlink()
        self.document("dump", "--anonymize", "--to", self.bundle, self.members)
        document = self.restore(*self.paths, status=REFUSED)
        self.assertIn("--force=anonymized", document["error"]["text"])
        self.assertEqual(digests(self.members), self.intact)
        maps = [word for i, path in enumerate(self.paths) for word in ("--map", f"m{i}.img={path}")]
        self.restore("--force=anonymized", *maps, *self.paths)
        self.assertEqual([a["verdict"] for a in self.judged(self.members)], ["assembles"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
