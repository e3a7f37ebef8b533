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
KILLS = 2
ATTEMPTS = 12  # for each of them
LONGEST_DELAY = 0.3  # seconds from the first write to the signal, at first


def sparse_members(one, shape, member_mib=MEMBER_MIB):
    """Large enough that a run takes a while; garbage here and there only."""
    members = lab.Members(shape)
    generator = one.random("garbage", one.name)
    islands = [generator.randrange(2, member_mib - 4) << 20 for _ in range(40)]
    for slot in range(shape.slots):
        path = one.place(one.name, f"m{slot}.img")
        with open(path, "wb") as file:
            file.truncate(member_mib << 20)
        for island in islands:
            ondisk.write_at(path, island, generator.randbytes(1 << 20))
        members.paths.append(path)
    return members


def last_changes(members):
    return [os.stat(path).st_mtime_ns for path in members.paths]


class Attempts:
    """Runs that get a signal once they have begun to write. One that ends all the same is taken back, and the next gets its
    signal sooner after its first write: how fast the machine is, and what else it does, decides nothing."""

    def __init__(self, one, verb, members, *options):
        self.one, self.verb, self.members, self.options = one, verb, members, options
        self.untouched = members.copy_to(one.place(one.name, "untouched"))
        self.random = one.random("delays", one.name)
        self.longest = LONGEST_DELAY
        self.runs = 0

    def cut_short(self, how):
        """(exit status, what it said) of one run."""
        self.runs += 1
        undo = self.one.place("undo", self.one.name, f"{self.runs}.undo")
        before = last_changes(self.members)
        process = subprocess.Popen([self.one.options.mdtool, self.verb, "--yes", "--undo", undo, *self.options, *self.members.paths],
                                   text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while process.poll() is None and last_changes(self.members) == before:
            time.sleep(0.0005)
        time.sleep(self.random.uniform(0, self.longest))
        process.send_signal(how)
        said, _ = process.communicate(timeout=300)
        if process.returncode in (0, 1):
            self.longest /= 2
            self.untouched.copy_to(os.path.dirname(self.members.paths[0]))
        return process.returncode, said

    def until_cut(self, how):
        """The same of the first run that did not end by itself."""
        for _ in range(ATTEMPTS):
            status, said = self.cut_short(how)
            if status not in (0, 1):
                return status, said
        self.one.require(False, f"{ATTEMPTS} runs, and each ended before {how.name} came")


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
    end = "stop md0" if verb == "build-parity" else "pattern storm /dev/md0 9 800000 40000 &\nunder_way md0\nsleep 0.3\ncrash"
    one.boot(f"{shape.create('md0', lab.letters(0, SLOTS))}\nsettle md0\n{end}\n", members.paths)
    content = one.content(members)
    attempts = Attempts(one, verb, members)
    interrupted(one, attempts)
    for number in range(KILLS):
        status, said = attempts.until_cut(signal.SIGKILL)
        one.expect_equal(status, -signal.SIGKILL, f"status of the killed run {number} ({said[-300:]})")
        _, array, _ = one.examine(members.paths)
        one.expect_equal(array["verdict"], "assembles", f"verdict after kill {number}")
        if number % 2:
            assembles(one, members, f"after kill {number}")
    one.note(f"one interrupted and {KILLS} killed in the middle, of {attempts.runs} runs")
    status, document = one.mdtool(verb, "--yes", "--undo", one.place("undo", one.name, "last.undo"), *members.paths)
    one.expect(status in (0, 1), f"the last run: {status} ({document.get('error')})")
    one.expect_equal(one.wrong_rows(members), [], "rows with wrong parity in the end")
    one.expect_equal(one.content(members), content, "data blocks")
    one.expect_settled(members)
    answers = one.boot(f"assemble md0 {lab.letters(0, SLOTS)}\nat_rest md0\ncheck md0\nstop md0\n", members.paths)
    one.expect_at_rest(answers, "md0")
    one.expect_equal(answers.get("md0.mismatches"), "0", "mismatch_cnt in the end")


def interrupted(one, attempts):
    status, said = attempts.until_cut(signal.SIGINT)
    one.expect(status > 0 and status & 32, f"exit status after SIGINT: {status} ({said[-300:]})")
    one.expect(re.search("same command|same line|again", said), f"it does not say how to go on: {said[-300:]}")
    assembles(one, attempts.members, "after SIGINT")


def run(one):
    for turn in range(one.rounds):
        for verb, bitmap in (("resync", "none"), ("build-parity", "lockless")):
            one.run(f"{turn} {verb} {bitmap}", cut_to_pieces, verb, bitmap)
