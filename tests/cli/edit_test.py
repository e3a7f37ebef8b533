#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans of metadata edits: tried in memory with --with, and read from files that nobody has to trust.

Usage: edit_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
FIXTURES = SOURCE / "tests" / "fixtures"
ATTENTION, UNCORRECTED, OPERATIONAL, USAGE, REFUSED = 2, 4, 8, 16, 64

SUPERBLOCK = 4096  # of metadata 1.2
SET_NAME, DEV_NUMBER, EVENTS, SB_CSUM, MAX_DEV = 32, 160, 200, 216, 220
HEAD = 256


def digests(folder):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def validate(document):
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store[document["mdtool"]["command"] + ".schema.json"]
    jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store)).validate(document)


def superblock(member):
    """The 1.2 superblock and its roles, as they are in the image."""
    image = member.read_bytes()[SUPERBLOCK:SUPERBLOCK + 4096]
    return image[:HEAD + 2 * struct.unpack_from("<I", image, MAX_DEV)[0]]


def sealed(block):
    """With the checksum right: the sum of all words, its own as zero, folded once."""
    block = bytearray(block)
    struct.pack_into("<I", block, SB_CSUM, 0)
    words = len(block) // 4
    total = sum(struct.unpack_from(f"<{words}I", block))
    if len(block) % 4:
        total += struct.unpack_from("<H", block, words * 4)[0]
    struct.pack_into("<I", block, SB_CSUM, ((total & 0xffffffff) + (total >> 32)) & 0xffffffff)
    return bytes(block)


def renamed(block, name):
    return sealed(block[:SET_NAME] + name.encode().ljust(32, b"\0") + block[SET_NAME + 32:])


def with_events(block, events):
    return sealed(block[:EVENTS] + struct.pack("<Q", events) + block[EVENTS + 8:])


def with_role(block, number, slot):
    at = HEAD + 2 * number
    return sealed(block[:at] + struct.pack("<H", slot) + block[at + 2:])


def events_of(block):
    return struct.unpack_from("<Q", block, EVENTS)[0]


def plan_document(members, patches):
    """As a dry run prints it. `patches`: (index of the member, byte offset, before, after)."""
    return {"mdtool": {"format": 1, "version": "any", "command": "set"}, "exit": 0, "findings": [], "arrays": [],
            "dry_run": True, "written": False, "undo_file": None,
            "plan": {"steps": ["a step"], "costs": [], "next": [],
                     "members": [{"path": str(m), "file": os.path.realpath(m), "offset_bytes": 0,
                                  "size_bytes": m.stat().st_size, "device": m.stat().st_dev,
                                  "inode": m.stat().st_ino, "device_uuid": None} for m in members],
                     "stages": [[{"member": member, "purpose": "superblock", "offset_bytes": offset,
                                  "length_bytes": len(before), "fields": [],
                                  "before": before.hex(), "after": after.hex()}
                                 for member, offset, before, after in patches]]}}


class Edits(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-edit-"))
        self.addCleanup(shutil.rmtree, self.scratch)
        self.environment = {**os.environ, "XDG_STATE_HOME": str(self.scratch / "state")}

    def run_mdtool(self, *arguments, **options):
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env=self.environment, **options)

    def document(self, *arguments, status=None):
        ran = self.run_mdtool(*arguments, "--json")
        document = json.loads(ran.stdout)
        validate(document)
        self.assertEqual(document["exit"], ran.returncode)
        if status is not None:
            self.assertEqual(ran.returncode, status, document)
        return document

    def unpack(self, name):
        members = self.scratch / "members"
        members.mkdir()
        for packed in sorted((FIXTURES / name).glob("*.img.zst")):
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(members / packed.stem)], check=True)
        self.members = sorted(members.iterdir())
        self.before = digests(members)
        self.addCleanup(self.check_untouched, members)
        return self.members

    def check_untouched(self, members):
        self.assertEqual(digests(members), self.before)

    def save(self, document, name="plan.json"):
        path = self.scratch / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    def rename_plan(self, members, name):
        blocks = [superblock(m) for m in members]
        return plan_document(members, [(i, SUPERBLOCK, b, renamed(b, name)) for i, b in enumerate(blocks)])


class TryBefore(Edits):
    def test_examine_shows_the_array_as_it_would_be(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        plan = self.save(self.rename_plan(members, "here:tried"))
        document = self.document("examine", "--with", plan, *members, status=0)
        self.assertEqual([a["name"] for a in document["arrays"]], ["here:tried"])
        self.assertEqual(document["arrays"][0]["verdict"], "assembles")
        notes = [f for f in document["findings"] if f["id"] == "tried-in-memory"]
        self.assertEqual([f["severity"] for f in notes], ["note"])
        self.assertIn(str(plan), notes[0]["text"])
        text = self.run_mdtool("examine", "--with", plan, *members).stdout.decode()
        self.assertIn("tried", text)
        self.assertNotEqual(self.document("examine", *members)["arrays"][0]["name"], "here:tried")

    def test_forced_member_is_read(self):
        members = self.unpack("1.2-raid5-4-none-just-failed")[:3]
        whole = self.scratch / "whole"
        self.document("copy", *self.members, "--to", whole, status=ATTENTION)
        self.assertEqual(self.document("examine", *members)["arrays"][0]["verdict"], "needs-force")
        blocks = [superblock(m) for m in members]
        top = max(map(events_of, blocks))
        stale, = [b for b in blocks if events_of(b) < top]
        number = struct.unpack_from("<I", stale, DEV_NUMBER)[0]
        forced = [with_role(with_events(b, top), number, 2) for b in blocks]
        plan = self.save(plan_document(members, [(i, SUPERBLOCK, blocks[i], forced[i]) for i in range(3)]))
        content = self.scratch / "content"
        self.document("copy", *members, "--to", content, status=REFUSED)
        document = self.document("copy", "--with", plan, *members, "--to", content, status=ATTENTION)
        self.assertEqual(document["array"]["verdict"], "degraded")
        self.assertIn("tried-in-memory", [f["id"] for f in document["findings"]])
        self.assertEqual(content.read_bytes(), whole.read_bytes())  # nothing was written after the member failed

    def test_superblock_where_none_is(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        block = superblock(members[2])
        image = bytearray(members[2].read_bytes())
        image[SUPERBLOCK:SUPERBLOCK + 4096] = bytes(4096)
        members[2].write_bytes(image)
        self.before = digests(members[0].parent)
        self.assertEqual(self.document("examine", *members)["arrays"][0]["verdict"], "degraded")
        plan = self.save(plan_document([members[2]], [(0, SUPERBLOCK, bytes(len(block)), block)]))
        document = self.document("examine", "--with", plan, *members, status=0)
        self.assertEqual(document["arrays"][0]["verdict"], "assembles")
        self.assertEqual(document["devices"], [])
        self.assertNotIn("no-superblock", [f["id"] for f in document["findings"]])

    def test_plans_are_stacked_in_order(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        first = self.rename_plan(members, "one")
        blocks = [renamed(superblock(m), "one") for m in members]
        second = plan_document(members, [(i, SUPERBLOCK, b, renamed(b, "two")) for i, b in enumerate(blocks)])
        one, two = self.save(first, "one.json"), self.save(second, "two.json")
        document = self.document("examine", "--with", one, "--with", two, *members, status=0)
        self.assertEqual([a["name"] for a in document["arrays"]], ["two"])
        self.assertEqual([f["id"] for f in document["findings"]].count("tried-in-memory"), 2)
        document = self.document("examine", "--with", two, "--with", one, *members, status=REFUSED)
        self.assertIn("other bytes", document["error"]["text"])

    def test_member_is_found_under_another_name_and_in_a_slice(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        plan = self.save(self.rename_plan(members, "tried"))
        link = self.scratch / "link.img"
        link.symlink_to(members[0])
        document = self.document("examine", "--with", plan, link, *members[1:], status=0)
        self.assertEqual(document["arrays"][0]["name"], "tried")
        size = members[0].stat().st_size
        whole = self.scratch / "disk.img"
        whole.write_bytes(bytes(1 << 20) + members[0].read_bytes())
        made = json.loads(plan.read_text())
        made["plan"]["members"][0].update(file=str(whole), offset_bytes=1 << 20)
        plan = self.save(made)
        document = self.document("examine", "--with", plan, f"{whole}@{1 << 20}+{size}", *members[1:], status=0)
        self.assertEqual(document["arrays"][0]["name"], "tried")
        document = self.document("examine", "--with", plan, *members, status=REFUSED)
        self.assertIn(str(whole), document["error"]["text"])

    def test_refuses_other_bytes_and_other_members(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        made = self.rename_plan(members, "tried")
        patch = made["plan"]["stages"][0][1]
        patch["before"] = patch["before"][:80] + ("00" if patch["before"][80:82] != "00" else "01") + patch["before"][82:]
        plan = self.save(made)
        to = self.scratch / "content"
        for line in (["examine"], ["copy", "--to", to], ["assemble", "--dry-run", "--at", self.scratch / "at"]):
            with self.subTest(line=line):
                document = self.document(*line, "--with", plan, *members, status=REFUSED)
                self.assertIn("other bytes", document["error"]["text"])
                self.assertIn(f"byte {SUPERBLOCK + 40}", document["error"]["text"])
                self.assertIn(members[1].name, document["error"]["text"])
                self.assertEqual(document.get("arrays", []), [])
        self.assertFalse(to.exists())
        plan = self.save(self.rename_plan(members, "tried"))
        document = self.document("examine", "--with", plan, *members[1:], status=REFUSED)
        self.assertIn(members[0].name, document["error"]["text"])
        members[0].write_bytes(members[0].read_bytes() + bytes(512))
        self.before = digests(members[0].parent)
        document = self.document("examine", "--with", plan, *members, status=REFUSED)
        self.assertIn("bytes", document["error"]["text"])

    def test_is_not_for_writing(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        plan = self.save(self.rename_plan(members, "tried"))
        for option in ("--read-write", f"--overlay={self.scratch / 'overlay'}"):
            with self.subTest(option=option):
                document = self.document("assemble", option, "--yes", "--at", self.scratch / "at", "--with", plan,
                                         *members, status=REFUSED)
                self.assertIn("mdtool undo", document["error"]["text"])
        self.assertFalse((self.scratch / "overlay").exists())


class HostilePlans(Edits):
    def assert_refused(self, members, plan, status, *words):
        document = self.document("examine", "--with", plan, *members, status=status)
        for word in words:
            self.assertIn(word, document["error"]["text"])
        self.assertLess(len(document["error"]["text"]), 1000)

    def test_is_no_plan(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        made = json.dumps(self.rename_plan(members, "tried"))
        texts = {"empty": "", "no json": "#!/bin/sh\n", "cut": made[:len(made) // 2], "more": made + "{}",
                 "list": "[]", "number": "7", "nothing in it": "{}", "deep": "[" * 100000,
                 "deep and closed": '{"a":' * 50000 + "1" + "}" * 50000, "many": "[" + "1," * 1500000 + "1]",
                 "another format": made.replace('"format": 1', '"format": 2'), "NUL": "\0" * 100,
                 "an examination": json.dumps(self.document("examine", *members))}
        for name, text in texts.items():
            with self.subTest(name=name):
                self.assert_refused(members, self.save(text), OPERATIONAL, "--with", "no plan of mdtool's")
        self.assert_refused(members, self.scratch / "missing.json", OPERATIONAL, "No such file")
        self.assert_refused(members, self.scratch, OPERATIONAL, "directory")

    def test_parts_that_do_not_fit(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        size = members[0].stat().st_size

        def spoiled(change):
            made = self.rename_plan(members, "tried")
            change(made["plan"], made["plan"]["stages"][0][0], made["plan"]["members"][0])
            return self.save(made)

        changes = {
            "no stages": lambda plan, patch, member: plan.pop("stages"),
            "stages no list": lambda plan, patch, member: plan.update(stages={}),
            "stage no list": lambda plan, patch, member: plan.update(stages=[{}]),
            "patch no object": lambda plan, patch, member: plan.update(stages=[[1]]),
            "members no list": lambda plan, patch, member: plan.update(members="m0"),
            "no member": lambda plan, patch, member: plan.update(members=[]),
            "steps no texts": lambda plan, patch, member: plan.update(steps=[1]),
            "file no text": lambda plan, patch, member: member.update(file=1),
            "member beyond": lambda plan, patch, member: patch.update(member=4),
            "member negative": lambda plan, patch, member: patch.update(member=-1),
            "member a fraction": lambda plan, patch, member: patch.update(member=0.5),
            "offset beyond": lambda plan, patch, member: patch.update(offset_bytes=size - 10),
            "offset overflows": lambda plan, patch, member: patch.update(offset_bytes=2**64 - 10),
            "offset no 64 bits": lambda plan, patch, member: patch.update(offset_bytes=2**64),
            "length wrong": lambda plan, patch, member: patch.update(length_bytes=patch["length_bytes"] + 1),
            "after shorter": lambda plan, patch, member: patch.update(after=patch["after"][2:]),
            "half a byte": lambda plan, patch, member: patch.update(after=patch["after"][1:]),
            "no hex": lambda plan, patch, member: patch.update(before="zz" + patch["before"][2:]),
            "before no text": lambda plan, patch, member: patch.update(before=None),
            "purpose missing": lambda plan, patch, member: patch.pop("purpose"),
        }
        for name, change in changes.items():
            with self.subTest(name=name):
                self.assert_refused(members, spoiled(change), OPERATIONAL, "no plan of mdtool's")

    def test_control_bytes_of_a_plan_stay_off_the_terminal(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        made = self.rename_plan(members, "tried")
        made["plan"]["members"][0]["file"] = "/\x1b[2J\nevil"
        ran = self.run_mdtool("examine", "--with", self.save(made), *members)
        self.assertEqual(ran.returncode, REFUSED)
        self.assertNotIn(b"\x1b", ran.stdout + ran.stderr)
        self.assertNotIn(b"\nevil", ran.stderr)


class Applied(Edits):
    """What every verb has from EditCommand, shown with `set`: it changes all members, and any field."""

    def setUp(self):
        super().setUp()
        self.members = self.unpack("1.2-raid5-4-none-clean")
        self.images = {m: m.read_bytes() for m in self.members}
        self.undo = self.scratch / "undo.file"
        self.line = ["set", "--name", "other", *self.members]

    def assert_untouched(self):
        self.assertEqual({m: m.read_bytes() for m in self.members}, self.images)

    def check_untouched(self, _):
        """Each test here says what has changed."""

    def plan_extents(self, document):
        extents = {m: set() for m in self.members}
        for stage in document["plan"]["stages"]:
            for patch in stage:
                path = pathlib.Path(document["plan"]["members"][patch["member"]]["file"])
                first = patch["offset_bytes"]
                extents[path].update(range(first, first + patch["length_bytes"]))
        return extents

    def test_dry_run_shows_bytes_fields_and_verdict(self):
        document = self.document(*self.line, "--dry-run", status=0)
        self.assertEqual((document["dry_run"], document["written"], document["undo_file"]), (True, False, None))
        self.assertEqual([m["path"] for m in document["plan"]["members"]], [str(m) for m in self.members])
        for m in document["plan"]["members"]:
            status = os.stat(m["file"])
            self.assertEqual((m["device"], m["inode"], m["size_bytes"]), (status.st_dev, status.st_ino, status.st_size))
        for stage in document["plan"]["stages"]:
            for patch in stage:
                image = self.images[self.members[patch["member"]]]
                at = patch["offset_bytes"]
                self.assertEqual(bytes.fromhex(patch["before"]), image[at:at + patch["length_bytes"]])
                change, = [f for f in patch["fields"] if f["name"] == "set_name"]
                self.assertEqual(change["after"], "any:other")
        array, = document["arrays"]
        self.assertEqual((array["before"]["verdict"], array["after"]["verdict"]), ("assembles", "assembles"))
        self.assertEqual(array["after"]["name"], "any:other")
        text = self.run_mdtool(*self.line, "--dry-run").stdout.decode()
        for word in ("set_name", "->  any:other", "was assembles", f"inode {os.stat(self.members[0]).st_ino}", "--with"):
            self.assertIn(word, text)
        paths = [str(m) for m in self.members]
        self.assertEqual([line for line in text.splitlines() if len(line) > 80 and not any(p in line for p in paths)], [])
        self.assertEqual(list(self.scratch.glob("state/**/*.undo")), [])
        self.assert_untouched()

    def test_trying_shows_what_applying_does(self):
        plan = self.scratch / "plan.json"
        plan.write_bytes(self.run_mdtool(*self.line, "--dry-run", "--json").stdout)
        tried = self.document("examine", "--with", plan, *self.members)
        self.assert_untouched()
        document = self.document(*self.line, "--yes", "--undo", self.undo, status=0)
        self.assertEqual((document["written"], document["undo_file"]), (True, str(self.undo)))
        applied = self.document("examine", *self.members)
        del tried["findings"], applied["findings"]
        self.assertEqual(tried, applied)
        self.document("examine", "--with", plan, *self.members, status=REFUSED)
        extents = self.plan_extents(document)
        for m, image in self.images.items():
            now = m.read_bytes()
            self.assertEqual(len(now), len(image))
            changed = {i for i in range(len(now)) if now[i] != image[i]} if now != image else set()
            self.assertTrue(changed)
            self.assertLessEqual(changed, extents[m])
        again = self.document(*self.line, "--yes", status=0)
        self.assertEqual((again["written"], again["undo_file"], again["plan"]["stages"]), (False, None, []))
        self.document("undo", "--yes", self.undo)
        self.assert_untouched()

    def test_plans_above_plans(self):
        plan = self.scratch / "plan.json"
        plan.write_bytes(self.run_mdtool(*self.line, "--dry-run", "--json").stdout)
        second = self.scratch / "second.json"
        second.write_bytes(self.run_mdtool("set", "--name", "third", "--with", plan, "--dry-run", "--json",
                                           *self.members).stdout)
        made = json.loads(second.read_text())
        self.assertEqual(made["arrays"][0]["before"]["name"], "any:other")
        document = self.document("examine", "--with", plan, "--with", second, *self.members)
        self.assertEqual(document["arrays"][0]["name"], "any:third")
        document = self.document(*self.line, "--with", plan, "--yes", status=USAGE)
        self.assertIn("--dry-run", document["error"]["text"])
        self.assert_untouched()

    def test_asks_before_it_writes(self):
        document = self.document(*self.line, "--undo", self.undo, status=REFUSED)
        self.assertIn("--yes", document["error"]["text"])
        self.assertEqual((document["written"], document["undo_file"]), (False, None))
        self.assertFalse(self.undo.exists())
        self.assert_untouched()

    def test_undo_file_that_cannot_be_made(self):
        self.undo.write_text("something else")
        document = self.document(*self.line, "--yes", "--undo", self.undo)
        self.assertEqual(document["exit"] & (OPERATIONAL | REFUSED), document["exit"])
        self.assertFalse(document["written"])
        self.assertEqual(self.undo.read_text(), "something else")
        self.assert_untouched()

    def test_no_undo_file_where_none_is_wanted(self):
        document = self.document(*self.line, "--yes", "--undo", "none", status=0)
        self.assertEqual((document["written"], document["undo_file"]), (True, None))

    def test_member_in_use_is_refused_before_anything_is_written(self):
        holder = subprocess.Popen([sys.executable, "-c", HOLD, self.members[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.stdin.close)
        self.addCleanup(holder.stdout.close)
        self.assertEqual(holder.stdout.readline(), b"held\n")
        document = self.document(*self.line, "--yes", "--undo", self.undo, status=REFUSED)
        self.assertIn(str(self.members[2]), document["error"]["text"])
        self.assertFalse(self.undo.exists())
        self.assert_untouched()

    def test_write_that_fails_after_others(self):
        disk = self.scratch / "disk.img"
        disk.write_bytes(bytes(1 << 20) + self.images[self.members[3]])
        self.images[disk] = disk.read_bytes()
        part = f"{disk}@{1 << 20}+{len(self.images[self.members[3]])}"
        line = ["set", "--name", "other", *self.members[:3], part, "--yes", "--json"]

        def no_large_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))

        ran = self.run_mdtool(*line, "--undo", self.undo, preexec_fn=no_large_files)
        document = json.loads(ran.stdout)
        validate(document)
        self.assertEqual((ran.returncode, document["exit"]), (OPERATIONAL, OPERATIONAL))
        self.assertEqual((document["written"], document["undo_file"]), (True, str(self.undo)))
        for word in (part, f"mdtool undo {self.undo}", "same command"):
            self.assertIn(word, document["error"]["text"])
        self.assertNotEqual(self.members[2].read_bytes(), self.images[self.members[2]])
        self.assertEqual(disk.read_bytes(), self.images[disk])
        second = self.scratch / "second.undo"
        self.assertEqual(self.run_mdtool(*line, "--undo", second).returncode, 0)
        names = {s["fields"]["set_name"] for a in json.loads(self.run_mdtool("examine", *self.members[:3], part, "--json")
                                                             .stdout)["arrays"]
                 for m in a["members"] for s in m["superblocks"]}
        self.assertEqual(names, {"any:other"})
        self.document("undo", "--yes", "--undo", "none", second)
        self.document("undo", "--yes", "--undo", "none", self.undo)
        self.assertEqual(disk.read_bytes(), self.images.pop(disk))
        self.assert_untouched()

    def test_targets_are_members(self):
        document = self.document("set", "--name", "x", "--target", self.scratch / "no.img", *self.members, "-n", status=USAGE)
        self.assertIn("no.img", document["error"]["text"])
        link = self.scratch / "link.img"
        link.symlink_to(self.members[1])
        document = self.document("erase", "--target", link, "--target", self.members[1], *self.members, "-n", status=0)
        self.assertEqual([m["path"] for m in document["plan"]["members"]], [str(self.members[1])])
        missing = self.document(*self.line, self.scratch / "no.img", "-n", status=OPERATIONAL)
        self.assertIn("leave it out", missing["error"]["text"])
        self.assert_untouched()


# An open file description's lock on the whole file, until standard input ends: as another mdtool that writes.
HOLD = """
import fcntl, struct, sys
file = open(sys.argv[1], "r+b")
fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
print("held", flush=True)
sys.stdin.read()
"""


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
