#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What every verb of mdtool promises: help, exit status, one JSON document, a manual page, and untouched members.

Usage: conformance_test.py MDTOOL SOURCE_DIRECTORY MANUAL_DIRECTORY
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import jsonschema

MDTOOL, SOURCE, MANUAL = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
FIXTURES = SOURCE / "tests" / "fixtures"
ATTENTION, UNCORRECTED, OPERATIONAL, USAGE, INTERRUPTED, REFUSED = 2, 4, 8, 16, 32, 64
UUID = re.compile(r"^[0-9a-f]{8}(:[0-9a-f]{8}){3}$")


def run(*arguments, **options):
    return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                          stdin=subprocess.DEVNULL, **options)


def table_of_verbs():
    text = run("--help").stdout.decode()
    return re.findall(r"^  ([a-z-]+)  ", text[text.index("Verbs:"):text.index("Options:")], re.MULTILINE)


VERBS = table_of_verbs()
TAKES_MEMBERS = [verb for verb in VERBS if verb not in ("stop", "overlay", "undo", "restore")]
# These take members of any number of arrays, in any state, or of none.
TAKES_ANYTHING = ("examine", "bitmap", "create", "erase", "dump")


def validator(verb):
    folder = SOURCE / "schema"
    schema = json.loads((folder / f"{verb}.schema.json").read_text())
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    resolver = jsonschema.RefResolver("", schema, store=store)
    return jsonschema.Draft201909Validator(schema, resolver=resolver)


def line_for(verb, members, scratch):
    """A complete command line that changes nothing where it fails."""
    if verb in ("overlay", "bitmap"):
        return [verb, "show", *members]
    inside = sorted(pathlib.Path(members[0]).glob("*.img"))
    target = ["--target", inside[0] if inside else members[0], "--dry-run"]
    extra = {"examine": [], "assemble": ["--at", scratch / "served"], "copy": ["--to", scratch / "content"], "stop": [],
             "undo": [], "dump": ["--to", scratch / "dumped"], "set": ["--name", "other", "--dry-run"], "add": target,
             "remove": target, "fail": target, "re-add": target, "create": ["missing", "--level=5", "--dry-run"]}
    return [verb, *members, *extra.get(verb, ["--dry-run"])]


def digests(folder):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file()}


class Scratch(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-cli-"))
        self.addCleanup(shutil.rmtree, self.scratch)

    def unpack(self, name, to="members"):
        folder = self.scratch / to
        folder.mkdir(exist_ok=True)
        for packed in sorted((FIXTURES / name).glob("*.img.zst")):
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(folder / packed.stem)], check=True)
        return folder

    def document(self, *arguments, verb=None, status=None):
        ran = run(*arguments, "--json")
        document = json.loads(ran.stdout)
        validator(verb or arguments[0]).validate(document)
        self.assertEqual(document["exit"], ran.returncode)
        if status is not None:
            self.assertEqual(ran.returncode, status, document)
        return document


class EveryVerb(Scratch):
    def test_table_is_not_empty(self):
        for verb in ["examine", "assemble", "copy", "stop"]:
            self.assertIn(verb, VERBS)

    def test_help(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                ran = run(verb, "--help")
                self.assertEqual(ran.returncode, 0)
                self.assertIn(b"--json", ran.stdout)
                self.assertEqual(ran.stderr, b"")

    def test_bad_option(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                ran = run(*line_for(verb, ["member"], self.scratch), "--no-such-option")
                self.assertEqual(ran.returncode, USAGE)
                self.assertIn(b"--no-such-option", ran.stderr)
                self.assertEqual(ran.stdout, b"")
                document = self.document(verb, "--no-such-option", "member", status=USAGE)
                self.assertEqual(document["error"]["kind"], "usage")

    def test_options_with_nothing_behind_them(self):
        (self.scratch / "member").touch()
        for verb in VERBS:
            for option in sorted(set(re.findall(r"--[a-z-]+", run(verb, "--help").stdout.decode()))):
                with self.subTest(verb=verb, option=option):
                    ran = run(verb, f"{option}=", self.scratch / "member")
                    self.assertEqual((ran.returncode, ran.stdout), (USAGE, b""))
                    self.assertIn(f"{option}= ".encode(), ran.stderr)
            with_value = re.findall(r"(--[a-z-]+) [A-Z]+\b", run(verb, "--help").stdout.decode())
            self.assertIn("--progress", with_value)
            for option in with_value:
                if (verb, option) != ("set", "--homehost"):
                    with self.subTest(verb=verb, option=option, word=""):
                        document = self.document(verb, option, "", self.scratch / "member", status=USAGE)
                        self.assertIn(option, document["error"]["text"])

    def test_no_argument(self):
        for verb in VERBS:
            with self.subTest(verb=verb):
                self.document(verb, status=USAGE)

    def test_manual_page_and_completion(self):
        completion = (SOURCE / "completions" / "mdtool.bash").read_text()
        for verb in VERBS:
            with self.subTest(verb=verb):
                page = MANUAL / f"mdtool-{verb}.8"
                self.assertTrue(page.exists(), page)
                self.assertIn(f"mdtool-{verb}", (MANUAL / "mdtool.8").read_text().replace("\\-", "-"))
                self.assertRegex(completion, rf'words="[^"]*\b{verb}\b')
                for option in re.findall(r"--[a-z-]+", run(verb, "--help").stdout.decode()):
                    if option not in ("--help", "--progress"):
                        self.assertIn(option, page.read_text().replace("\\-", "-") + (MANUAL / "mdtool.8").read_text(), verb)
                    self.assertIn(option, completion, verb)

    def test_manual_pages_are_sound(self):
        for page in sorted(MANUAL.glob("*.8")):
            with self.subTest(page=page.name):
                lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", str(page)], capture_output=True,
                                      text=True, check=False)
                # scdoc's own: it puts .PP around every list and heading.
                complaints = [line for line in lint.stdout.splitlines() if "skipping paragraph macro: PP" not in line]
                self.assertEqual(complaints, [])

    def test_missing_member(self):
        for verb in TAKES_MEMBERS:
            with self.subTest(verb=verb):
                missing = self.scratch / "missing.img"
                document = self.document(*line_for(verb, [missing], self.scratch))
                self.assertTrue(document["exit"] & OPERATIONAL, document)
                told = json.dumps(document)
                self.assertIn("missing.img", told)
                self.assertIn("No such file or directory", told)

    def test_odd_members(self):
        (self.scratch / "empty").touch()
        (self.scratch / "tiny").write_bytes(b"\xfc\x4e\x2b\xa9" * 100)
        (self.scratch / "zeroes").write_bytes(bytes(1 << 20))
        (self.scratch / "folder").mkdir()
        for verb in TAKES_MEMBERS:
            with self.subTest(verb=verb):
                for name in ["empty", "tiny", "zeroes", "folder"]:
                    with self.subTest(member=name):
                        document = self.document(*line_for(verb, [self.scratch / name], self.scratch))
                        # Nothing to erase or to save is no failure.
                        expected = {"examine": UNCORRECTED, "bitmap": UNCORRECTED}.get(verb, REFUSED)
                        if verb not in ("erase", "dump") or document["exit"]:
                            self.assertTrue(document["exit"] & expected, document["exit"])
                        self.assertIn(name, json.dumps(document))

    def test_devices_that_are_no_members(self):
        os.mkfifo(self.scratch / "fifo")
        for verb in TAKES_MEMBERS:
            with self.subTest(verb=verb):
                for path in ["/dev/null", self.scratch / "fifo"]:
                    document = self.document(*line_for(verb, [path], self.scratch))
                    self.assertNotEqual(document["exit"], 0)

    @unittest.skipIf(os.geteuid() == 0 and not shutil.which("setpriv"), "root reads everything")
    def test_unreadable_member(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        secret = members / "m0.img"
        secret.chmod(0)
        self.scratch.chmod(0o755)
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
        for verb in TAKES_MEMBERS:
            with self.subTest(verb=verb):
                ran = subprocess.run([*prefix, MDTOOL, *map(str, line_for(verb, [secret], self.scratch)), "--json"],
                                     capture_output=True, timeout=60, check=False)
                document = json.loads(ran.stdout)
                self.assertTrue(ran.returncode & OPERATIONAL, document)
                self.assertIn("Permission denied", ran.stdout.decode())

    def test_failure_leaves_members_alone(self):
        members = self.unpack("1.2-raid5-4-none-two-lost")
        before = digests(members)
        for verb in TAKES_MEMBERS:
            with self.subTest(verb=verb):
                document = self.document(*line_for(verb, [members], self.scratch))
                if verb not in ("set", "bitmap", "create", "erase", "dump"):
                    self.assertEqual(document["exit"], UNCORRECTED if verb == "examine" else REFUSED, document)
                self.assertEqual(before, digests(members))
                self.assertFalse((self.scratch / "content").exists())

    def test_two_arrays(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        self.unpack("1.2-raid5-3-none-spare", to="other")
        for verb in [verb for verb in TAKES_MEMBERS if verb not in TAKES_ANYTHING]:
            with self.subTest(verb=verb):
                document = self.document(*line_for(verb, [members, self.scratch / "other"], self.scratch), status=REFUSED)
                self.assertIn("--uuid", document["error"]["text"])

    def test_full_output(self):
        for verb in TAKES_MEMBERS:
            with self.subTest(verb=verb):
                with open("/dev/full", "wb") as full:
                    ran = subprocess.run([MDTOOL, verb, "--help"], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
                self.assertEqual(ran.returncode, OPERATIONAL)
                self.assertIn(b"No space left on device", ran.stderr)


class TheProgram(Scratch):
    def test_help_and_version(self):
        self.assertEqual(run().stdout, run("--help").stdout)
        self.assertEqual(run().returncode, 0)
        self.assertRegex(run("--version").stdout, rb"^mdtool [0-9]+\.[0-9]+\.[0-9]+\n$")

    def test_unknown_verb(self):
        ran = run("exmaine", "member")
        self.assertEqual((ran.returncode, ran.stdout), (USAGE, b""))
        self.assertIn(b"exmaine", ran.stderr)
        document = json.loads(run("exmaine", "--json").stdout)
        self.assertEqual((document["exit"], document["error"]["kind"]), (USAGE, "usage"))

    def test_unknown_parity_kernel(self):
        ran = run("examine", self.scratch, env={**os.environ, "MDTOOL_PARITY": "abacus"})
        self.assertEqual(ran.returncode, USAGE)
        self.assertIn(b"MDTOOL_PARITY", ran.stderr)

    def test_closed_pipe(self):
        members = self.unpack("1.2-raid5-4-lockless-clean")
        process = subprocess.Popen([MDTOOL, "examine", "--json", str(members)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        process.stdout.close()
        said = process.stderr.read()
        process.stderr.close()
        self.assertIn(process.wait(timeout=60), (0, OPERATIONAL))
        self.assertNotIn(b"terminate", said)


class Members(Scratch):
    FIXTURE = "1.2-raid5-4-none-clean"

    def paths(self, document):
        return [member["path"] for member in document["arrays"][0]["members"]]

    def ids(self, document):
        return [finding["id"] for finding in document["findings"]]

    def test_directory_skips_other_files(self):
        members = self.unpack(self.FIXTURE)
        (members / "notes.txt").write_text("not a member")
        document = self.document("examine", members, status=0)
        self.assertEqual(self.paths(document), [str(members / f"m{i}.img") for i in range(4)])
        self.assertEqual(document["devices"], [])

    def test_same_member_twice(self):
        members = self.unpack(self.FIXTURE)
        os.link(members / "m0.img", members / "hard.img")
        os.symlink("m1.img", members / "soft.img")
        document = self.document("examine", members, members / "m2.img", status=0)
        self.assertEqual(len(self.paths(document)), 4)
        self.assertEqual(self.ids(document).count("member-twice"), 3)

    def test_names_that_look_like_syntax(self):
        members = self.unpack(self.FIXTURE)
        names = ["disk@0+4096", "[a,b]", "a,b", "-dash"]
        for i, name in enumerate(names):
            (members / f"m{i}.img").rename(members / name)
        ran = subprocess.run([MDTOOL, "examine", "--json", "--", *names], cwd=members, capture_output=True, check=False)
        self.assertEqual(ran.returncode, 0, ran.stdout)
        found = [os.path.basename(path) for path in self.paths(json.loads(ran.stdout))]
        self.assertEqual(sorted(found), sorted(names))

    def test_slices(self):
        members = self.unpack(self.FIXTURE)
        slices, offset = [], 4096
        with open(self.scratch / "all.img", "wb") as whole:
            whole.write(bytes(offset))
            for path in sorted(members.iterdir()):
                content = path.read_bytes()
                whole.write(content)
                slices.append(f"{self.scratch / 'all.img'}@{offset}+{len(content)}")
                offset += len(content)
        document = self.document("examine", *slices, status=0)
        self.assertEqual(self.paths(document), slices)
        self.assertEqual(document["arrays"][0]["verdict"], "assembles")
        beyond = self.document("examine", f"{self.scratch / 'all.img'}@4096+{offset}")
        self.assertTrue(beyond["exit"] & OPERATIONAL)

    def test_partitions(self):
        members = self.unpack(self.FIXTURE)
        start, content = 1 << 20, (members / "m0.img").read_bytes()
        entry = bytes([0, 0, 0, 0, 0xfd, 0, 0, 0]) + (start // 512).to_bytes(4, "little") + (
            len(content) // 512).to_bytes(4, "little")
        boot = bytes(446) + entry + bytes(48) + b"\x55\xaa"
        disk = self.scratch / "disk.img"
        disk.write_bytes(boot + bytes(start - len(boot)) + content + bytes(1 << 20))
        (members / "m0.img").unlink()
        document = self.document("examine", disk, members, status=0)
        self.assertIn(f"{disk}@{start}+{len(content)}", self.paths(document))
        self.assertEqual(document["devices"], [])

    def test_examine_goes_on_without_what_it_cannot_read(self):
        members = self.unpack(self.FIXTURE)
        document = self.document("examine", members, self.scratch / "missing.img")
        self.assertEqual(document["exit"], OPERATIONAL | ATTENTION)
        self.assertEqual(document["arrays"][0]["verdict"], "assembles")
        self.assertIn("member-unreadable", self.ids(document))

    def test_uuid_picks_one_array(self):
        members = self.unpack(self.FIXTURE)
        self.unpack("1.2-raid5-3-none-spare", to="other")
        both = self.document("examine", members, self.scratch / "other")
        self.assertEqual(len(both["arrays"]), 2)
        uuid = both["arrays"][1]["uuid"]
        self.assertRegex(uuid, UUID)
        one = self.document("examine", "--uuid", uuid, members, self.scratch / "other", status=0)
        self.assertEqual([array["uuid"] for array in one["arrays"]], [uuid])
        self.document("examine", "--uuid", "not-a-uuid", members, status=USAGE)

    def test_expected_bitmap_is_only_an_expectation(self):
        members = self.unpack("1.2-raid5-4-lockless-clean")
        document = self.document("examine", "--bitmap", "internal", members, status=ATTENTION)
        self.assertEqual(document["arrays"][0]["bitmap"]["kind"], "lockless")
        self.assertIn("bitmap-version-mismatch", self.ids(document))
        self.document("examine", "--bitmap", "lockless", members, status=0)

    def test_control_bytes_stay_away_from_the_terminal(self):
        members = self.unpack("0.90-raid5-3-none-clean")
        name = b"m\x1b[31m\xff\n.img"
        os.rename(members / "m0.img", os.fsencode(members) + b"/" + name)
        for arguments in [["examine", members], ["examine", "-v", members], ["examine", "--json", members],
                          ["copy", members, "--to", self.scratch / "out"]]:
            ran = run(*arguments, env={**os.environ, "LC_ALL": "C.UTF-8"})
            self.assertIn(ran.returncode, (0, ATTENTION))
            self.assertNotRegex(ran.stdout + ran.stderr, rb"[\x00-\x09\x0b-\x1f\x7f-\xff]")
        self.assertIn(b"m\\x1b[31m\\xff\\x0a.img", run("examine", members).stdout)

    def test_text_fits_a_terminal(self):
        members = self.unpack("1.2-raid6-5-lockless-dirty-degraded")
        ran = subprocess.run([MDTOOL, "examine", *sorted(os.listdir(members))], cwd=members, capture_output=True,
                             text=True, check=False)
        self.assertEqual([line for line in ran.stdout.splitlines() if len(line) > 80], [])


class AssembleReadWrite(Scratch):
    REFUSED_ARRAYS = ["1.2-raid5-4-none-two-lost", "1.2-raid5-4-none-dirty-degraded", "1.2-raid5-3-journal-clean",
                      "1.2-raid5-3-ppl-clean", "1.2-raid5-4-none-reshape", "1.2-raid10-4-none"]

    def test_refused_arrays_stay_as_they_are(self):
        for name in self.REFUSED_ARRAYS:
            members = self.unpack(name, to=name)
            before = digests(members)
            for how in [["--read-write", "--yes"], ["--overlay=" + str(self.scratch / "overlay")]]:
                with self.subTest(fixture=name, how=how):
                    document = self.document("assemble", *how, members, "--at", self.scratch / "served", status=REFUSED)
                    self.assertTrue(document["error"]["text"])
                    self.assertEqual(before, digests(members))
                    self.assertFalse((self.scratch / "served").exists())
                    self.assertFalse((self.scratch / "overlay").exists())

    def test_dry_run_opens_nothing_for_writing(self):
        members = self.unpack("1.2-raid6-5-classic-clean")
        before = digests(members)
        for path in members.iterdir():
            path.chmod(0o400)
        for how in [["--read-write"], ["--overlay=" + str(self.scratch / "overlay")]]:
            document = self.document("assemble", "--dry-run", *how, members, "--at", self.scratch / "served", status=0)
            self.assertTrue(document["dry_run"])
            self.assertEqual([member["slot"] for member in document["plan"]["members"]], [0, 1, 2, 3, 4])
        self.assertEqual(before, digests(members))
        self.assertEqual(list(self.scratch.iterdir()), [members])

    def test_somewhere_to_serve_is_needed(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        for how in [[], ["--read-write", "--yes"]]:
            self.document("assemble", *how, members, status=USAGE)

    def test_bitmap_files(self):
        bitmap = self.scratch / "bitmap"
        bitmap.write_bytes(bytes(8192))
        for name in ["1.2-raid5-4-classic-clean", "1.2-raid5-4-none-clean"]:
            with self.subTest(fixture=name):
                members = self.unpack(name, to=name)
                before = digests(members)
                self.document("assemble", "-w", "--yes", "--bitmap", bitmap, members, "--at", self.scratch / "served",
                              status=REFUSED)
                self.assertEqual(before, digests(members))
                self.assertEqual(bitmap.read_bytes(), bytes(8192))


class Copy(Scratch):
    def test_refuses_what_exists(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        to = self.scratch / "content"
        to.write_text("precious")
        self.document("copy", members, "--to", to, status=REFUSED)
        self.assertEqual(to.read_text(), "precious")
        self.document("copy", members, "--to", to, "--force", "overwrite", status=0)
        self.assertGreater(to.stat().st_size, 1 << 20)

    def test_never_writes_a_member(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        os.link(members / "m0.img", self.scratch / "alias")
        before = digests(members)
        for to in [members / "m0.img", self.scratch / "alias"]:
            document = self.document("copy", members, "--to", to, "--force", "overwrite", status=REFUSED)
            self.assertIn("one of the members", document["error"]["text"])
        self.assertEqual(before, digests(members))

    def test_degraded_equals_whole(self):
        members = self.unpack("1.2-raid5-4-lockless-clean")
        whole, degraded = self.scratch / "whole", self.scratch / "degraded"
        self.document("copy", members, "--to", whole, status=0)
        (members / "m2.img").unlink()
        document = self.document("copy", members, "--to", degraded, status=ATTENTION)
        self.assertTrue(document["degraded"])
        self.assertEqual(whole.read_bytes(), degraded.read_bytes())

    def test_names_what_is_uncertain(self):
        members = self.unpack("1.2-raid5-4-none-dirty-degraded")
        document = self.document("copy", members, "--to", self.scratch / "content", status=ATTENTION)
        self.assertTrue(document["uncertain"])
        self.assertGreater(sum(extent["length_bytes"] for extent in document["uncertain"]), 0)

    def test_no_room(self):
        members = self.unpack("1.2-raid5-4-none-clean")
        before = digests(members)
        ran = run("copy", members, "--to", self.scratch / "no" / "such" / "folder", "--json")
        self.assertEqual(ran.returncode, OPERATIONAL)
        self.assertIn("No such file or directory", json.loads(ran.stdout)["error"]["text"])
        self.assertEqual(before, digests(members))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
