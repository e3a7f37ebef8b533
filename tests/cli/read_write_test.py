#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""assemble --read-write where FUSE is: what is written is there afterwards, and members are left in order.

Usage: read_write_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
FIXTURES = SOURCE / "tests" / "fixtures"
ATTENTION, CORRECTED, OPERATIONAL, USAGE, REFUSED = 2, 1, 8, 16, 64
HEALTHY = ["0.90-raid6-5-classic-clean", "1.1-raid5-4-none-clean", "1.2-raid4-3-none-clean",
           "1.2-raid5-4-classic-clean", "1.2-raid5-4-lockless-clean"]


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def validate(document):
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store[document["mdtool"]["command"] + ".schema.json"]
    jsonschema.Draft201909Validator(schema, resolver=jsonschema.RefResolver("", schema, store=store)).validate(document)


class ReadWrite(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-rw-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.at = self.scratch / "array"
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.scratch), "XDG_STATE_HOME": str(self.scratch / "state")}
        self.addCleanup(self.run_mdtool, "stop", self.at)

    def run_mdtool(self, *arguments):
        return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                              stdin=subprocess.DEVNULL, env=self.environment)

    def document(self, *arguments, status):
        ran = self.run_mdtool(*arguments, "--json")
        document = json.loads(ran.stdout)
        validate(document)
        self.assertEqual(ran.returncode, status, document)
        self.assertEqual(document["exit"], status)
        return document

    def unpack(self, name):
        members = self.scratch / "members"
        shutil.rmtree(members, ignore_errors=True)
        members.mkdir()
        for packed in sorted((FIXTURES / name).glob("*.img.zst")):
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(members / packed.stem)], check=True)
        return members

    def write(self, offset, data, path=None):
        with open(path or self.at, "r+b") as array:
            array.seek(offset)
            array.write(data)
            array.flush()
            os.fsync(array.fileno())

    def content(self, members, *options):
        copy = self.scratch / "copy"
        copy.unlink(missing_ok=True)
        self.assertIn(self.run_mdtool("copy", *options, members, "--to", copy).returncode, (0, ATTENTION))
        return copy.read_bytes()

    def examine(self, members):
        return json.loads(self.run_mdtool("examine", "--json", members).stdout)["arrays"][0]

    def test_write_and_stop(self):
        for name in HEALTHY:
            with self.subTest(fixture=name):
                members = self.unpack(name)
                expected = bytearray(self.content(members))
                document = self.document("assemble", "-w", "--yes", members, "--at", self.at, status=0)
                self.assertTrue(document["read_write"])
                self.assertEqual(os.stat(self.at).st_mode & 0o777, 0o600)
                for offset, data in [(1000, b"odd"), (300 * 1024, os.urandom(777 * 1024))]:
                    self.write(offset, data)
                    expected[offset:offset + len(data)] = data
                self.assertEqual(self.at.read_bytes(), bytes(expected))
                self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
                self.assertFalse(self.at.exists())
                array = self.examine(members)
                self.assertEqual((array["clean"], array["verdict"]), (True, "assembles"))
                self.assertEqual(len({member["events"] for member in array["members"]}), 1)
                self.assertEqual(self.content(members), bytes(expected))
                self.assertEqual(self.run_mdtool("resync", "--yes", members).returncode, 0)
                # Each member's part can be told from the others.
                next(members.iterdir()).unlink()
                self.assertEqual(self.content(members), bytes(expected))

    def test_only_read(self):
        members = self.unpack("1.2-raid5-4-lockless-clean")
        before = digests(members)
        self.document("assemble", "-w", "-y", members, "--at", self.at, status=0)
        self.at.read_bytes()
        self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
        self.assertEqual(before, digests(members))

    def test_dry_run_and_question(self):
        members = self.unpack("1.2-raid5-4-classic-clean")
        before = digests(members)
        document = self.document("assemble", "-w", "--dry-run", members, "--at", self.at, status=0)
        self.assertEqual(len(document["plan"]["members"]), 4)
        self.assertEqual({extent["purpose"] for extent in document["plan"]["members"][0]["may_write"]},
                         {"superblock", "bitmap", "data"})
        self.assertIn("cannot be undone", " ".join(document["plan"]["steps"]))
        self.document("assemble", "-w", members, "--at", self.at, status=REFUSED)
        self.assertFalse(self.at.exists())
        self.assertEqual(before, digests(members))

    def test_degraded(self):
        members = self.unpack("1.2-raid5-4-classic-clean")
        lost = members / "m1.img"
        stale = lost.read_bytes()
        lost.unlink()
        expected = bytearray(self.content(members))
        self.document("assemble", "-w", "-y", members, "--at", self.at, status=ATTENTION)
        self.write(0, b"x" * 1000000)
        expected[:1000000] = b"x" * 1000000
        self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
        lost.write_bytes(stale)
        self.assertEqual(self.examine(members)["verdict"], "degraded")
        self.assertEqual(self.content(members), bytes(expected))

    def test_run(self):
        members = self.unpack("1.2-raid5-4-classic-clean")
        ran = self.run_mdtool("assemble", "-w", "-y", members, "--run", 'printf hello | dd of="$MDTOOL_ARRAY" conv=notrunc,fsync')
        self.assertEqual((ran.returncode, ran.stdout), (0, b""), ran.stderr)
        self.assertEqual(self.content(members)[:5], b"hello")
        self.assertTrue(self.examine(members)["clean"])
        self.assertEqual([path.name for path in self.scratch.iterdir() if path.name.startswith("mdtool-")], [])
        document = self.document("assemble", members, "--run", "exit 3", status=OPERATIONAL)
        self.assertEqual(document["command_exit"], 3)
        ran = self.run_mdtool("assemble", members, "--run", 'head -c 5 "$MDTOOL_ARRAY"')
        self.assertEqual((ran.returncode, ran.stdout), (0, b"hello"))

    def test_overlay(self):
        members = self.unpack("1.2-raid5-4-lockless-clean")
        before, content = digests(members), self.content(members)
        for overlay, data in [("one", b"first"), ("two", b"other")]:
            self.document("assemble", f"--overlay={self.scratch / overlay}", members, "--run",
                          f'printf {data.decode()} | dd of="$MDTOOL_ARRAY" conv=notrunc,fsync 2>/dev/null', status=0)
            self.assertEqual(before, digests(members))
        for overlay, data in [("one", b"first"), ("two", b"other")]:
            ran = self.run_mdtool("assemble", f"--overlay={self.scratch / overlay}", members, "--run", 'cat "$MDTOOL_ARRAY"')
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertEqual(ran.stdout, data + content[5:])
        self.document("assemble", "-w", "-y", members, "--at", self.at, status=0)
        self.write(0, b"members")
        self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
        self.document("assemble", f"--overlay={self.scratch / 'one'}", members, "--run", "true", status=REFUSED)

    def test_overlay_at_its_usual_place(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        before = digests(members)
        document = self.document("assemble", "--overlay", members, "--run", "true", status=0)
        self.assertTrue(document["overlay"].startswith(str(self.scratch / "state")), document["overlay"])
        self.assertEqual(before, digests(members))

    def serve_in_foreground(self, members):
        process = subprocess.Popen([MDTOOL, "assemble", "-w", "-y", str(members), "--at", str(self.at), "--foreground"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        self.assertIn(b"array", process.stdout.readline())
        return process

    def test_sigterm(self):
        members = self.unpack("1.2-raid5-4-classic-clean")
        process = self.serve_in_foreground(members)
        self.write(4096, b"y" * 70000)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
        self.assertEqual(process.returncode, 0)
        self.assertIn(b"stopped", said)
        self.assertTrue(self.examine(members)["clean"])
        self.assertEqual(self.content(members)[4096:74096], b"y" * 70000)

    def test_sigkill_and_resync(self):
        for name in ["1.2-raid5-4-classic-clean", "1.2-raid5-4-none-clean", "1.2-raid5-4-lockless-clean"]:
            with self.subTest(fixture=name):
                members = self.unpack(name)
                expected = bytearray(self.content(members))
                process = self.serve_in_foreground(members)
                self.write(200 * 1024, b"z" * 300000)
                expected[200 * 1024:200 * 1024 + 300000] = b"z" * 300000
                process.kill()
                process.communicate(timeout=60)
                self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
                self.assertFalse(self.examine(members)["clean"])
                ran = self.run_mdtool("resync", "--yes", members, "--json")
                self.assertEqual(ran.returncode, CORRECTED, ran.stdout)
                self.assertTrue(self.examine(members)["clean"])
                self.assertEqual(self.content(members), bytes(expected))

    def test_dirty_array_is_synchronised(self):
        members = self.unpack("1.2-raid5-4-classic-crash")
        self.document("assemble", "-w", "-y", members, "--at", self.at, status=ATTENTION)
        log = time.monotonic() + 30
        while not self.examine(members)["clean"] and time.monotonic() < log:
            time.sleep(0.1)
        self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
        self.assertTrue(self.examine(members)["clean"])
        self.assertEqual(self.run_mdtool("resync", "--yes", members).returncode, 0)

    def test_log(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        log = self.scratch / "log"
        self.document("assemble", "-w", "-y", members, "--at", self.at, "--log", log, status=0)
        self.write(0, b"a")
        self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
        self.assertRegex(log.read_text(), r"^[0-9TZ:-]+ mdtool: stopped\n$")

    def server(self):
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        return int(next(line for line in mounts if f" {self.at} " in line).split("mdtool-")[-1].split(":")[0])

    def test_writers_are_refused_and_told_by_whom(self):
        for name, verb in [("1.2-raid5-4-none-crash", ("resync", "--yes")),
                           ("1.2-raid5-4-none-clean", ("build-parity", "--all", "--yes")),
                           ("1.2-raid5-4-none-clean", ("assemble", "-w", "-y", "--at", self.scratch / "again"))]:
            with self.subTest(verb=verb[0]):
                members = self.unpack(name)
                before = digests(members)
                ran = self.run_mdtool("assemble", f"--overlay={self.scratch / (name + verb[0])}", members, "--at", self.at)
                self.assertIn(ran.returncode, (0, ATTENTION), ran.stderr)
                ran = self.run_mdtool(*verb, members, "--json")
                self.assertEqual(ran.returncode & REFUSED, REFUSED, ran.stdout)
                text = json.loads(ran.stdout)["error"]["text"]
                self.assertRegex(text, rf"m0\.img: locked by process {self.server()} \({MDTOOL} assemble")
                self.assertIn(self.run_mdtool("examine", members).returncode, (0, ATTENTION))
                self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
                self.assertEqual(before, digests(members))

    def test_members_are_locked(self):
        members = self.unpack("1.2-raid5-4-none-dirty-degraded")
        self.document("assemble", "--force", "dirty-degraded", "-w", "-y", members, "--at", self.at, status=ATTENTION)
        text = self.document("assemble", f"--overlay={self.scratch / 'over'}", "--force", "dirty-degraded", members,
                             "--at", self.scratch / "again", status=REFUSED)["error"]["text"]
        self.assertIn(f"process {self.server()} (", text)

    def test_members_below_an_overlay_are_locked_for_writers(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        overlays = [f"--overlay={self.scratch / name}" for name in ("one", "two")]
        self.document("assemble", overlays[1], members, "--run", 'echo two >"$MDTOOL_ARRAY"', status=0)
        self.document("assemble", overlays[0], members, "--at", self.at, status=0)
        self.write(0, b"one")
        # Beside it: another overlay, and readers.
        self.document("assemble", overlays[1], members, "--run", 'grep -q two "$MDTOOL_ARRAY"', status=0)
        self.content(members, "--force", "overwrite")
        text = self.document("overlay", "commit", "--yes", self.scratch / "two", members, status=REFUSED)["error"]["text"]
        self.assertIn(f"process {self.server()} (", text)
        self.assertEqual(self.run_mdtool("stop", self.at).returncode, 0)
        self.document("overlay", "commit", "--yes", self.scratch / "two", members, status=0)
        self.assertEqual(self.content(members, "--force", "overwrite")[:4], b"two\n")

    def test_stop_tells_how_the_array_was_left(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        self.document("assemble", "-w", "-y", members, "--at", self.at, status=0)
        self.write(0, b"a")
        self.assertEqual(self.document("stop", self.at, status=0)["end"], "stopped")
        self.document("assemble", members, "--at", self.at, status=0)
        self.assertIsNone(self.document("stop", self.at, status=0)["end"])

    # A file that may not grow is a full disk: what goes to the overlay fails.
    def test_stop_tells_of_an_end_that_was_not_in_order(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        before = digests(members)
        limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 100; exec "$@"', "-", MDTOOL]
        started = subprocess.run([*limited, "assemble", f"--overlay={self.scratch / 'over'}", str(members), "--at",
                                  str(self.at)], capture_output=True, check=False, env=self.environment)
        self.assertEqual(started.returncode, 0, started.stderr)
        with self.assertRaises(OSError):
            self.write(0, os.urandom(2 << 20))
        document = self.document("stop", self.at, status=OPERATIONAL)
        self.assertIn("not closed in order", document["error"]["text"])
        self.assertIn("failed", document["end"])
        self.assertEqual(before, digests(members))

    def test_a_dead_server_is_told_of(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        self.document("assemble", "-w", "-y", members, "--at", self.at, status=0)
        self.write(0, b"a")
        server = self.server()
        os.kill(server, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while os.path.exists(f"/proc/{server}/fd/0") and time.monotonic() < deadline:
            time.sleep(0.01)
        text = self.document("assemble", "-w", "-y", members, "--at", self.at,
                             status=REFUSED | ATTENTION)["error"]["text"]
        self.assertIn(f"mdtool stop {self.at}", text)
        findings = self.document("stop", self.at, status=0)["findings"]
        self.assertEqual([finding["id"] for finding in findings], ["server-was-gone"])

    def test_memory_pressure_alarms_nobody(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        ran = self.run_mdtool("assemble", "--overlay", members, "--run", "true")
        self.assertNotIn(b"memory", ran.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
