#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What examine explains: the table, who left when, halves, contradictions, choices and their commands.

Usage: examine_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import pathlib
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
FIXTURES = SOURCE / "tests" / "fixtures"
ATTENTION, UNCORRECTED = 2, 4
SUPERBLOCK, SPARE, CLEAN = 4096, 0xFFFF, 2**64 - 1
EVENTS, UTIME, CHECKSUM, MAX_DEV, ROLES = 200, 192, 216, 220, 256


def run(*arguments):
    return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL)


def validator(verb):
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store[f"{verb}.schema.json"]
    return jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store))


def edit_superblock(path, change):
    """`change` gets the 1.2 superblock's bytes; the checksum is right afterwards."""
    with open(path, "r+b") as file:
        file.seek(SUPERBLOCK)
        block = bytearray(file.read(4096))
        change(block)
        size = ROLES + 2 * struct.unpack_from("<I", block, MAX_DEV)[0]
        struct.pack_into("<I", block, CHECKSUM, 0)
        total = sum(struct.unpack_from(f"<{size // 4}I", block)) + sum(block[size // 4 * 4:size])
        struct.pack_into("<I", block, CHECKSUM, ((total & 0xFFFFFFFF) + (total >> 32)) & 0xFFFFFFFF)
        file.seek(SUPERBLOCK)
        file.write(block)


def went_on_without(numbers, events_more):
    def change(block):
        events, = struct.unpack_from("<Q", block, EVENTS)
        struct.pack_into("<Q", block, EVENTS, events + events_more)
        for number in numbers:
            struct.pack_into("<H", block, ROLES + 2 * number, SPARE)
    return change


class Examine(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-examine-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def unpack(self, name, to="members"):
        folder = self.folder / to
        folder.mkdir()
        for packed in sorted((FIXTURES / name).glob("*.img.zst")):
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(folder / packed.stem)], check=True)
        return folder

    def document(self, *members):
        ran = run("examine", "--json", *members)
        document = json.loads(ran.stdout)
        validator("examine").validate(document)
        self.assertEqual(document["exit"], ran.returncode)
        return document

    def array(self, *members):
        arrays = self.document(*members)["arrays"]
        self.assertEqual(len(arrays), 1)
        return arrays[0]

    def text(self, *members):
        text = run("examine", *members).stdout.decode()
        for line in text.splitlines():
            # A path that is longer than a line cannot be folded.
            self.assertTrue(len(line) <= 80 or len(line.split()) <= 2, line)
        return text

    def ids(self, document):
        return {finding["id"]: finding for finding in document["findings"]}

    def test_every_fixture_fits_the_schema_and_the_screen(self):
        for fixture in sorted(path.parent for path in FIXTURES.glob("*/expected.json")):
            with self.subTest(fixture=fixture.name):
                members = self.unpack(fixture.name, fixture.name)
                array = self.array(members)
                self.assertTrue(array["choices"])
                text = self.text(members)
                self.assertIn("choices, the cheapest first", text)
                self.assertEqual(bool(array["history"]), "history, the last to leave first" in text)
                shutil.rmtree(members)

    def test_the_table_and_the_history_of_a_member_that_left(self):
        members = self.unpack("1.2-raid5-4-classic-stale-member")
        array = self.array(members)
        stale, = [m for m in array["members"] if m["state"] == "stale"]
        fresh = [m for m in array["members"] if m["state"] == "in-sync"]
        self.assertEqual(stale["view"], "AAAA")
        for member in fresh:
            self.assertEqual(member["view"][stale["slot"]], ".")
            self.assertEqual(member["bitmap_events"], array["events"])
            self.assertGreater(member["update_time"], stale["update_time"])
        self.assertLess(stale["bitmap_events"], array["events"])
        left, = array["history"]
        self.assertEqual((left["path"], left["slot"], left["source"]), (stale["path"], stale["slot"], "bitmap"))
        self.assertEqual(left["stale_bytes"], array["bitmap"]["dirty_chunks"] * array["bitmap"]["chunk_bytes"] * 3)
        self.assertEqual(left["events_behind"], array["events"] - stale["events"])
        text = self.text(members)
        self.assertIn("A.AA" if stale["slot"] == 1 else "A", text)
        self.assertIn("says the bitmap", " ".join(text.split()))

    def test_a_recovering_member_shows_its_mark(self):
        members = self.unpack("1.2-raid5-4-none-recovering")
        array = self.array(members)
        marks = [m["sync_mark_sectors"] for m in array["members"] if m["state"] == "recovering"]
        self.assertEqual(len(marks), 1)
        self.assertGreater(marks[0], 0)
        self.assertIn(str(marks[0]), self.text(members))
        self.assertTrue(all(m["sync_mark_sectors"] is None for m in array["members"] if m["state"] == "in-sync"))

    def test_split_brain(self):
        members = self.unpack("1.2-raid1-2-classic")
        edit_superblock(members / "m0.img", went_on_without([1], 4))
        edit_superblock(members / "m1.img", went_on_without([0], 9))
        document = self.document(members)
        array = document["arrays"][0]
        self.assertEqual([[pathlib.Path(path).name for path in half] for half in array["halves"]], [["m1.img"], ["m0.img"]])
        self.assertEqual(self.ids(document)["split-brain"]["severity"], "problem")
        self.assertEqual({choice["id"] for choice in array["choices"]}, {"force", "force-other-half"})
        for choice in array["choices"]:
            ran = run(*shlex.split(choice["command"])[1:], "--dry-run")
            self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertIn("nothing decides it by itself", " ".join(self.text(members).split()))

    def test_members_that_are_all_spares_get_their_slots_back(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        for path in members.iterdir():
            def spare(block):
                struct.pack_into("<H", block, ROLES + 2 * struct.unpack_from("<I", block, 160)[0], SPARE)
            edit_superblock(path, spare)
        choice, = [c for c in self.array(members)["choices"] if c["id"] == "give-slots"]
        ran = run(*shlex.split(choice["command"])[1:], "--dry-run", "--json")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        (self.folder / "plan").write_bytes(ran.stdout)
        tried = json.loads(run("examine", "--json", "--with", self.folder / "plan", *sorted(members.iterdir())).stdout)
        self.assertEqual(tried["arrays"][0]["verdict"], "assembles")

    def test_members_that_failed_one_after_the_other(self):
        """As a controller leaves them: with the second the array stood still, so that forcing it costs nothing."""
        members = self.unpack("1.2-raid5-4-none-clean")
        images = sorted(members.iterdir())
        numbers = [struct.unpack_from("<I", path.read_bytes(), SUPERBLOCK + 160)[0] for path in images]
        for image, gone, events in [(2, [1], 2), (3, [1, 2], 3), (0, [1, 2, 3], 5)]:
            edit_superblock(images[image], went_on_without([numbers[i] for i in gone], events))
        document = self.document(*images)
        array = document["arrays"][0]
        self.assertEqual([left["source"] for left in array["history"]], ["standstill", "standstill", "none"])
        self.assertIn("others-failed", self.ids(document))
        force, = [c for c in array["choices"] if c["id"] == "force"]
        self.assertEqual(force["stale_bytes"], 0)
        ran = run(*shlex.split(force["command"])[1:], "--dry-run", "--json")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        (self.folder / "plan").write_bytes(ran.stdout)
        tried = json.loads(run("examine", "--json", "--with", self.folder / "plan", *images).stdout)
        self.assertEqual(tried["arrays"][0]["verdict"], "degraded")

    def test_erased_and_overwritten_superblocks(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        images = sorted(members.iterdir())
        with open(images[1], "r+b") as file:
            file.seek(SUPERBLOCK)
            file.write(bytes(512))
        found = self.ids(self.document(*images))
        self.assertIn("superblock-zeroed", found)
        self.assertIn(f"--target {images[1]} --slot 1", found["superblock-zeroed"]["next"])
        with open(images[1], "r+b") as file:
            file.seek(512)
            file.write(b"EFI PART")
        document = self.document(*images)
        self.assertIn("gpt-over-superblock", self.ids(document))
        in_place, = [c for c in document["arrays"][0]["choices"] if c["id"] == "add-in-place"]
        ran = run(*shlex.split(in_place["command"])[1:], "--dry-run", "--json")
        self.assertEqual(ran.returncode, 0, ran.stdout)
        (self.folder / "plan").write_bytes(ran.stdout)
        copied = run("copy", "--with", self.folder / "plan", "--to", self.folder / "content", *images)
        self.assertIn(copied.returncode, (0, ATTENTION), copied.stderr)
        expected = json.loads((FIXTURES / "1.2-raid5-4-none-clean" / "expected.json").read_text())["content_sha256"]
        self.assertEqual(hashlib.sha256((self.folder / "content").read_bytes()).hexdigest(), expected)

    def test_warnings_say_what_to_do(self):
        members = self.unpack("1.2-raid5-4-none-dirty-degraded")
        (members / "more").write_bytes(bytes(1 << 16))
        document = self.document(members, members / "more")
        for finding in document["findings"]:
            with self.subTest(id=finding["id"]):
                self.assertTrue(finding["severity"] == "note" or finding["next"])
        self.assertIn("next: ", self.text(members, members / "more"))

    def test_commands_are_ones_that_the_verbs_take(self):
        cases = {"1.2-raid5-4-classic-stale-member": {"re-add", "start-degraded"},
                 "0.90-raid5-4-none-stale-member": {"recover"},
                 "1.2-raid5-4-none-dirty-degraded": {"force", "copy"},
                 "1.2-raid5-4-none-recovering": {"recover"},
                 "1.2-raid5-4-none-crash": {"resync", "start"},
                 "1.2-raid5-4-lockless-lazy-offset": {"lazy-recovery"}}
        for name, wanted in cases.items():
            members = self.unpack(name, name)
            choices = self.array(members)["choices"]
            self.assertLessEqual(wanted, {choice["id"] for choice in choices}, name)
            for choice in choices:
                with self.subTest(fixture=name, choice=choice["id"], command=choice["command"]):
                    words = shlex.split(choice["command"].split(" && ")[0].replace("FILE", str(self.folder / "file")))
                    if words[0] == "mdtool" and "DEV" not in words:
                        dry = [] if words[1] == "copy" else ["--dry-run"]
                        (self.folder / "file").unlink(missing_ok=True)
                        ran = run(*words[1:], *dry)
                        self.assertIn(ran.returncode, (0, ATTENTION), ran.stderr.decode())

    def test_paths_are_quoted_in_commands(self):
        members = self.unpack("1.2-raid5-4-classic-stale-member", "a b")
        for choice in self.array(members)["choices"]:
            words = shlex.split(choice["command"])
            self.assertIn(str(members / "m0.img"), words)
        self.assertIn("'" + str(members / "m0.img") + "'", self.text(members))

    def test_many_slots_have_their_views_below(self):
        members = self.unpack("1.2-raid1-2-classic")

        def widen(block):
            struct.pack_into("<I", block, 92, 100)
        for name in ("m0.img", "m1.img"):
            edit_superblock(members / name, widen)
        array = self.array(members)
        self.assertEqual(array["members"][0]["view"], "AA" + "." * 98)
        text = self.text(members)
        self.assertIn("as seen by", text)
        self.assertIn("AA" + "." * 62, text)

    def test_control_bytes_stay_off_the_screen(self):
        members = self.unpack("1.2-raid1-2-classic")

        def name(block):
            block[32:40] = b"\x1b[2Jx\x07\n\n"
        edit_superblock(members / "m1.img", name)
        document = self.document(members)
        self.assertIn("names-differ", self.ids(document))
        raw = run("examine", members).stdout
        self.assertFalse(any(byte < 0x20 and byte != 0x0A or byte == 0x7F for byte in raw))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
