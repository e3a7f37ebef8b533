#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mdtool set and mdtool erase: the grammar of their options, what they refuse, and that undo takes them back.

Usage: set_test.py MDTOOL SOURCE_DIRECTORY
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
FINE, ATTENTION, USAGE, REFUSED = 0, 2, 16, 64
UUID = "11111111:22222222:33333333:44444444"


def validator(verb):
    store = {path.name: json.loads(path.read_text()) for path in (SOURCE / "schema").glob("*.json")}
    schema = store[f"{verb}.schema.json"]
    return jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store))


def digests(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


class Edited(unittest.TestCase):
    """Members of a fixture in a folder of their own."""

    def members(self, fixture):
        scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-set-"))
        self.addCleanup(shutil.rmtree, scratch)
        self.environment = {**os.environ, "XDG_STATE_HOME": str(scratch / "state")}
        members = []
        for packed in sorted((SOURCE / "tests" / "fixtures" / fixture).glob("*.img.zst")):
            members.append(scratch / packed.stem)
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(members[-1])], check=True)
        return members

    def mdtool(self, *arguments):
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env=self.environment)

    def document(self, verb, *arguments, status=FINE):
        ran = self.mdtool(verb, *arguments, "--json")
        document = json.loads(ran.stdout)
        validator(verb).validate(document)
        self.assertEqual((document["exit"], ran.returncode), (status, status), document)
        return document

    def failure(self, verb, *arguments, status):
        """The reason; nothing is written."""
        members = [argument for argument in arguments if isinstance(argument, pathlib.Path)]
        state = pathlib.Path(self.environment["XDG_STATE_HOME"])
        before, undo_files = digests(members), set(state.rglob("*"))
        text = self.document(verb, *arguments, "--yes", status=status)["error"]["text"]
        self.assertEqual((digests(members), set(state.rglob("*"))), (before, undo_files))
        return text

    def superblock(self, member):
        with open(member, "rb") as file:
            file.seek(4096)
            return file.read(4096)


class Set(Edited):
    def test_a_plan_is_shown_applied_and_undone(self):
        members = self.members("1.2-raid5-4-classic-clean")
        before = digests(members)
        plan = self.document("set", "--dry-run", "--new-uuid", UUID, *members)["plan"]
        self.assertEqual([[patch["purpose"] for patch in stage] for stage in plan["stages"]],
                         [["bitmap"] * 4, ["superblock"] * 4])
        self.assertEqual(digests(members), before)
        self.assertIn("--yes", self.document("set", "--new-uuid", UUID, *members, status=REFUSED)["error"]["text"])
        self.assertEqual(digests(members), before)
        done = self.document("set", "--yes", "--new-uuid", UUID, *members)
        self.assertEqual(done["arrays"][0]["after"]["uuid"], UUID)
        for member in members:
            self.assertEqual(self.superblock(member)[16:32].hex(), UUID.replace(":", ""))
        self.assertEqual(self.mdtool("examine", *members).returncode, FINE)
        self.assertEqual(self.mdtool("undo", "--yes", done["undo_file"]).returncode, FINE)
        self.assertEqual(digests(members), before)

    def test_a_uuid_cut_in_its_middle_goes_on(self):
        members = self.members("1.2-raid5-4-classic-clean")
        twin = self.members("1.2-raid5-4-classic-clean")
        self.document("set", "--yes", "--new-uuid", UUID, *twin)
        complete = digests(twin)
        shutil.copy(twin[0], members[0])
        shutil.copy(twin[2], members[2])
        self.document("set", "--yes", "--new-uuid", UUID, *members)
        self.assertEqual(digests(members), complete)

    def test_two_arrays_do_not_become_one(self):
        members = self.members("1.2-raid5-4-none-clean") + self.members("1.2-raid5-4-classic-clean")
        self.assertIn("2 arrays", self.failure("set", "--new-uuid", "40358a20:4a1cb57a:33206946:93e05a74", *members,
                                               status=REFUSED))
        uuid = self.superblock(members[-1])[16:32].hex()
        self.assertIn("2 arrays", self.failure("set", "--new-uuid", uuid, *members, status=REFUSED))

    def test_name_and_homehost(self):
        members = self.members("1.2-raid5-4-none-clean")

        def name():
            return self.superblock(members[3])[32:64].rstrip(b"\0").decode()

        for options, expected in [(["--name", "one"], "any:one"), (["--update=name", "--name", "two"], "any:two"),
                                  (["--name=three", "--homehost=zeus"], "zeus:three"),
                                  (["--homehost=hera"], "hera:three"), (["--update=homehost=ares"], "ares:three"),
                                  (["--field", "set_name=a=b"], "a=b"), (["--homehost", ""], "a=b")]:
            self.assertEqual(self.mdtool("set", "--yes", *options, *members).returncode, FINE, options)
            self.assertEqual(name(), expected)
        self.assertIn("twice", self.failure("set", "--name=a", "--update=name=b", *members, status=USAGE))

    def test_random_uuid(self):
        members = self.members("1.2-raid5-4-none-clean")
        old = self.superblock(members[0])[16:32]
        self.document("set", "--yes", "--new-uuid", "random", *members)
        new = {self.superblock(member)[16:32] for member in members}
        self.assertEqual(len(new), 1)
        self.assertNotIn(old, new)

    def test_options_that_make_no_sense(self):
        members = self.members("1.2-raid5-4-none-clean")
        for options, words in [([], "nothing to set"), (["--field", "events"], "NAME=VALUE"),
                               (["--field", "no_such=1"], "no_such"), (["--field", "sb_csum=1"], "by hand"),
                               (["--field", "level=five"], "level"), (["--update", "frobnicate"], "frobnicate"),
                               (["--update", "resync=1"], "no value"), (["--update", "uuid"], "value"),
                               (["--new-uuid", "12"], "UUID"), (["--slot", "0"], "MEMBER=SLOT"),
                               (["--slot", f"{members[0]}=x"], "no slot"), (["--slot", f"{members[0]}=9"], "no slot 9"),
                               (["--slot", f"{members[0]}.gone=0"], "gone"), (["--field", "dev_number=7"], "--target"),
                               (["--bad-blocks=clear", "--name=x"], "alone"), (["--bad-blocks=lose"], "lose"),
                               (["--force=everything", "--name=x"], "everything")]:
            self.assertIn(words, self.failure("set", *options, *members, status=USAGE), options)

    def test_checks_have_names(self):
        members = self.members("1.2-raid5-4-none-clean")
        for options, name in [(["--field", "chunksize=3"], "meaning"), (["--field", "set_name=x", "--target", members[1]],
                                                                        "one-member")]:
            self.assertIn(f"--force={name}", self.failure("set", *options, *members, status=REFUSED))
            self.document("set", "--dry-run", f"--force={name}", *options, *members)
        self.failure("set", "--field", "feature_map=0x2000", "--force=meaning", *members, status=REFUSED)
        stale = self.members("1.2-raid5-4-classic-stale-member")
        texts = {self.mdtool("set", "--dry-run", "--slot", f"{member}={slot}", *stale).stderr
                 for slot, member in enumerate(stale)}
        self.assertTrue(any(b"mdtool force" in text for text in texts), texts)

    def test_slots(self):
        members = self.members("1.2-raid5-4-none-clean")
        before = digests(members)
        ran = self.mdtool("set", "--dry-run", "--slot", f"{members[0]}=1", "--slot", f"{members[1]}=0", *members)
        self.assertEqual(ran.returncode, FINE)
        self.assertIn(b"garbage", ran.stdout)
        self.assertIn(b"--with", ran.stdout)
        done = self.document("set", "--yes", "--slot", f"{members[0]}=1", "--slot", f"{members[1]}=0", *members)
        self.assertEqual(self.superblock(members[2])[256:264].hex()[:4], "0100")
        self.assertEqual(self.mdtool("undo", "--yes", done["undo_file"]).returncode, FINE)
        self.assertEqual(digests(members), before)

    def test_bad_blocks(self):
        members = self.members("1.2-raid6-5-none-bad-blocks")
        before = digests(members)
        shown = self.mdtool("set", "--bad-blocks=show", *members)
        self.assertEqual(shown.returncode, ATTENTION)
        self.assertIn(b"2080+16", shown.stdout)
        document = self.document("set", "--bad-blocks=show", *members, status=ATTENTION)
        self.assertEqual(len([f for f in document["findings"] if f["id"] == "bad-blocks"]), 2)
        one = self.document("set", "--bad-blocks=show", "--target", members[0], *members)
        self.assertEqual([f["id"] for f in one["findings"] if "bad-blocks" in f["id"]], ["no-bad-blocks"])
        self.assertEqual(digests(members), before)
        plan = self.mdtool("set", "--bad-blocks=clear", "--dry-run", *members)
        self.assertIn(b"believed again", plan.stdout)
        self.document("set", "--bad-blocks=clear", "--yes", *members)
        self.assertEqual(self.mdtool("set", "--bad-blocks=show", *members).returncode, FINE)

    def test_twice_is_once(self):
        members = self.members("0.90-raid5-3-none-clean")
        for options in (["--update=metadata"], ["--update=name=x"], ["--update=resync"]):
            self.document("set", "--yes", *options, *members)
            again = self.document("set", "--yes", *options, *members)
            self.assertEqual((again["written"], again["undo_file"]), (False, None))


class Erase(Edited):
    def test_one_member(self):
        members = self.members("1.2-raid5-4-classic-clean")
        before = digests(members)
        plan = self.mdtool("erase", "--dry-run", "--target", members[2], *members)
        self.assertEqual(plan.returncode, FINE)
        self.assertIn(b"3 of its 4 slots", plan.stdout)
        done = self.document("erase", "--yes", "--target", members[2], *members)
        self.assertEqual(self.superblock(members[2])[:512], bytes(512))
        after = digests(members)
        self.assertEqual([a == b for a, b in zip(before, after)], [True, True, False, True])
        self.assertEqual(self.mdtool("undo", "--yes", done["undo_file"]).returncode, FINE)
        self.assertEqual(digests(members), before)

    def test_the_last_members(self):
        members = self.members("1.2-raid5-4-none-clean")
        self.assertIn("--force=last-members", self.failure("erase", *members, status=REFUSED))
        self.document("erase", "--yes", "--force=last-members", *members)
        for member in members:
            self.assertEqual(self.superblock(member)[:512], bytes(512))
        again = self.document("erase", "--yes", *members)
        self.assertFalse(again["written"])
        self.assertIn("nothing-to-erase", [finding["id"] for finding in again["findings"]])

    def test_only_what_is_meant(self):
        members = self.members("1.2-raid5-4-none-clean")
        before = digests(members)
        self.assertFalse(self.document("erase", "--yes", "--metadata=1.0", *members)["written"])
        self.failure("erase", "--metadata=2.0", *members, status=USAGE)
        self.failure("erase", "--uuid", UUID, *members, status=REFUSED)
        self.assertEqual(digests(members), before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
