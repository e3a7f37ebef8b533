#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every folder in tests/fixtures with an expected.json: what the kernel and mdadm say of it, mdtool says too.

Usage: fixtures_test.py MDTOOL FIXTURES [NAME_PART]
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

MDTOOL, FIXTURES, PART = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""

ARRAY_KEYS = ["metadata", "uuid", "name", "level", "layout", "raid_devices", "chunk_bytes", "size_bytes", "clean",
              "verdict"]
# What the kernel makes of each state when it loads a bitmap after an unclean stop (Reload).
AFTER_RELOAD = {"dirty": "need_sync", "syncing": "need_sync", "need_sync_unwritten": "unwritten",
                "syncing_unwritten": "unwritten", "invalid": "need_sync"}


def unpack(fixture, folder):
    for packed in sorted(fixture.glob("*.img.zst")):
        subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(folder / packed.stem)], check=True)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def reloaded(states):
    counts = dict.fromkeys((key for key in states if key not in AFTER_RELOAD), 0)
    for state, count in states.items():
        counts[AFTER_RELOAD.get(state, state)] += count
    return counts


def run(*arguments):
    return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False)


class Fixture(unittest.TestCase):
    def __init__(self, fixture):
        super().__init__()
        self.fixture = fixture

    def __str__(self):
        return self.fixture.name

    def runTest(self):
        expected = json.loads((self.fixture / "expected.json").read_text())
        with tempfile.TemporaryDirectory(prefix="mdtool-fixture-") as scratch:
            members = pathlib.Path(scratch) / "members"
            members.mkdir()
            unpack(self.fixture, members)
            before = digests(members)
            array = self.examine(members)
            self.compare_array(expected, array)
            self.compare_members(expected["members"], array["members"])
            self.compare_bitmap(expected["bitmap"], array["bitmap"])
            self.copy(expected, members, pathlib.Path(scratch) / "content")
            self.assertEqual(before, digests(members), "a command that only looks changed a member")

    def examine(self, members):
        ran = run("examine", "--json", members)
        document = json.loads(ran.stdout)
        self.assertEqual(ran.returncode, document["exit"])
        self.assertEqual(len(document["arrays"]), 1)
        return document["arrays"][0]

    def compare_array(self, expected, array):
        for key in ARRAY_KEYS:
            if key in expected:
                with self.subTest(key=key):
                    self.assertEqual(array[key], expected[key])

    def compare_members(self, expected, members):
        def row(path, member):
            # A lazy recovery that was cut off leaves a mark of all ones: mdadm calls it recovering, but nothing is missing.
            state = "in-sync" if member.get("recovery_offset_sectors") == "max" else member["state"]
            return (path or "-", str(member["slot"]), member["role"], state)

        found = [row(member["path"] and pathlib.Path(member["path"]).name, member) for member in members]
        with self.subTest(key="members"):
            self.assertEqual(sorted(found), sorted(row(member["file"], member) for member in expected))

    def compare_bitmap(self, expected, bitmap):
        with self.subTest(key="bitmap.kind"):
            self.assertEqual(bitmap["kind"], expected["kind"])
        for key in ["chunk_bytes", "chunks", "dirty_chunks"]:
            if expected.get(key) is not None:
                with self.subTest(key="bitmap." + key):
                    self.assertEqual(bitmap[key], expected[key])
        if expected.get("stale") is not None:
            with self.subTest(key="bitmap.stale"):
                self.assertEqual(bitmap["trust"] == "stale", expected["stale"])
        if expected.get("states") is not None:
            with self.subTest(key="bitmap.states"):
                states = reloaded(bitmap["states"]) if expected["states_after_reload"] else bitmap["states"]
                wanted = reloaded(expected["states"]) if expected["states_after_reload"] else expected["states"]
                self.assertEqual(states, wanted)

    def copy(self, expected, members, to):
        has_journal = any(member["role"] == "journal" for member in expected["members"])
        known_level = expected["level"] in ("raid4", "raid5", "raid6")
        with self.subTest(key="copy"):
            if has_journal or not known_level or expected["content_sha256"] is None:
                ran = run("copy", members, "--to", to)
                self.assertEqual(ran.returncode, 64, ran.stderr)
                self.assertFalse(to.exists(), "a refused copy left a file")
            # What a journal holds after a clean stop is on the members too; after a crash only a replay knows it.
            if has_journal and expected["content_note"] is None:
                self.compare_content(expected, to, run("copy", "--force", "ignore-journal", members, "--to", to))
            elif not has_journal and known_level and expected["content_sha256"] is not None:
                self.compare_content(expected, to, run("copy", members, "--to", to))

    def compare_content(self, expected, to, ran):
        # Clean, and refused for its bitmap: all of the content is there.
        healthy = expected["verdict"] in ("assembles", "needs-force") and expected["clean"]
        self.assertIn(ran.returncode, (0,) if healthy else (2,), ran.stderr)
        self.assertEqual(sha256(to), expected["content_sha256"])


def main():
    fixtures = [path.parent for path in sorted(FIXTURES.glob("*/expected.json")) if PART in path.parent.name]
    if not fixtures:
        print(f"no fixture in {FIXTURES}", file=sys.stderr)
        return 1
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(Fixture(fixture) for fixture in fixtures))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
