#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mdtool fail, remove, add, re-add and force: their options, what they refuse by which name, and that undo takes them back.

Usage: membership_test.py MDTOOL SOURCE_DIRECTORY
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
FINE, USAGE, REFUSED = 0, 16, 64


def validator(verb):
    store = {path.name: json.loads(path.read_text()) for path in (SOURCE / "schema").glob("*.json")}
    schema = store[f"{verb}.schema.json"]
    return jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store))


def digests(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


class Membership(unittest.TestCase):
    def members(self, fixture):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-membership-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        members = []
        for packed in sorted((SOURCE / "tests" / "fixtures" / fixture).glob("*.img.zst")):
            members.append(self.scratch / packed.stem)
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(members[-1])], check=True)
        return members

    def document(self, verb, *arguments, status=FINE):
        environment = {**os.environ, "XDG_STATE_HOME": str(self.scratch / "state")}
        ran = subprocess.run([MDTOOL, verb, *map(str, arguments), "--json"], capture_output=True, timeout=60,
                             check=False, stdin=subprocess.DEVNULL, env=environment)
        document = json.loads(ran.stdout)
        validator(verb).validate(document)
        self.assertEqual((document["exit"], ran.returncode), (status, status), document)
        return document

    def done(self, verb, *arguments):
        return self.document(verb, "--yes", "--undo", self.scratch / f"{verb}.undo", *arguments)

    def failure(self, members, verb, *arguments, status=REFUSED):
        """The reason; nothing is written."""
        before = digests(members)
        document = self.document(verb, "--yes", *arguments, *members, status=status)
        self.assertEqual(digests(members), before)
        return document["error"]["text"]

    def undone(self, verb, members, before):
        self.document("undo", "--yes", self.scratch / f"{verb}.undo")
        self.assertEqual(digests(members), before)

    def verdicts(self, document):
        return [(entry["before"]["verdict"], entry["after"]["verdict"]) for entry in document["arrays"]]

    def test_fail_and_re_add(self):
        members = self.members("1.2-raid5-4-classic-clean")
        original = digests(members)
        self.assertEqual(self.verdicts(self.done("fail", f"--target={members[1]}", *members)),
                         [("assembles", "degraded")])
        failed = digests(members)
        self.assertEqual(failed[1], original[1])
        self.assertFalse(self.document("fail", "--yes", f"--target={members[1]}", *members)["written"])
        self.done("re-add", "--force=slot-history", f"--target={members[1]}", *members)
        self.undone("re-add", members, failed)
        self.undone("fail", members, original)

    def test_add_in_place_of_a_lost_superblock(self):
        members = self.members("1.2-raid5-4-lockless-clean")
        with open(members[2], "r+b") as file:
            file.seek(4096)
            file.write(bytes(512))
        lost = digests(members)
        self.assertIn("held by", self.failure(members, "add", "--slot=1", f"--target={members[2]}"))
        self.failure(members, "add", "--slot=7", f"--target={members[2]}", status=USAGE)
        plan = self.done("add", "--slot=2", f"--target={members[2]}", *members)["plan"]
        self.assertEqual([member["path"] for member in plan["members"]], [str(members[2])])
        self.assertTrue(any("never updated without it" in cost for cost in plan["costs"]))
        # There already: the same again is nothing to do.
        self.assertFalse(self.document("add", "--yes", "--slot=2", f"--target={members[2]}", *members)["written"])
        self.undone("add", members, lost)

    def test_add_looks_at_what_a_spare_holds(self):
        members = self.members("1.2-raid5-4-classic-clean")
        spare = self.scratch / "spare.img"
        with open(spare, "wb") as file:
            file.truncate(members[0].stat().st_size)
            # Swap space: its signature ends the first page.
            file.seek(1024)
            file.write((1).to_bytes(4, "little") + (200).to_bytes(4, "little"))
            file.seek(4086)
            file.write(b"SWAPSPACE2")
        members.append(spare)
        self.assertIn("--force=old-content", self.failure(members, "add", f"--target={spare}"))
        document = self.done("add", "--force=old-content", f"--target={spare}", *members)
        self.assertEqual([member["path"] for member in document["plan"]["members"]], [str(spare)])

    def test_force_and_the_names_of_what_it_overrides(self):
        members = self.members("1.2-raid5-4-none-dirty-degraded")
        original = digests(members)
        document = self.done("force", *members)
        self.assertEqual(self.verdicts(document), [("needs-force", "degraded")])
        self.assertTrue(any("write hole" in cost for cost in document["plan"]["costs"]))
        self.undone("force", members, original)
        self.failure(members, "force", "--force=everything", status=USAGE)

    def test_a_target_is_wanted_and_one_of_the_members(self):
        members = self.members("1.2-raid5-4-classic-clean")
        for verb in ("fail", "remove", "add", "re-add"):
            self.assertIn("--target", self.failure(members, verb, status=USAGE))
        self.assertIn("not among the members", self.failure(members[1:], "fail", f"--target={members[0]}", status=USAGE))
        self.assertIn("fail it first", self.failure(members, "remove", f"--target={members[0]}"))
        self.assertIn("--force=too-few", self.failure(members, "fail", f"--target={members[0]}",
                                                       f"--target={members[1]}"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
