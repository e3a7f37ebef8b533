#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mdtool overlay: what was written above an array is shown, put on its members, or thrown away.

Usage: overlay_test.py MDTOOL MAKE_OVERLAY SOURCE_DIRECTORY
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

MDTOOL, MAKE_OVERLAY, SOURCE = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
UNCORRECTED, OPERATIONAL, USAGE, REFUSED = 4, 8, 16, 64


def validator():
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store["overlay.schema.json"]
    return jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store))


def digests(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


class Overlay(unittest.TestCase):
    FIXTURE = "1.2-raid5-4-none-clean"

    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-overlay-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.members = []
        for packed in sorted((SOURCE / "tests" / "fixtures" / self.FIXTURE).glob("*.img.zst")):
            self.members.append(self.scratch / packed.stem)
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(self.members[-1])], check=True)
        self.overlay = self.scratch / "overlay"
        self.undo_folder, self.commits = self.scratch / "undo", 0
        self.undo_folder.mkdir()
        self.make(64)

    def make(self, sectors):
        self.overlay.unlink(missing_ok=True)
        subprocess.run([MAKE_OVERLAY, self.overlay, str(sectors), *self.members], check=True)

    def mdtool(self, *arguments):
        environment = {**os.environ, "XDG_STATE_HOME": str(self.scratch / "state")}
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env=environment)

    def document(self, *arguments, status=0):
        if arguments[0] == "commit" and "--undo" not in arguments:
            # The usual place of undo files is refused on tmpfs, where the scratch folder may be.
            self.commits += 1
            arguments = [*arguments, "--undo", self.undo_folder / f"{self.commits}.undo"]
        ran = self.mdtool("overlay", *arguments, "--json")
        document = json.loads(ran.stdout)
        validator().validate(document)
        self.assertEqual((document["exit"], ran.returncode), (status, status), document)
        return document

    def content(self):
        to = self.scratch / "content"
        self.assertEqual(self.mdtool("copy", *self.members, "--to", to, "--force", "overwrite").returncode, 0)
        return to.read_bytes()

    def test_show(self):
        document = self.document("show", self.overlay)
        self.assertFalse(document["commit_begun"])
        self.assertEqual([member["path"] for member in document["members"]], list(map(str, self.members)))
        for member in document["members"]:
            self.assertIsNone(member["fits"])
            self.assertGreaterEqual(member["written_bytes"], 64 * 512)
            self.assertIn({"offset_bytes": 1 << 20, "length_bytes": 64 * 512}, member["extents"])
        moved = self.scratch / "elsewhere.img"
        self.members[1].rename(moved)
        document = self.document("show", self.overlay, moved)
        self.assertEqual([member["fits"] for member in document["members"]], [None, str(moved), None, None])
        self.assertIn(str(moved).encode(), self.mdtool("overlay", "show", self.overlay, moved).stdout)

    def test_show_names_who_does_not_fit(self):
        with open(self.members[2], "r+b") as member:
            member.seek(4096 + 192)
            member.write(b"\x55")
        document = self.document("show", self.overlay, *self.members, status=UNCORRECTED)
        found = [finding for finding in document["findings"] if finding["id"] == "overlay-does-not-fit"]
        self.assertEqual([finding["path"] for finding in found], [str(self.members[2])])
        self.assertIn("superblock", found[0]["text"])

    def test_commit(self):
        before, content = digests(self.members), self.content()
        plan = self.document("commit", "--dry-run", self.overlay, *self.members)
        self.assertEqual(digests(self.members), before)
        self.assertEqual(len(plan["plan"]["members"]), 4)
        self.assertEqual(plan["plan"]["data_bytes"], 4 * 64 * 512)
        refused = self.document("commit", self.overlay, *self.members, status=REFUSED)
        self.assertIn("--yes", refused["error"]["text"])
        self.assertEqual(digests(self.members), before)
        done = self.document("commit", "--yes", self.overlay, *self.members)
        self.assertEqual(done["result"], {"bytes_written": 4 * 64 * 512, "interrupted": False})
        self.assertTrue(done["removed"])
        self.assertFalse(self.overlay.exists())
        self.assertNotEqual(self.content(), content)
        self.assertEqual(self.mdtool("examine", *self.members).returncode, 0)
        self.assertEqual(self.mdtool("undo", "--yes", "--undo", "none", done["undo_file"]).returncode, 0)
        self.assertEqual(digests(self.members), before)

    def test_commit_without_undo(self):
        self.make(6000)
        plan = self.mdtool("overlay", "commit", "--dry-run", self.overlay, *self.members).stdout
        self.assertIn(b"no undo", plan)
        done = self.document("commit", "--yes", "--keep", self.overlay, *self.members)
        self.assertIsNone(done["undo_file"])
        self.assertEqual(list(self.undo_folder.iterdir()), [])
        after = digests(self.members)
        self.assertTrue(self.document("commit", "--yes", self.overlay, *self.members)["plan"]["resumed"])
        self.assertEqual(digests(self.members), after)
        self.assertFalse(self.overlay.exists())

    def test_a_plan_of_a_commit_names_members_and_fields(self):
        plan = self.document("commit", "--dry-run", self.overlay, *self.members)["plan"]
        for member, path in zip(plan["members"], self.members):
            self.assertEqual((member["file"], member["inode"]), (str(path.resolve()), path.stat().st_ino))
            [superblock] = [record for record in member["changes"] if record["purpose"] == "superblock"]
            fields = {field["name"]: field for field in superblock["fields"]}
            self.assertGreater(fields["events"]["after"], fields["events"]["before"])
        done = self.document("commit", "--yes", self.overlay, *self.members)
        back = json.loads(self.mdtool("undo", "--dry-run", "--json", done["undo_file"]).stdout)
        for planned, member in zip(plan["members"], back["members"]):
            def all_fields(changes, then, now):
                return sorted((record["purpose"], field["name"], str(field[then]), str(field[now]))
                              for record in changes for field in record["fields"])
            self.assertEqual(all_fields(planned["changes"], "before", "after"),
                             all_fields(member["changes"], "after", "before"))

    def test_commit_that_keeps_no_undo_file(self):
        steps = self.document("commit", "--dry-run", "--undo", "none", self.overlay, *self.members)["plan"]["steps"]
        self.assertEqual(steps[-1], "no undo file is kept")
        done = self.document("commit", "--yes", "--undo", "none", self.overlay, *self.members)
        self.assertIsNone(done["undo_file"])
        self.assertEqual(done["result"]["bytes_written"], 4 * 64 * 512)
        self.assertEqual(list(self.undo_folder.iterdir()), [])

    def test_commit_is_refused(self):
        before = digests(self.members)
        missing = self.document("commit", "--yes", self.overlay, *self.members[1:], status=REFUSED)
        self.assertIn("m0.img", missing["error"]["text"])
        self.document("commit", "--yes", self.overlay, status=USAGE)
        self.document("commit", "--yes", self.members[0], *self.members, status=OPERATIONAL)
        self.assertEqual(digests(self.members), before)
        other = self.scratch / "other"
        subprocess.run([MAKE_OVERLAY, other, "8", *self.members], check=True)
        self.document("commit", "--yes", other, *self.members)
        after = digests(self.members)
        changed = self.document("commit", "--yes", self.overlay, *self.members, status=REFUSED)
        self.assertIn("has changed since the overlay was made", changed["error"]["text"])
        self.assertEqual(digests(self.members), after)
        self.assertTrue(self.overlay.exists())

    def test_discard(self):
        self.document("discard", self.overlay, status=REFUSED)
        self.assertFalse(self.document("discard", "--dry-run", self.overlay)["removed"])
        self.assertTrue(self.overlay.exists())
        self.assertTrue(self.document("discard", "--yes", self.overlay)["removed"])
        self.assertFalse(self.overlay.exists())
        self.document("discard", "--yes", self.members[0], status=OPERATIONAL)
        self.assertTrue(self.members[0].exists())

    def test_discard_of_an_unfinished_commit(self):
        self.document("commit", "--yes", "--keep", self.overlay, *self.members)
        self.document("discard", "--yes", self.overlay, status=REFUSED)
        self.document("discard", "--yes", "--force", "unfinished-commit", self.overlay)
        self.assertFalse(self.overlay.exists())

    def test_damaged_files(self):
        whole = self.overlay.read_bytes()
        for length in (0, 100, 4096, 8192 + 4096, len(whole) // 2):
            self.overlay.write_bytes(whole[:length])
            for action in (["show"], ["discard", "--yes"], ["commit", "--yes"]):
                members = self.members if action[0] == "commit" else []
                ran = self.mdtool("overlay", *action, self.overlay, *members, "--json")
                validator().validate(json.loads(ran.stdout))
                self.assertEqual(ran.returncode, OPERATIONAL, (length, action))
        self.assertTrue(self.overlay.exists())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
