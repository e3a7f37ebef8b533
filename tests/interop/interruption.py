# SPDX-License-Identifier: GPL-2.0-or-later
"""resync and build-parity killed and interrupted: the kernel takes the array at every point, and the same command goes on."""
import os
import re
import signal
import subprocess
import time

import lab
import ondisk
from lab import Shape

SLOTS, MEMBER_MIB = 8, 384
KILLS = 4


def sparse_members(one, shape):
    """Large enough that a run takes a while; garbage here and there only."""
    members = lab.Members(shape)
    generator = one.random("garbage", one.name)
    islands = [generator.randrange(2, MEMBER_MIB - 4) << 20 for _ in range(40)]
    for slot in range(shape.slots):
        path = one.place(one.name, f"m{slot}.img")
        with open(path, "wb") as file:
            file.truncate(MEMBER_MIB << 20)
        for island in islands:
            ondisk.write_at(path, island, generator.randbytes(1 << 20))
        members.paths.append(path)
    return members


def seconds_needed(one, verb, members):
    twin = members.copy_to(one.place(one.name, "twin"))
    os.sync()  # or the run would wait for what the copying has left
    started = time.monotonic()
    status, document = one.mdtool(verb, "--yes", "--undo", one.place("undo", one.name, "measured"), *twin.paths)
    seconds = time.monotonic() - started
    one.expect(status in (0, 1), f"{verb} uninterrupted: {status} ({document.get('error')})")
    one.expect_equal(one.wrong_rows(twin), [], "uninterrupted: wrong rows")
    for path in twin.paths:
        with open(path, "r+b") as file:
            file.truncate(0)
    return seconds


def cut_short(one, verb, members, number, seconds, how):
    """(exit status, what it said) of a run that gets a signal after `seconds`."""
    undo = one.place("undo", one.name, f"{number}.undo")
    process = subprocess.Popen([one.options.mdtool, verb, "--yes", "--undo", undo, *members.paths], text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(seconds)
    process.send_signal(how)
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def assembles(one, members, what):
    """Read-only, so that the kernel's own resync does not do mdtool's work."""
    answers = one.boot(f"assemble md0 --readonly {lab.letters(0, SLOTS)}\nmdadm --stop /dev/md0 >/dev/null 2>&1 || true\n",
                       members.paths)
    one.expect_equal((answers.get("md0.assembled"), answers.get("md0.degraded")), ("yes", "0"),
                     f"the kernel {what} ({answers.get('md0.said')})")


def cut_to_pieces(one, verb, bitmap):
    generator = one.random(verb, bitmap)
    shape = Shape(6, SLOTS, generator.choice(lab.RAID6_LAYOUTS), 64, bitmap=bitmap, bitmap_chunk_kib=256,
                  extra="" if verb == "build-parity" else "--assume-clean")
    members = sparse_members(one, shape)
    # The garbage makes P and Q wrong there; a cut in the middle of writes makes the array dirty.
    end = "stop md0" if verb == "build-parity" else "pattern storm /dev/md0 9 800000 40000 &\nsleep 0.3\ncrash"
    one.boot(f"{shape.create('md0', lab.letters(0, SLOTS))}\nsettle md0\n{end}\n", members.paths)
    content = one.content(members)
    whole = seconds_needed(one, verb, members)
    interrupted(one, verb, members, whole)
    killed = 0
    for number in range(KILLS):
        status, said = cut_short(one, verb, members, number, whole * generator.uniform(0.01, 0.12), signal.SIGKILL)
        one.expect(status in (0, 1, -signal.SIGKILL), f"run {number} ended with {status}: {said[-300:]}")
        killed += status == -signal.SIGKILL
        _, array, _ = one.examine(members.paths)
        one.expect_equal(array["verdict"], "assembles", f"verdict after kill {number}")
        if number % 2:
            assembles(one, members, f"after kill {number}")
    one.note(f"a whole run: {whole:.2f} s; {killed} of {KILLS} killed in the middle")
    one.expect(killed > 0, "no run was killed before it had ended")
    status, document = one.mdtool(verb, "--yes", "--undo", one.place("undo", one.name, "last.undo"), *members.paths)
    one.expect(status in (0, 1), f"the last run: {status} ({document.get('error')})")
    one.expect_equal(one.wrong_rows(members), [], "rows with wrong parity in the end")
    one.expect_equal(one.content(members), content, "data blocks")
    one.expect_settled(members)
    answers = one.boot(f"assemble md0 {lab.letters(0, SLOTS)}\nat_rest md0\ncheck md0\nstop md0\n", members.paths)
    one.expect_at_rest(answers, "md0")
    one.expect_equal(answers.get("md0.mismatches"), "0", "mismatch_cnt in the end")


def interrupted(one, verb, members, whole):
    status, said = cut_short(one, verb, members, "sigint", whole * 0.08, signal.SIGINT)
    if status in (0, 1):
        one.note("it had ended before the SIGINT")
        return
    one.expect(status > 0 and status & 32, f"exit status after SIGINT: {status} ({said[-300:]})")
    one.expect(re.search("same command|same line|again", said), f"it does not say how to go on: {said[-300:]}")
    assembles(one, members, "after SIGINT")


def run(one):
    for turn in range(one.rounds):
        for verb, bitmap in (("resync", "none"), ("build-parity", "lockless")):
            one.run(f"{turn} {verb} {bitmap}", cut_to_pieces, verb, bitmap)
