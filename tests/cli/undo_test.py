#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mdtool undo: a run is shown and taken back, and its undo too; where undo files may be; plans that name every field.

Usage: undo_test.py MDTOOL SOURCE_DIRECTORY
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
OPERATIONAL, USAGE, REFUSED, CORRECTED = 8, 16, 64, 1
SUPERBLOCK = 4096
EVENTS = SUPERBLOCK + 200


def validator(verb):
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store[f"{verb}.schema.json"]
    return jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store))


def type_of_mount(path):
    """As the kernel has it for the mount that is exactly there; none where nothing is mounted."""
    found = None
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split(" ")
        if words[4] == path:
            found = words[words.index("-") + 1]
    return found


def change_of(member, purpose, name):
    """The one field of this name that a plan changes in such a record of a member."""
    [record] = [record for record in member["changes"] if record["purpose"] == purpose]
    [field] = [field for field in record["fields"] if field["name"] == name]
    return field["before"], field["after"]


class Undo(unittest.TestCase):
    FIXTURE = "1.2-raid5-4-classic-crash"

    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-undo-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.members = []
        for packed in sorted((SOURCE / "tests" / "fixtures" / self.FIXTURE).glob("*.img.zst")):
            self.members.append(self.scratch / packed.stem)
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(self.members[-1])], check=True)
        # The usual place of undo files is refused on tmpfs, where /tmp may be.
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-state-", dir=os.getcwd()))
        self.addCleanup(shutil.rmtree, self.state)
        self.before = self.metadata()
        self.events = self.events_of(self.members[0])

    @staticmethod
    def events_of(member):
        with open(member, "rb") as image:
            image.seek(EVENTS)
            return int.from_bytes(image.read(8), "little")

    def metadata(self):
        """Digests of everything before the data, of every member."""
        return [hashlib.sha256(member.read_bytes()[:1 << 20]).hexdigest() for member in self.members]

    def digests(self):
        return [hashlib.sha256(member.read_bytes()).hexdigest() for member in self.members]

    def mdtool(self, *arguments, state=None):
        environment = {**os.environ, "XDG_STATE_HOME": str(state or self.state)}
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env=environment)

    def document(self, *arguments, status=0, state=None):
        ran = self.mdtool(*arguments, "--json", state=state)
        document = json.loads(ran.stdout)
        validator(arguments[0]).validate(document)
        self.assertEqual((document["exit"], ran.returncode), (status, status), document)
        return document

    def resynced(self):
        undo = self.scratch / "first.undo"
        done = self.document("resync", "--yes", "--undo", undo, *self.members, status=CORRECTED)
        self.assertEqual(done["undo_file"], str(undo))
        return undo

    def test_a_plan_names_members_and_fields(self):
        plan = self.document("resync", "--dry-run", *self.members)["plan"]
        self.assertEqual([member["path"] for member in plan["members"]], list(map(str, self.members)))
        for member, path in zip(plan["members"], self.members):
            status = path.stat()
            self.assertEqual((member["file"], member["offset_bytes"], member["size_bytes"]),
                             (str(path.resolve()), 0, status.st_size))
            self.assertEqual((member["device"], member["inode"], member["serial"]), (status.st_dev, status.st_ino, None))
            self.assertRegex(member["device_uuid"], r"^[0-9a-f]{8}(:[0-9a-f]{8}){3}$")
            self.assertEqual(change_of(member, "superblock", "events"), (self.events, f"{self.events + 1} or more"))
            before, after = change_of(member, "superblock", "resync_offset")
            self.assertNotEqual(before, after)
            self.assertEqual(change_of(member, "bitmap", "events")[1], f"{self.events + 1} or more")
        text = self.mdtool("resync", "--dry-run", *self.members).stdout.decode()
        self.assertRegex(text, rf"events +{self.events} +-> +{self.events + 1} or more")
        self.assertEqual(self.metadata(), self.before)

    def test_what_was_planned_is_what_comes(self):
        plan = self.document("resync", "--dry-run", *self.members)["plan"]
        undo = self.resynced()
        back = self.document("undo", "--dry-run", undo)
        for planned, member in zip(plan["members"], back["members"]):
            def names(changes):
                return sorted((record["purpose"], field["name"]) for record in changes for field in record["fields"])
            self.assertEqual(names(planned["changes"]), names(member["changes"]))
            before, _ = change_of(planned, "superblock", "resync_offset")
            self.assertEqual(change_of(member, "superblock", "resync_offset")[1], before)

    def test_undo_shows_its_plan_and_takes_the_run_back(self):
        undo = self.resynced()
        after = self.digests()
        plan = self.document("undo", "--dry-run", undo)
        self.assertEqual(self.digests(), after)
        self.assertFalse(plan["written"])
        self.assertIsNone(plan["redo_file"])
        self.assertEqual([member["path"] for member in plan["members"]], list(map(str, self.members)))
        for member, path in zip(plan["members"], self.members):
            self.assertEqual(member["inode"], path.stat().st_ino)
            self.assertEqual(change_of(member, "superblock", "events"), (self.events_of(path), self.events))
        self.assertEqual({record["purpose"] for record in plan["records"]}, {"superblock", "bitmap"})
        text = self.mdtool("undo", "--dry-run", undo).stdout.decode()
        self.assertRegex(text, rf"events +[0-9]+ +-> +{self.events}\n")
        self.assertIn("repaired blocks", text)
        self.assertEqual([line for line in text.splitlines() if len(line) > 80 and str(self.scratch) not in line], [])
        self.assertRegex(text, r"resync_offset +clean +-> +0 sectors\n")
        self.document("undo", undo, status=REFUSED)
        self.assertEqual(self.digests(), after)
        done = self.document("undo", "--yes", undo)
        self.assertTrue(done["written"])
        self.assertEqual(self.metadata(), self.before)
        again = self.document("undo", "--yes", undo)
        self.assertEqual((again["records"], again["written"], again["redo_file"]), ([], False, None))

    def test_undo_can_be_undone(self):
        undo = self.resynced()
        after = self.digests()
        redo = self.document("undo", "--yes", undo)["redo_file"]
        self.assertTrue(redo.startswith(str(self.state / "mdtool" / "undo") + "/"))
        self.assertIn("mdtool undo", self.document("undo", "--dry-run", redo)["command_line"])
        self.document("undo", "--yes", "--undo", "none", redo)
        self.assertEqual(self.digests(), after)
        self.assertEqual(len(list((self.state / "mdtool" / "undo").iterdir())), 1)
        self.document("undo", "--yes", "--undo", self.scratch / "second.undo", undo)
        self.assertEqual(self.metadata(), self.before)
        self.assertTrue((self.scratch / "second.undo").exists())

    def test_a_foreign_change_is_refused(self):
        undo = self.resynced()
        with open(self.members[2], "r+b") as member:
            member.seek(EVENTS)
            member.write(b"\xee")
        after = self.digests()
        refused = self.document("undo", "--yes", undo, status=REFUSED)
        self.assertIn("m2.img", refused["error"]["text"])
        self.assertIn("changed since by something else", refused["error"]["text"])
        self.assertEqual(self.digests(), after)

    def test_a_member_elsewhere_is_found_among_those_named(self):
        undo = self.resynced()
        elsewhere = self.scratch / "elsewhere.img"
        self.members[1].rename(elsewhere)
        lost = str(self.members[1])
        self.members[1] = elsewhere
        after = self.digests()
        for more, said in [((), "--member"), (("--member", self.members[0]), "none of the places")]:
            refused = self.document("undo", "--yes", undo, *more, status=REFUSED)
            self.assertIn(lost, refused["error"]["text"])
            self.assertIn(said, refused["error"]["text"])
        clone = self.scratch / "clone.img"
        shutil.copy(elsewhere, clone)
        refused = self.document("undo", "--yes", undo, "--member", clone, "--member", elsewhere, status=REFUSED)
        self.assertIn("clone.img or", refused["error"]["text"])
        self.assertEqual(self.digests(), after)
        done = self.document("undo", "--yes", undo, "--member", elsewhere)
        self.assertEqual([(member["path"], member["recorded_path"]) for member in done["members"]][1],
                         (str(elsewhere), lost))
        self.assertEqual(self.metadata(), self.before)

    def test_another_member_under_the_old_name_is_not_written(self):
        undo = self.resynced()
        self.members[0].rename(self.scratch / "swap")
        self.members[1].rename(self.members[0])
        (self.scratch / "swap").rename(self.members[1])
        after = self.digests()
        self.document("undo", "--yes", undo, status=REFUSED)
        self.assertEqual(self.digests(), after)
        self.document("undo", "--yes", undo, "--member", self.members[1], "--member", self.members[0])
        self.assertEqual(sorted(self.metadata()), sorted(self.before))

    def test_members_in_one_file_are_told_apart(self):
        whole, slices, offset = self.scratch / "all.img", [], 4096
        with open(whole, "wb") as image:
            image.write(bytes(offset))
            for path in self.members:
                content = path.read_bytes()
                image.write(content)
                slices.append(f"{whole}@{offset}+{len(content)}")
                offset += len(content)
        before = hashlib.sha256(whole.read_bytes()[4096:4096 + (1 << 20)]).hexdigest()
        undo = self.scratch / "slices.undo"
        self.document("resync", "--yes", "--undo", undo, *slices, status=CORRECTED)
        plan = self.document("undo", "--dry-run", undo)
        self.assertEqual([member["offset_bytes"] for member in plan["members"]],
                         [int(name.rsplit("@")[1].split("+")[0]) for name in slices])
        self.document("undo", "--yes", undo)
        self.assertEqual(hashlib.sha256(whole.read_bytes()[4096:4096 + (1 << 20)]).hexdigest(), before)

    def test_an_existing_file_is_no_place_for_an_undo_file(self):
        taken = self.scratch / "precious"
        taken.write_text("precious")
        for place in [taken, self.members[0]]:
            self.document("resync", "--yes", "--undo", place, *self.members, status=REFUSED)
            self.assertEqual(self.metadata(), self.before)
        self.assertEqual(taken.read_text(), "precious")

    def test_a_folder_that_is_not_there_is_not_made(self):
        place = self.scratch / "unmounted" / "undo"
        document = self.document("resync", "--yes", "--undo", place, *self.members, status=REFUSED)
        self.assertIn("no folder", document["error"]["text"])
        self.assertFalse(place.parent.exists())
        self.assertEqual(self.metadata(), self.before)

    def test_without_an_undo_file(self):
        done = self.document("resync", "--yes", "--undo", "none", *self.members, status=CORRECTED)
        self.assertIsNone(done["undo_file"])
        self.assertEqual(list(self.state.iterdir()), [])
        self.assertNotEqual(self.metadata(), self.before)

    def test_memory_is_no_usual_place_for_an_undo_file(self):
        memory = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-undo-", dir="/dev/shm"))
        self.addCleanup(shutil.rmtree, memory)
        dies = type_of_mount("/dev/shm") == "tmpfs"
        if dies:
            refused = self.document("resync", "--yes", *self.members, status=REFUSED, state=memory)
            for word in ["--undo FILE", "--undo none", "tmpfs"]:
                self.assertIn(word, refused["error"]["text"])
            self.assertEqual((self.metadata(), list(memory.iterdir())), (self.before, []))
            self.document("resync", "--dry-run", *self.members, state=memory)
        asked = memory / "asked.undo"
        done = self.document("resync", "--yes", "--undo", asked, *self.members, status=CORRECTED, state=memory)
        self.assertEqual("undo-volatile" in [finding["id"] for finding in done["findings"]], dies)
        done = self.document("undo", "--yes", "--undo", "none", asked, state=memory)
        self.assertEqual((self.metadata(), done["redo_file"]), (self.before, None))

    def test_what_is_no_undo_file(self):
        self.document("undo", "--yes", self.members[0], status=OPERATIONAL)
        self.document("undo", "--yes", self.scratch / "missing", status=OPERATIONAL)
        self.document("undo", status=USAGE)
        undo = self.resynced()
        self.document("undo", "--yes", undo, "--member", self.scratch / "missing", status=OPERATIONAL)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
