#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mdtool zero-init: what it says beforehand, what it refuses, and what is left of members that a kernel made.

Usage: zero_init_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
OPERATIONAL, USAGE, REFUSED = 8, 16, 64
SECTOR, SUPERBLOCK = 512, 4096  # of 1.2
ALL_ONES = 2**64 - 1
UNWRITTEN, CLEAN, CLEAN_UNWRITTEN = 0, 1, 7
LOCKLESS, USED = "1.2-raid6-5-lockless-unwritten", "1.2-raid5-4-classic-clean"


def validator():
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store["zero-init.schema.json"]
    return jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store))


def digests(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


class Member:
    """The few fields of a 1.2 superblock and its bitmap that these tests ask for."""

    def __init__(self, path):
        self.bytes = path.read_bytes()
        self.data_offset = self.number("<Q", 128) * SECTOR
        self.data_end = self.data_offset + self.number("<Q", 80) * SECTOR
        self.clean = self.number("<Q", 208) == ALL_ONES
        self.bitmap_at = SUPERBLOCK + self.number("<i", 96) * SECTOR

    def number(self, form, offset):
        return struct.unpack_from(form, self.bytes, SUPERBLOCK + offset)[0]

    def data(self):
        return self.bytes[self.data_offset:self.data_end]

    def behind_data(self):
        return self.bytes[self.data_end:]

    def states(self):
        first, count = self.states_at()
        return list(self.bytes[first:first + count])

    def states_at(self):
        sync_size, _, chunk = struct.unpack_from("<QII", self.bytes, self.bitmap_at + 40)
        return self.bitmap_at + 1024, -(-sync_size // chunk)


class ZeroInit(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-zero-init-"))
        self.addCleanup(shutil.rmtree, self.scratch)

    def members_of(self, fixture):
        members = []
        for packed in sorted((SOURCE / "tests" / "fixtures" / fixture).glob("*.img.zst")):
            members.append(self.scratch / f"{len(list(self.scratch.iterdir()))}-{packed.stem}")
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(members[-1])], check=True)
        return members

    def new_array(self):
        """Its chunks are all Unwritten, its members full of garbage."""
        members = self.members_of(LOCKLESS)
        for path in members:
            first, count = Member(path).states_at()
            with path.open("r+b") as file:
                file.seek(first)
                file.write(bytes(count))
        return members

    def mdtool(self, *arguments):
        environment = {**os.environ, "XDG_STATE_HOME": str(self.scratch / "state")}
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env=environment)

    def document(self, *arguments, status):
        ran = self.mdtool("zero-init", *arguments, "--json")
        document = json.loads(ran.stdout)
        validator().validate(document)
        self.assertEqual((document["exit"], ran.returncode), (status, status), document)
        return document

    def refused(self, *arguments, members, saying):
        before = digests(members)
        document = self.document(*arguments, *members, status=REFUSED)
        self.assertIn(saying, document["error"]["text"])
        self.assertEqual(digests(members), before)

    def test_a_new_array_is_zeroed_once_and_an_undo_makes_no_promise(self):
        members = self.new_array()
        before = [Member(path) for path in members]
        self.assertTrue(all(any(one.data()) for one in before))
        undo = self.scratch / "undo"
        done = self.document("--yes", "--undo", undo, *members, status=0)
        after = [Member(path) for path in members]
        for one, old in zip(after, before):
            self.assertFalse(any(one.data()))
            self.assertEqual(one.behind_data(), old.behind_data())
            self.assertTrue(one.clean)
            self.assertEqual(one.states(), [CLEAN] + [CLEAN_UNWRITTEN] * (len(old.states()) - 1))
        self.assertEqual(done["result"]["bytes_zeroed"], sum(len(one.data()) for one in before))
        self.assertFalse(done["result"]["interrupted"])
        self.assertEqual(done["undo_file"], str(undo))
        zeroed = digests(members)
        again = self.document("--yes", *members, status=0)
        self.assertEqual((again["result"], again["plan"]["zeroing"]), (None, []))
        self.assertEqual(digests(members), zeroed)
        self.assertEqual(self.mdtool("undo", "--yes", undo).returncode, 0)
        for path, old in zip(members, before):
            one = Member(path)
            self.assertFalse(one.clean)
            self.assertEqual(set(one.states()), {UNWRITTEN})
            self.assertEqual(one.behind_data(), old.behind_data())
            self.assertFalse(any(one.data()))

    def test_the_states_asked_for(self):
        for state, expected in (("clean", CLEAN), ("clean-unwritten", CLEAN_UNWRITTEN)):
            with self.subTest(state):
                members = self.new_array()
                self.document("--yes", f"--state={state}", "--undo", "none", *members, status=0)
                for path in members:
                    self.assertEqual(set(Member(path).states()), {expected})

    def test_says_beforehand_how_and_what_is_lost(self):
        members = self.new_array()
        before = digests(members)
        plan = self.document("--dry-run", "--method=write", *members, status=0)["plan"]
        self.assertEqual([(m["path"], m["method"], m["fast"]) for m in plan["zeroing"]],
                         [(str(path), "write", False) for path in members])
        self.assertTrue(all(m["why"] for m in plan["zeroing"]))
        self.assertEqual(plan["bytes_due_per_member"], len(Member(members[0]).data()))
        for member in plan["members"]:
            data = [e for e in member["may_write"] if e["purpose"] not in ("superblock", "bitmap")]
            self.assertEqual(sum(e["length_bytes"] for e in data), plan["bytes_due_per_member"])
            self.assertTrue(member["changes"])
        text = " ".join(self.mdtool("zero-init", "--dry-run", "--method=write", *members).stdout.decode().split())
        self.assertIn("whatever is there is lost, and no undo file brings it back", text)
        self.assertIn("zeroed by write, SLOW", text)
        self.assertEqual(digests(members), before)

    def test_data_is_kept_unless_that_check_is_overridden(self):
        members = self.members_of(USED)
        lockless = self.members_of(LOCKLESS)
        for words in (["--yes"], ["--yes", "--force=slow"], ["--dry-run"]):
            self.refused(*words, members=members, saying="--force=data")
            self.refused(*words, members=lockless, saying="--force=data")
        done = self.document("--yes", "--force=data", "--method=write", *members, status=0)
        self.assertGreater(done["result"]["bytes_zeroed"], 0)
        for path in members:
            self.assertFalse(any(Member(path).data()))
            self.assertTrue(Member(path).clean)
        self.document("--yes", "--force=data", *members, status=0)

    def test_arrays_that_are_not_as_they_should_be(self):
        members = self.new_array()
        self.refused("--yes", "--force=data", members=members[1:], saying="")
        for fixture in ("1.2-raid5-3-ppl-clean", "1.2-raid5-3-journal-clean", "1.2-raid5-4-none-reshape",
                        "1.2-raid5-4-none-dirty-degraded", "1.2-raid5-4-none-recovering"):
            with self.subTest(fixture):
                self.refused("--yes", "--force=data", members=self.members_of(fixture), saying="")

    def test_errors_are_documents(self):
        members = self.new_array()
        before = digests(members)
        self.document("--yes", self.scratch / "nothing", status=OPERATIONAL)
        for wrong in ("--method=discard", "--state=dirty", "--force=all"):
            self.document("--yes", wrong, *members, status=USAGE)
        self.document(*members, status=REFUSED)  # nobody to ask
        self.assertEqual(digests(members), before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
