#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""assemble and stop, where FUSE is: the file's content is the array's, and nothing stays behind.

Usage: serve_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import json
import pathlib
import signal
import subprocess
import sys
import tempfile

import jsonschema

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])


def run(*arguments):
    return subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False)


def validate(document):
    folder = SOURCE / "schema"
    store = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    schema = store[document["mdtool"]["command"] + ".schema.json"]
    resolver = jsonschema.RefResolver("", schema, store=store)
    jsonschema.Draft201909Validator(schema, resolver=resolver).validate(document)


def check(condition, *about):
    if not condition:
        raise AssertionError(about)


def digests(folder):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())]


def in_the_background(members, expected, at):
    ran = run("assemble", members, "--at", at, "--json")
    document = json.loads(ran.stdout)
    try:
        validate(document)
        check(ran.returncode == 0 and document["at"] == str(at), document)
        check(at.stat().st_size == expected["size_bytes"])
        check(hashlib.sha256(at.read_bytes()).hexdigest() == expected["content_sha256"], "content differs")
        again = run("assemble", members, "--at", at, "--json")
        check(again.returncode == 64, again.stdout)
    finally:
        stopped = run("stop", at, "--json")
    validate(json.loads(stopped.stdout))
    check(stopped.returncode == 0, stopped.stdout)
    check(not at.exists(), "the file made by assemble is still there")
    check(run("stop", at).returncode != 0, "stopped twice")


def in_the_foreground(members, expected, at):
    process = subprocess.Popen([MDTOOL, "assemble", str(members), "--at", str(at), "--foreground"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        check(b"array" in process.stdout.readline())
        check(at.stat().st_size == expected["size_bytes"])
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    check(process.returncode == 0, process.returncode)
    check(not at.exists(), "the file made by assemble is still there")


def main():
    fixture = SOURCE / "tests" / "fixtures" / "1.2-raid5-4-lockless-clean"
    expected = json.loads((fixture / "expected.json").read_text())
    with tempfile.TemporaryDirectory(prefix="mdtool-serve-") as scratch:
        members = pathlib.Path(scratch) / "members"
        members.mkdir()
        for packed in sorted(fixture.glob("*.img.zst")):
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(members / packed.stem)], check=True)
        before = digests(members)
        in_the_background(members, expected, pathlib.Path(scratch) / "served")
        in_the_foreground(members, expected, pathlib.Path(scratch) / "served")
        check(before == digests(members), "a command that only looks changed a member")


if __name__ == "__main__":
    main()
