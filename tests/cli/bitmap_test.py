#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""mdtool bitmap: what is shown and drawn of write-intent bitmaps that a real kernel left, and of hostile ones.

Usage: bitmap_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
FINE, CORRECTED, ATTENTION, UNCORRECTED, OPERATIONAL, USAGE, INTERRUPTED, REFUSED = 0, 1, 2, 4, 8, 16, 32, 64
BITMAP_AT = 8192  # on the members of the 1.2 fixtures
STATES_AT = BITMAP_AT + 1024
DATA_AT = 1 << 20
MIXED = "1.2-raid5-4-lockless-mixed-crash"
HEADER_FIELDS = {"magic": 0, "version": 4, "uuid": 8, "events": 24, "events_cleared": 32, "sync_size": 40, "state": 48,
                 "chunksize": 52, "daemon_sleep": 56, "write_behind": 60, "sectors_reserved": 64, "nodes": 68}


def validator():
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store["bitmap.schema.json"]
    return jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store))


VALIDATOR = validator()


def classic_file(bits, chunk_bytes, sync_size):
    """An external bitmap: header and one byte per eight chunks."""
    header = struct.pack("<II16sQQQIIIIII", 0x6d746962, 4, bytes(range(16)), 30, 28, sync_size, 0, chunk_bytes, 5, 0, 0, 0)
    return header.ljust(256, b"\0") + bits


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Bitmap(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-bitmap-"))
        self.addCleanup(shutil.rmtree, self.scratch)

    def fixture(self, name):
        members = []
        for packed in sorted((SOURCE / "tests" / "fixtures" / name).glob("*.img.zst")):
            members.append(self.scratch / packed.stem)
            subprocess.run(["zstd", "-q", "-d", "-f", str(packed), "-o", str(members[-1])], check=True)
        return members

    def mdtool(self, *arguments, locale="C"):
        return subprocess.run([MDTOOL, "bitmap", *map(os.fsencode, map(str, arguments))], capture_output=True, timeout=60,
                              check=False, stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": locale})

    def document(self, *arguments, status):
        ran = self.mdtool(*arguments, "--json")
        document = json.loads(ran.stdout)
        VALIDATOR.validate(document)
        self.assertEqual((document["exit"], ran.returncode), (status, status), ran.stdout[:2000])
        return document

    def bitmap(self, *arguments, status):
        return self.document("show", *arguments, status=status)["arrays"][0]["bitmap"]

    def patch(self, member, offset, data):
        with open(member, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def test_show_lockless(self):
        bitmap = self.bitmap(*self.fixture(MIXED), status=ATTENTION)
        self.assertEqual((bitmap["format"], bitmap["version"], bitmap["trust"]), ("lockless", 6, "believed"))
        self.assertEqual((bitmap["chunks"], bitmap["chunk_bytes"], bitmap["sync_bytes"]), (48, 65536, 48 * 65536))
        self.assertEqual({state: n for state, n in bitmap["states"].items() if n}, {"unwritten": 44, "clean": 3, "dirty": 1})
        self.assertEqual((bitmap["due_chunks"], bitmap["due_bytes"], bitmap["differing_chunks"]), (1, 65536, 0))
        self.assertEqual((bitmap["sync_range"], bitmap["header"]["daemon_sleep_seconds"]), ("member", 30))
        self.assertEqual([copy["used"] for copy in bitmap["copies"]], [True] * 4)

    def test_show_classic(self):
        members = self.fixture("1.2-raid5-4-classic-crash")
        bitmap = self.bitmap(*members, status=ATTENTION)
        self.assertEqual((bitmap["format"], bitmap["version"], bitmap["header"]["events_cleared"]), ("classic", 4, 18))
        self.assertEqual((bitmap["states"]["dirty"], bitmap["due_bytes"]), (5, 5 * 65536))
        text = self.mdtool("show", *members).stdout.decode()
        for words in ("classic (version 4)", "bits cleared up to 18; the array's are 19", "5 chunks, 320 KiB (327680 bytes)"):
            self.assertIn(words, text)
        self.bitmap(*self.fixture("1.2-raid5-4-classic-clean"), status=FINE)

    def test_copy_that_is_not_used(self):
        members = self.fixture("1.2-raid5-4-classic-stale-member")
        bitmap = self.bitmap(*members, status=ATTENTION)
        ignored = [copy for copy in bitmap["copies"] if not copy["used"]]
        self.assertEqual([(copy["path"], copy["member_state"], copy["header"]["events"]) for copy in ignored],
                         [(str(members[1]), "stale", 18)])
        self.assertEqual(ignored[0]["differing_chunks"], 29)
        self.assertEqual(sum(d["chunks"] for d in ignored[0]["differences"]), 29)
        for difference in ignored[0]["differences"]:
            self.assertEqual((difference["state"], difference["merged_state"]), ("dirty", "clean"))
        self.assertEqual((bitmap["differing_chunks"], bitmap["due_chunks"]), (0, 3))
        self.assertIn("is not used: the member is not", self.mdtool("show", *members).stdout.decode())

    def test_copies_that_differ(self):
        members = self.fixture("1.2-raid5-4-lockless-clean")
        self.bitmap(*members, status=FINE)
        self.patch(members[2], STATES_AT + 20, b"\3\3")
        bitmap = self.bitmap(*members, status=ATTENTION)
        self.assertEqual((bitmap["differing_chunks"], bitmap["due_chunks"], bitmap["states"]["need_sync"]), (2, 2, 2))
        differing = {copy["path"]: copy["differences"] for copy in bitmap["copies"]}
        self.assertEqual(differing[str(members[2])], [])
        self.assertEqual([(d["first_chunk"], d["chunks"], d["offset_bytes"], d["length_bytes"], d["merged_state"])
                          for d in differing[str(members[0])]], [(20, 2, 20 * 65536, 2 * 65536, "need_sync")])
        self.assertIn("differ in 2 chunks", self.mdtool("show", *members).stdout.decode())

    def test_map_lists_ranges(self):
        members = self.fixture(MIXED)
        (array,) = self.document("map", *members, status=ATTENTION)["arrays"]
        states = (members[0].read_bytes())[STATES_AT:STATES_AT + 48]
        names = ["unwritten", "clean", "dirty"]
        drawn = [(r["first_chunk"] + i, r["state"]) for r in array["ranges"] for i in range(r["chunks"])]
        self.assertEqual(drawn, [(i, names[state]) for i, state in enumerate(states)])
        self.assertEqual(array["ranges_left_out"], 0)
        end = array["ranges"][-1]
        self.assertEqual(end["offset_bytes"] + end["length_bytes"], 48 * 65536)

    def test_map_draws(self):
        members = self.fixture(MIXED)
        states = (members[0].read_bytes())[STATES_AT:STATES_AT + 48]
        for locale, marks in ("C", ".cD"), ("C.UTF-8", "\u00b7\u2591\u2592"):
            text = self.mdtool("map", *members, locale=locale).stdout.decode()
            self.assertIn("      0  " + "".join(marks[state] for state in states) + "\n", text)
            self.assertIn(marks[2] + "  dirty      1 ", text)
        large = self.mdtool("map", *self.fixture("1.2-raid5-3-lockless-3300-crash")).stdout.decode().splitlines()
        self.assertIn("one cell is 4 chunks (256 KiB)", large[1])
        self.assertLessEqual(max(map(len, large)), 80)
        self.assertEqual([line for line in large if "D" in line.split()[-1][:64]][0].split()[0], str(12 * 64 * 4 * 65536))

    def test_copy_is_drawn_alone(self):
        members = self.fixture("1.2-raid5-4-classic-stale-member")
        document = self.document("map", "--copy", members[1], *members, status=ATTENTION)
        self.assertEqual([(r["chunks"], r["state"]) for r in document["arrays"][0]["ranges"]], [(32, "dirty")])
        self.assertEqual(document["copy"], str(members[1]))
        self.assertIn("32 ", self.mdtool("map", "--copy", members[1], *members).stdout.decode())
        self.assertTrue(self.document("map", "--copy", "nothing", *members, status=USAGE)["error"])

    def test_svg(self):
        members, svg = self.fixture(MIXED), self.scratch / "map.svg"
        before = [digest(member) for member in members]
        document = self.document("map", "--svg", svg, *members, status=ATTENTION)
        self.assertEqual(document["svg"], str(svg))
        root = xml.etree.ElementTree.fromstring(svg.read_bytes())
        titles = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
        self.assertIn("bytes 1310720 to 1376255, chunks 20 to 20: dirty", titles)
        self.assertIn("lockless bitmap", titles[0])
        self.assertEqual(len(titles), 1 + len(document["arrays"][0]["ranges"]))
        drawn = svg.read_bytes()
        self.assertNotIn(b"href", drawn)
        self.assertEqual(self.mdtool("map", "--svg", svg, *self.fixture("1.2-raid5-4-classic-crash")).returncode,
                         REFUSED)
        self.assertEqual(svg.read_bytes(), drawn)
        self.fixture(MIXED)
        self.assertEqual(self.mdtool("map", "--svg", members[0], "--force", "overwrite", *members).returncode,
                         REFUSED)
        self.assertEqual([digest(member) for member in members], before)
        svg.write_bytes(b"x" * 100000)
        self.assertEqual(self.mdtool("map", "--svg", svg, "--force", "overwrite", *members).returncode, ATTENTION)
        self.assertEqual(svg.read_bytes(), drawn)

    def test_bitmap_file(self):
        file = self.scratch / 'a <b>&"\x1b.bitmap'
        file.write_bytes(classic_file(bytes([0b00000110, 0b1]), 4096, 72).ljust(1024, b"\0"))
        (shown,) = self.document("show", file, status=ATTENTION)["files"]
        self.assertEqual((shown["bitmap"]["chunks"], shown["bitmap"]["due_bytes"]), (9, 3 * 4096))
        self.assertIsNone(shown["bitmap"]["array_events"])
        ran = self.mdtool("map", "--svg", self.scratch / "map.svg", file)
        self.assertEqual(ran.returncode, ATTENTION)
        self.assertIn(b"cDDcccccD", ran.stdout)
        self.assertNotIn(b"\x1b", ran.stdout)
        root = xml.etree.ElementTree.fromstring((self.scratch / "map.svg").read_bytes())
        self.assertIn('a <b>&"\\x1b.bitmap', root.find("{http://www.w3.org/2000/svg}title").text)

    def test_no_bitmap(self):
        members = self.fixture("1.2-raid5-4-none-clean")
        self.assertIsNone(self.document("show", *members, status=UNCORRECTED)["arrays"][0]["bitmap"])
        self.document("map", *members, status=UNCORRECTED)
        self.assertIn("bitmap         none", self.mdtool("show", *members).stdout.decode())
        zeros = self.scratch / "zeros"
        zeros.write_bytes(bytes(65536))
        document = self.document("show", zeros, status=UNCORRECTED)
        self.assertEqual([f["id"] for f in document["findings"]], ["no-bitmap"])

    def test_usage(self):
        members = self.fixture(MIXED)
        other = self.scratch / "other"
        other.write_bytes(classic_file(bytes(2), 4096, 72).ljust(1024, b"\0"))
        svg = self.scratch / "map.svg"
        for arguments in (["show"], ["draw", *members], ["show", "--svg", svg, *members], ["show", "--copy", members[0], *members],
                          ["map", "--svg", svg, other, *members]):
            self.assertTrue(self.document(*arguments, status=USAGE)["error"])
            self.assertFalse(svg.exists())
        document = self.document("map", other, *members, status=ATTENTION)
        self.assertEqual((len(document["arrays"]), len(document["files"])), (1, 1))

    def test_options_belong_to_actions(self):
        members = self.fixture(MIXED)
        before = [digest(member) for member in members]
        for arguments, words in [(["show", "--dry-run"], "--dry-run is for bitmap add, remove, convert or repair"),
                                 (["check", "--yes"], "--yes is for"), (["map", "--undo=none"], "--undo is for"),
                                 (["show", "--bitmap=lockless"], "--bitmap is for bitmap add or convert"),
                                 (["remove", "--bitmap=none"], "--bitmap is for bitmap add or convert"),
                                 (["repair", "--bitmap-chunk=64"], "--bitmap-chunk is for bitmap add or convert"),
                                 (["add", "--from=/nothing"], "--from is for bitmap convert"),
                                 (["check", "--svg=x"], "--svg is for bitmap map"),
                                 (["remove", "--force=overwrite"], "--force is for bitmap map, add or convert"),
                                 (["convert"], "into what?"), (["add", "--bitmap=none"], "bitmap remove"),
                                 (["add", "--bitmap=dots"], "a slash"), (["add", "--bitmap-chunk=0"], "a size"),
                                 (["add", "--bitmap-chunk=4X"], "a size"), (["convert", "--offset=8K"], "sectors"),
                                 (["add", "--bitmap=./file", "--offset=8"], "--offset is for"),
                                 (["add", "--with=plan"], "--dry-run"), (["frob"], "expected show, map, check, add")]:
            error = self.document(*arguments, *members, status=USAGE)["error"]["text"]
            self.assertIn(words, error, arguments)
        self.assertIn("which has known holes", " ".join(self.mdtool("show", *members).stdout.decode().split()))
        for action in "check", "add", "remove", "convert", "repair":
            self.assertIn("which members?", self.document(action, status=USAGE)["error"]["text"])
        self.assertEqual([digest(member) for member in members], before)

    def changed(self, *arguments):
        """Planned, which writes nothing; applied; once more, which has nothing left to do."""
        members = arguments[-1]
        before = [digest(member) for member in members]
        planned = self.document(*arguments[:-1], "--dry-run", *members, status=FINE)
        self.assertEqual((planned["written"], [digest(member) for member in members]), (False, before))
        self.assertEqual(planned["action"], arguments[0])
        self.assertIn("--yes", self.document(*arguments[:-1], *members, status=REFUSED)["error"]["text"])
        undo = self.scratch / "undo"
        undo.unlink(missing_ok=True)
        done = self.document(*arguments[:-1], "--yes", "--undo", undo, *members, status=FINE)
        self.assertTrue(done["written"])
        after = [digest(member) for member in members]
        again = self.document(*arguments[:-1], "--yes", "--undo=none", *members, status=FINE)
        self.assertEqual((again["written"], [digest(member) for member in members]), (False, after))
        return planned, undo

    def undone(self, undo, members, before):
        subprocess.run([MDTOOL, "undo", "--yes", undo], check=True, capture_output=True)
        self.assertEqual([digest(member) for member in members], before)

    def test_add(self):
        members = self.fixture("1.2-raid5-4-none-clean")
        before = [digest(member) for member in members]
        planned, undo = self.changed("add", "--bitmap-chunk=64", members)
        self.assertEqual({patch["purpose"] for stage in planned["plan"]["stages"] for patch in stage}, {"superblock", "bitmap"})
        bitmap = self.bitmap(*members, status=FINE)
        self.assertEqual((bitmap["format"], bitmap["chunk_bytes"], bitmap["due_chunks"]), ("classic", 65536, 0))
        self.undone(undo, members, before)
        _, undo = self.changed("add", "--bitmap=lockless", members)
        bitmap = self.bitmap(*members, status=FINE)
        self.assertEqual((bitmap["format"], bitmap["states"]["clean"]), ("lockless", bitmap["chunks"]))
        self.undone(undo, members, before)

    def test_add_a_file(self):
        members, file, undo = self.fixture("1.2-raid5-4-none-clean"), self.scratch / "bits", self.scratch / "undo"
        before = [digest(member) for member in members]
        for target in (undo, self.scratch / "." / "undo"):
            done = self.document("add", f"--bitmap={target}", "--yes", "--undo", undo, *members, status=FINE)
            self.assertEqual((done["written"], done["undo_file"]), (True, None))
            undo.unlink()
        text = self.mdtool("add", f"--bitmap={file}", "--yes", "--undo", undo, *members).stdout.decode()
        self.assertIn(f"bitmap add: done, the file {file} written", " ".join(text.split()))
        self.assertNotIn("Metadata as it was", text)
        self.assertEqual(([digest(member) for member in members], undo.exists()), (before, False))
        content = file.read_bytes()
        self.document("add", f"--bitmap={file}", "--yes", *members, status=FINE)
        self.document("add", f"--bitmap={file}", "--bitmap-chunk=8", "--yes", *members, status=REFUSED)
        self.assertEqual(file.read_bytes(), content)
        text = self.mdtool("add", f"--bitmap={file}", "--bitmap-chunk=8", "--force=overwrite", "--dry-run", *members).stdout.decode()
        self.assertIn("is replaced: what it holds now is lost, no undo file has it", " ".join(text.split()))

    def test_remove(self):
        members = self.fixture("1.2-raid5-4-classic-clean")
        before = [digest(member) for member in members]
        _, undo = self.changed("remove", members)
        self.assertIsNone(self.document("show", *members, status=UNCORRECTED)["arrays"][0]["bitmap"])
        self.undone(undo, members, before)

    def test_convert(self):
        members = self.fixture("1.2-raid5-4-classic-crash")
        before = [digest(member) for member in members]
        (array,) = self.document("map", *members, status=ATTENTION)["arrays"]
        due = [(r["offset_bytes"], r["offset_bytes"] + r["length_bytes"]) for r in array["ranges"] if r["state"] == "dirty"]
        _, undo = self.changed("convert", "--bitmap=lockless", members)
        (array,) = self.document("map", *members, status=ATTENTION)["arrays"]
        self.assertEqual(array["bitmap"]["format"], "lockless")
        still = [(r["offset_bytes"], r["offset_bytes"] + r["length_bytes"]) for r in array["ranges"] if r["state"] == "need_sync"]
        for first, end in due:
            self.assertTrue(any(low <= first and end <= high for low, high in still), (due, still))
        self.undone(undo, members, before)
        self.changed("convert", "--offset=40", "--bitmap-chunk=128K", members)
        bitmap = self.bitmap(*members, status=ATTENTION)
        self.assertEqual((bitmap["format"], bitmap["chunk_bytes"]), ("classic", 131072))

    def test_a_file_and_back(self):
        members, file = self.fixture("1.2-raid5-4-classic-crash"), self.scratch / "array.bitmap"
        before = self.bitmap(*members, status=ATTENTION)
        self.document("convert", f"--bitmap={file}", "--yes", "--undo=none", *members, status=FINE)
        self.document("show", *members, status=UNCORRECTED)
        (shown,) = self.document("show", file, status=ATTENTION)["files"]
        self.assertEqual(shown["bitmap"]["due_bytes"], before["due_bytes"])
        content = file.read_bytes()
        self.document("convert", f"--from={file}", "--yes", "--undo=none", *members, status=FINE)
        after = self.bitmap(*members, status=ATTENTION)
        self.assertEqual((after["due_bytes"], after["chunk_bytes"]), (before["due_bytes"], before["chunk_bytes"]))
        self.assertEqual(file.read_bytes(), content)
        missing = self.document("convert", f"--from={file}.gone", "--yes", *members, status=OPERATIONAL)
        self.assertIn("No such file", missing["error"]["text"])

    def test_a_plan_above_a_plan(self):
        members, plan = self.fixture("1.2-raid5-4-none-clean"), self.scratch / "plan.json"
        plan.write_bytes(self.mdtool("add", "--dry-run", "--json", *members).stdout)
        document = self.document("convert", "--bitmap=lockless", "--dry-run", "--with", plan, *members, status=FINE)
        self.assertFalse(document["written"])

    def test_degraded(self):
        for name, arguments in (("1.2-raid5-4-lockless-clean", ["remove"]), ("1.2-raid5-4-classic-clean", ["convert", "--bitmap=lockless"])):
            members = self.fixture(name)
            before = [digest(member) for member in members]
            error = self.document(*arguments, "--yes", "--undo=none", *members[1:], status=REFUSED)["error"]["text"]
            self.assertIn("degraded", error)
            self.assertEqual([digest(member) for member in members], before)

    def test_repair(self):
        members = self.fixture("1.2-raid5-4-lockless-clean")
        for member in members:  # what infection makes of a RAID-5's header in one block with states
            header = member.read_bytes()[BITMAP_AT:BITMAP_AT + 512]
            self.patch(member, BITMAP_AT, header.translate(bytes.maketrans(b"\0\1\7", b"\3\2\2")))
        self.assertEqual(self.bitmap(*members, status=UNCORRECTED)["trust"], "rejected")
        self.changed("repair", members)
        bitmap = self.bitmap(*members, status=ATTENTION)
        self.assertEqual((bitmap["version"], bitmap["trust"], bitmap["chunk_bytes"]), (6, "believed", 65536))
        sound = self.fixture("1.2-raid5-4-lockless-assume-clean")
        before = [digest(member) for member in sound]
        self.mdtool("repair", "--yes", "--undo=none", *sound)
        self.assertEqual([digest(member) for member in sound], before)

    def test_check(self):
        members = self.fixture("1.2-raid5-4-lockless-clean")
        data = self.document("check", *members, status=FINE)
        self.assertEqual((data["doubts"], data["chunks_read"], data["cure"]), ([], 48, None))
        self.assertIn("48 of 48 chunks", self.mdtool("check", *members).stdout.decode())
        for chunk, state in (4, 1), (5, 1), (9, 7):
            for member in members:
                self.patch(member, STATES_AT + chunk, bytes([state]))
            self.patch(members[2], DATA_AT + chunk * 65536 + 8192, os.urandom(4096))
        for member in members:
            self.patch(member, STATES_AT + 20, b"\0\3")
        before = [digest(member) for member in members]
        document = self.document("check", *members, status=UNCORRECTED)
        found = [(d["kind"], d["state"], d["first_chunk"], d["last_chunk"], d["offset_bytes"], d["length_bytes"]) for d in document["doubts"]]
        self.assertEqual(found[:2], [("wrong-parity-clean", "clean", 4, 5, 4 * 65536, 2 * 65536),
                                     ("wrong-parity-clean-unwritten", "clean_unwritten", 9, 9, 9 * 65536, 65536)])
        self.assertLessEqual(set(found[2:]), {("data-in-unwritten", "unwritten", 20, 20, 20 * 65536, 65536)})
        self.assertEqual((document["chunks"], document["chunks_read"]), (48, 47))
        text = self.mdtool("check", *members).stdout.decode()
        self.assertIn("    chunks 4 to 5: bytes 262144 + 131072\n", text)
        self.assertLessEqual(max(map(len, text.splitlines())), 80)
        self.assertIn("build-parity --all", document["cure"])
        self.assertEqual([digest(member) for member in members], before)
        cure = [MDTOOL, *document["cure"].split()[1:], "--yes", "--undo=none"]
        self.assertIn(subprocess.run(cure, capture_output=True, check=False).returncode, (FINE, CORRECTED))
        self.document("check", *members, status=FINE)

    def test_check_is_interrupted(self):
        members = [self.scratch / f"m{slot}.img" for slot in range(3)]
        for member in members:
            with open(member, "wb") as file:
                file.truncate(16 << 30)
        for command in (["create", "--level=5", "--raid-devices=3", "--bitmap=none", "--assume-clean"], ["bitmap", "add", "--bitmap=lockless"]):
            subprocess.run([MDTOOL, *command, "--yes", "--undo=none", *members], check=True, capture_output=True)
        with subprocess.Popen([MDTOOL, "bitmap", "check", "--json", "--progress=json", *members], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stderr.readline()
            process.send_signal(signal.SIGINT)
            document = json.loads(process.communicate(timeout=60)[0])
        VALIDATOR.validate(document)
        self.assertEqual((document["exit"], process.returncode, document["interrupted"]), (INTERRUPTED, INTERRUPTED, True))
        self.assertLess(document["chunks_read"], document["chunks"])

    def test_check_is_refused(self):
        for members in self.fixture("1.2-raid5-4-lockless-clean")[1:], self.fixture("1.2-raid5-4-classic-clean"):
            before = [digest(member) for member in members]
            self.assertTrue(self.document("check", *members, status=REFUSED)["error"]["text"])
            self.assertEqual([digest(member) for member in members], before)

    def test_damaged_headers(self):
        for name in MIXED, "1.2-raid5-4-classic-crash":
            members = self.fixture(name)
            good = [member.read_bytes() for member in members]
            for field, offset in HEADER_FIELDS.items():
                for value in (b"\0" * 4, b"\xff" * 4, b"\x01\0\0\0"):
                    for member in members:
                        self.patch(member, BITMAP_AT + offset, value)
                    ran = self.mdtool("map" if value[0] else "show", *members, "--json")
                    document = json.loads(ran.stdout)
                    VALIDATOR.validate(document)
                    self.assertEqual(document["exit"], ran.returncode)
                    self.assertLess(len(ran.stdout), 1000000)
                    if field in ("magic", "uuid", "version"):
                        self.assertEqual(ran.returncode & UNCORRECTED, UNCORRECTED, (name, field, value))
                    for member, content in zip(members, good):
                        self.patch(member, BITMAP_AT + offset, content[BITMAP_AT + offset:BITMAP_AT + offset + 4])

    def test_reason_of_a_refusal(self):
        members = self.fixture(MIXED)
        for member in members:
            self.patch(member, BITMAP_AT + 4, b"\7")
        bitmap = self.bitmap(*members, status=UNCORRECTED)
        self.assertEqual((bitmap["format"], bitmap["trust"], bitmap["states"]), ("unknown", "rejected", None))
        self.assertIn("version 7", bitmap["trust_reason"])
        ran = self.mdtool("map", *members)
        self.assertEqual(ran.returncode, UNCORRECTED)
        self.assertIn(b"version 7 is neither", ran.stdout)
        svg = self.scratch / "map.svg"
        self.assertTrue(self.document("map", "--svg", svg, *members, status=OPERATIONAL)["error"])
        self.assertFalse(svg.exists())

    def test_output_is_bounded(self):
        file = self.scratch / "many.bitmap"
        chunks = 4_000_000
        file.write_bytes(classic_file(b"\x55" * (chunks // 8), 4096, chunks * 8).ljust(512 << 10, b"\0"))
        ran = self.mdtool("map", "--json", file)
        (drawn,) = json.loads(ran.stdout)["files"]
        self.assertEqual((len(drawn["ranges"]), drawn["ranges_left_out"]), (65536, chunks - 65536))
        self.assertLess(len(ran.stdout), 20_000_000)
        ran = self.mdtool("map", "--svg", self.scratch / "map.svg", file)
        self.assertLess(len(ran.stdout), 4000)
        self.assertLess((self.scratch / "map.svg").stat().st_size, 1_000_000)
        self.assertIn(b"one cell is 4096 chunks", ran.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
