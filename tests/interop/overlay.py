# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrays served over an overlay file: the members stay as they are, whatever is done above them; and what a commit puts on
them is what was there above."""
import os
import signal
import subprocess
import time

import journaled
import lab
import serving

KILLS = 3
ATTEMPTS = 12  # for all of them
LONGEST_DELAY = 0.2  # seconds from the first write to the kill, at first


def served_over(one, array, overlay):
    at = one.place(one.name, f"served-{os.path.basename(overlay)}")
    return serving.Server(one, array.rest.present(), f"--overlay={overlay}", at=at)


def pattern(one, verb, *words):
    done = subprocess.run([one.options.pattern, verb, *map(str, words)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def write(one, target, seed, first, count):
    status, said = pattern(one, "write", target, seed, first, count)
    one.require(status == 0, f"pattern write: {said}")


def holds(one, target, seed, first, count, what):
    one.expect_equal(pattern(one, "check", target, seed, first, count), (0, ""), f"{what}: content from sector {first}")


def two_at_once(one, array, overlays):
    """Two overlays over the same members at a time, and neither sees the other's writes."""
    filled = array.filled
    with served_over(one, array, overlays[0]) as first, served_over(one, array, overlays[1]) as second:
        write(one, first.at, 21, 100, 900)
        write(one, second.at, 22, 500, 1200)
        holds(one, first.at, 21, 100, 900, "the first overlay")
        holds(one, first.at, journaled.BASELINE, 1000, filled - 1000, "the first overlay, not written")
        holds(one, second.at, journaled.BASELINE, 0, 500, "the second overlay, not written")
        third = subprocess.run([one.options.mdtool, "assemble", "--read-write", "--yes", f"--overlay={overlays[0]}", "--at",
                                one.place(one.name, "third"), *array.rest.present()], capture_output=True, check=False,
                               stdin=subprocess.DEVNULL, timeout=60)
        one.expect_equal(third.returncode, 64, f"an overlay that is in use: {third.stderr[-200:]}")
        for server in (first, second):
            status, document = server.stop()
            one.expect_equal(status, 0, f"stop ({document.get('error')})")
    with served_over(one, array, overlays[1]) as second:
        holds(one, second.at, 22, 500, 1200, "the second overlay again")
        one.expect_equal(second.terminate(), 0, "exit status after SIGTERM")


def killed_above(one, array, overlay):
    """A killed server's overlay holds what was flushed, and the next one serves it."""
    with served_over(one, array, overlay) as server:
        with open(array.file("before"), "wb") as before, open(server.at, "rb") as content:
            while part := content.read(1 << 20):
                before.write(part)
        writer = journaled.Writer(one, server.at, array)
        writer.wait_for(array.generator.choice([4, 16, 40]))
        server.kill()
        writer.end()
        server.clear_away()
    with served_over(one, array, overlay) as server:
        with open(array.file("after"), "wb") as after, open(server.at, "rb") as content:
            while part := content.read(1 << 20):
                after.write(part)
        array.judge()
        serving.quiet([overlay])
        status, document = server.stop()
        one.expect_equal(status, 0, f"stop ({document.get('error')})")


class Commits:
    """Commits of copies that get a SIGKILL once they have begun to write; sooner and sooner, if they end before."""

    def __init__(self, one, members, overlay):
        self.one, self.members, self.overlay = one, members, overlay
        self.random = one.random("commits", one.name)
        self.longest = LONGEST_DELAY
        self.runs = 0

    def killed(self):
        """The members and the overlay of a commit that was cut short; None if it was not."""
        self.runs += 1
        copies = self.members.copy_to(self.one.place(self.one.name, f"copies-{self.runs}"))
        overlay = self.one.place(self.one.name, f"overlay-{self.runs}")
        subprocess.run(["cp", "--sparse=always", self.overlay, overlay], check=True)
        before = [os.stat(path).st_mtime_ns for path in copies.paths]
        process = subprocess.Popen([self.one.options.mdtool, "overlay", "commit", overlay, *copies.paths, "--yes", "--undo",
                                    self.one.place("undo", self.one.name, f"{self.runs}.killed")], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and [os.stat(path).st_mtime_ns for path in copies.paths] == before:
            time.sleep(0.0005)
        time.sleep(self.random.uniform(0, self.longest))
        process.kill()
        if process.wait() == -signal.SIGKILL and os.path.exists(overlay):
            return copies, overlay
        self.longest /= 2
        return None


def committed(one, array, overlay, other):
    """On copies, killed first; then on the members. The other overlay does not fit them any more."""
    members = array.rest
    content = lab.digest(array.file("after"))
    undo = one.place("undo", one.name, "commit")
    commits, middles = Commits(one, members, overlay), 0
    while middles < KILLS and commits.runs < ATTEMPTS:
        cut = commits.killed()
        if not cut:
            continue
        middles += 1
        copies, copied = cut
        status, document = one.mdtool("overlay", "commit", copied, *copies.present(), "--yes", "--undo",
                                      one.place("undo", one.name, f"again-{middles}"))
        one.expect(status in (0, 1), f"commit again after a kill: {status} ({document.get('error')})")
        expect_committed(one, array, copies, content, f"commit killed, attempt {middles}")
    one.expect(middles > 0, f"{ATTEMPTS} commits, and each ended before its kill")
    one.note(f"{middles} of {commits.runs} commits were killed in the middle")
    status, document = one.mdtool("overlay", "commit", overlay, *members.present(), "--yes", "--undo", undo)
    one.expect(status in (0, 1), f"commit: {status} ({document.get('error')})")
    one.expect(not os.path.exists(overlay), "the overlay file is still there after its commit")
    expect_committed(one, array, members, content, "commit")
    before = members.digests()
    for words in (("overlay", "commit", other, *members.present(), "--yes", "--undo", undo + ".other"),
                  ("assemble", "--read-write", "--yes", f"--overlay={other}", "--at", one.place(one.name, "refused"), *members.present())):
        status, document = one.mdtool(*words)
        one.expect_equal(status, 64, f"{' '.join(words[:2])} of an overlay of the members' former state ({document.get('error')})")
    one.expect_equal(members.digests(), before, "members after the refusals")
    status, document = one.mdtool("overlay", "discard", other, "--yes")
    one.expect_equal((status, os.path.exists(other)), (0, False), f"discard ({document.get('error')})")


def expect_committed(one, array, members, content, what):
    one.expect_settled(members)
    one.oracle(members, "--content", array.file("committed"))
    one.expect_equal(lab.digest(array.file("committed")), content, f"{what}: content")
    ranges = array.promised([(0, members.first().size)])
    one.expect_equal(one.wrong_rows(members, ranges) if ranges else [], [], f"{what}: rows with wrong parity")


def over(one, turn, bitmap):
    level = one.random("level", turn, bitmap).choice([4, 5, 6])
    folder = f"overlay-{turn}-{bitmap}"
    (array,), images = journaled.make_arrays(one, folder, [(level, bitmap, 0)])
    untouched = array.members.digests()
    overlays = [one.place(folder, name) for name in ("first", "second")]
    two_at_once(one, array, overlays)
    one.expect_equal(array.members.digests(), untouched, "members under two overlays")
    killed_above(one, array, overlays[0])
    one.expect_equal(array.members.digests(), untouched, "members under an overlay whose server was killed")
    status, document = one.mdtool("overlay", "show", overlays[0], *array.members.paths)
    one.expect_equal(status, 0, f"overlay show ({document.get('error')})")
    one.expect(sum(member["written_bytes"] for member in document.get("members", [])) > 0, "overlay show counts nothing")
    committed(one, array, *overlays)
    answers = one.boot(array.kernels_turn("md0", syncs=False), images)
    array.judge_kernel(answers, "md0", syncs=False)


def run(one):
    lacking = serving.missing_for_fuse()
    if lacking:
        one.skip(lacking)
        return
    bitmaps = ["none", "classic", "lockless"]
    for turn in range(one.rounds):
        chosen = bitmaps if one.rounds > 1 else one.random("bitmap").sample(bitmaps, 2)
        for bitmap in chosen:
            one.run(f"{turn} {bitmap}", over, turn, bitmap)
