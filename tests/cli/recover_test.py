#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mdtool recover: members that a kernel left half rebuilt are filled in place.

Usage: recover_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
CORRECTED, ATTENTION, UNCORRECTED, USAGE, REFUSED = 1, 2, 4, 16, 64
SUPERBLOCK = 4096  # of 1.2
RESYNC_OFFSET, CHECKSUM = 208, 216


def validator():
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store["recover.schema.json"]
    return jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store))


def digests(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def mark_dirty(path):
    """resync_offset 0, the checksum made to fit."""
    with path.open("r+b") as file:
        file.seek(SUPERBLOCK)
        block = bytearray(file.read(4096))
        block[RESYNC_OFFSET:RESYNC_OFFSET + 8] = bytes(8)
        block[CHECKSUM:CHECKSUM + 4] = bytes(4)
        size = 256 + 2 * int.from_bytes(block[220:224], "little")
        total = sum(int.from_bytes(block[at:at + 4], "little") for at in range(0, size, 4))
        total = ((total & 0xffffffff) + (total >> 32)) & 0xffffffff
        block[CHECKSUM:CHECKSUM + 4] = total.to_bytes(4, "little")
        file.seek(SUPERBLOCK)
        file.write(block)


class Recover(unittest.TestCase):
    def setUp(self):
        self.state = tempfile.mkdtemp(prefix="mdtool-recover-state-")
        self.addCleanup(shutil.rmtree, self.state)

    def members_of(self, fixture):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-recover-"))
        self.addCleanup(shutil.rmtree, scratch)
        members = []
        for packed in sorted((SOURCE / "tests" / "fixtures" / fixture).glob("*.img.zst")):
            members.append(scratch / packed.stem)
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(members[-1])], check=True)
        return scratch, members

    def mdtool(self, *arguments):
        environment = {**os.environ, "XDG_STATE_HOME": self.state}
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env=environment)

    def document(self, *arguments, status):
        ran = self.mdtool("recover", *arguments, "--json")
        document = json.loads(ran.stdout)
        validator().validate(document)
        self.assertEqual((document["exit"], ran.returncode), (status, status), document)
        return document

    def content(self, scratch, members):
        to = scratch / "content"
        self.mdtool("copy", *members, "--to", to, "--force", "overwrite")
        return hashlib.sha256(to.read_bytes()).hexdigest()

    def test_fills_keeps_an_undo_file_and_a_second_run_writes_nothing(self):
        for fixture, slot in (("1.2-raid5-4-none-recovering", None), ("1.2-raid6-5-classic-recovering", None),
                              ("1.2-raid5-3-lockless-recovering", None)):
            with self.subTest(fixture):
                scratch, members = self.members_of(fixture)
                content, before = self.content(scratch, members), digests(members)
                planned = self.document("--dry-run", *members, status=0)
                self.assertEqual(digests(members), before)
                self.assertEqual(len(planned["plan"]["fills"]), 1)
                fill = planned["plan"]["fills"][0]
                for member in planned["plan"]["members"]:
                    data = [extent for extent in member["may_write"] if extent["purpose"] == "data"]
                    self.assertEqual(bool(data), member["slot"] == fill["slot"])
                    self.assertTrue(member["changes"])
                undo = scratch / "undo"
                done = self.document("--yes", "--undo", undo, *members, status=CORRECTED)
                self.assertEqual(done["undo_file"], str(undo))
                self.assertTrue(done["result"]["complete"] and done["result"]["clean"])
                self.assertEqual(done["result"]["filled"][0]["lacked_bytes"], fill["lacks_bytes"])
                for member in done["result"]["members"]:
                    self.assertEqual(member["bytes_written"] != 0, member["slot"] == fill["slot"])
                self.assertEqual(self.content(scratch, members), content)
                after = digests(members)
                again = self.document("--yes", *members, status=0)
                self.assertIsNone(again["result"])
                self.assertEqual(digests(members), after)
                self.assertEqual(self.mdtool("resync", "--yes", *members).returncode, 0)
                self.assertEqual(digests(members), after, "a resync finds nothing to do")
                self.assertEqual(self.mdtool("undo", "--yes", undo).returncode, 0)
                self.document("--yes", "--undo", "none", *members, status=CORRECTED)
                self.assertEqual(self.content(scratch, members), content)

    def test_an_array_without_anybody_to_fill(self):
        _, members = self.members_of("1.2-raid5-4-none-degraded")
        before = digests(members)
        plan = self.document("--yes", *members, status=ATTENTION)["plan"]
        self.assertEqual((plan["fills"], len(plan["missing_slots"])), ([], 1))
        self.assertEqual(digests(members), before)

    def test_dirty_is_refused_and_forced_it_stays_dirty(self):
        scratch, members = self.members_of("1.2-raid6-5-classic-recovering")
        for member in members:
            mark_dirty(member)
        before = digests(members)
        self.assertIn("dirty-degraded", self.document("--yes", *members, status=REFUSED)["error"]["text"])
        self.assertEqual(digests(members), before)
        undo = scratch / "undo"
        done = self.document("--yes", "--force=dirty-degraded", "--undo", undo, *members,
                             status=CORRECTED | ATTENTION | UNCORRECTED)
        self.assertTrue(done["uncertain"])
        self.assertTrue(done["result"]["complete"])
        self.assertFalse(done["result"]["clean"])
        self.assertEqual(self.mdtool("resync", "--yes", "--undo", "none", *members).returncode, CORRECTED)

    def test_errors_are_documents(self):
        self.document("--yes", self.state + "/nothing", status=8)
        _, members = self.members_of("1.2-raid5-3-ppl-clean")
        self.document("--yes", *members, status=REFUSED)

    def test_without_a_terminal_it_wants_to_be_told(self):
        scratch, members = self.members_of("1.2-raid5-4-none-recovering")
        before = digests(members)
        self.document("--undo", scratch / "undo", *members, status=REFUSED)
        self.assertEqual(digests(members), before)
        text = self.mdtool("recover", "--dry-run", *members).stdout.decode()
        self.assertIn("what is there now cannot be brought back", text.replace("\n", " ").replace("    ", ""))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
