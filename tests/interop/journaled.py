# SPDX-License-Identifier: GPL-2.0-or-later
"""An array under writes of which a journal tells what was acknowledged and flushed; how the server ends is for others.

`pattern journal` writes it, `pattern judge` compares. What is promised: every sector holds a version that was issued, at
least the one that an acknowledged flush covers; sectors that nobody wrote to are as before; parity is wrong nowhere but
in chunks that the bitmap names. Degraded arrays have a write hole: what they lose there has to be announced.
"""
import os
import signal
import subprocess

import lab
import ondisk
from lab import Shape

BASELINE = 7
LOG_BYTES = 4 << 20
MEMBER_KIB = 4096
BROKEN_OFF = 3  # pattern's exit status
TRUSTED = (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN)


def combinations(one, name):
    """Without end: (level, bitmap, missing), all of them once in each round, in random order."""
    generator = one.random(name, "order")
    while True:
        every = [(level, bitmap, missing) for level in (4, 5, 6) for bitmap in ("none", "classic", "lockless")
                 for missing in (0, 1)]
        generator.shuffle(every)
        yield from every


class Writer:
    """`pattern journal` on a file that is served by this machine."""

    def __init__(self, one, target, array):
        self.one = one
        seed, first, count = array.next_writes()
        self.said = array.file(f"writer-{array.turn}")
        with open(self.said, "wb") as said:
            self.process = subprocess.Popen([one.options.pattern, "journal", target, str(seed), str(first), str(count), array.log,
                                             array.how()], stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def wait_for(self, dots):
        """Until so much was written, or nothing more will be."""
        lab.within(5, lambda: os.path.getsize(self.said) >= dots or self.process.poll() is not None)

    def kill(self):
        self.process.kill()

    def end(self):
        """After the end of the server: writing fails then."""
        status = self.process.wait(60)
        with open(self.said, "rb") as file:
            self.one.expect(status in (0, BROKEN_OFF, -signal.SIGKILL), f"the writer ended with {status}: {file.read()[-200:]}")


class Array:
    def __init__(self, one, folder, number, combination, first_image):
        level, bitmap, missing = combination
        self.one = one
        self.generator = one.random(folder, number)
        layouts = {4: [None], 5: lab.RAID5_LAYOUTS, 6: lab.RAID6_LAYOUTS}[level]
        self.shape = Shape(level, 4 if level == 6 else 3, self.generator.choice(layouts), self.generator.choice([4, 16, 64]),
                           "1.2" if bitmap == "lockless" else self.generator.choice(lab.METADATA), bitmap,
                           self.generator.choice([16, 64, 128]), member_kib=MEMBER_KIB)
        self.members = one.members(self.shape, folder, f"a{number}", generator=self.generator)
        self.lost = {self.generator.randrange(self.shape.slots)} if missing else set()
        self.rest = self.members.without(self.lost)
        self.devices = lab.letters(first_image, self.shape.slots).split()
        self.name = f"raid{level} {bitmap}{' degraded' if missing else ''}"
        self.folder = os.path.dirname(one.place(folder, f"a{number}", "x"))
        # Half of it holds something known; the rest was never written.
        self.filled = 4000 * self.shape.data_disks
        self.turn = 0
        self.kernels_own = set()  # rows that the kernel left wrong
        self.seed = self.log = None

    def making(self, md):
        """Filled, and started anew: all bits are clear then."""
        devices = " ".join(self.devices)
        # The kernel's sync of a lockless bitmap leaves rows wrong within chunks now and then.
        again = f"echo repair >/sys/block/{md}/md/sync_action\nsettle {md}\n" if self.shape.bitmap == "lockless" else ""
        return f"""
{self.shape.create(md, devices)}
settle {md}
pattern write /dev/{md} {BASELINE} 0 {self.filled}
settle {md}
{again}stop {md}
mdadm --assemble /dev/{md} {devices} >/dev/null 2>&1
settle {md}
stop {md}
"""

    def present(self):
        return " ".join(device for slot, device in enumerate(self.devices) if slot not in self.lost)

    def file(self, name):
        return os.path.join(self.folder, name)

    def sectors(self):
        return self.members.first().size * self.shape.data_disks

    # ---- before

    def made(self):
        self.one.oracle(self.members, "--content", self.file("before"))
        self.one.expect_equal(self.wrong(self.promised([(0, self.members.first().size)])), [], "rows that the kernel left wrong")

    def next_writes(self):
        """The words of `pattern journal` behind the device, and an empty log."""
        self.turn += 1
        self.seed = self.generator.randrange(1 << 40)
        self.log = self.file(f"log-{self.turn}")
        with open(self.log, "wb") as file:
            file.truncate(LOG_BYTES)
        count = self.generator.choice([2000, 6000, self.sectors() // 8 * 8])
        first = self.generator.randrange(0, self.sectors() - count + 1) // 8 * 8
        return self.seed, first, count

    def how(self):
        return self.generator.choice(["cached", "direct", "direct-4k"])

    # ---- after

    def recover(self):
        """mdtool resync, or (False) nothing was done because the kernel is to do it."""
        one = self.one
        due, chunks = self.rest.due()
        not_due = self.promised(ondisk.complement(due, self.rest.first().size))
        one.expect_equal(self.wrong(not_due), [], "rows with wrong parity that no bit names")
        self.wrong_due = len(self.wrong(self.promised(due)))
        excluded = self.uncertain_by_copy() if self.lost else None
        if not self.lost:
            one.oracle(self.rest, "--content", self.file("after"))
        self.judge(excluded)
        self.note(f"{chunks} chunks due, {self.wrong_due} rows wrong")
        if self.lost:
            self.resync_degraded()
        elif self.kernel_may():
            return False
        else:
            self.resync(due, chunks)
        return True

    def kernel_may(self):
        """Not from a clean array: there a lazy recovery rebuilds one member's blocks, in rows never written to other bytes."""
        return self.turn % 2 == 0 and not any(block.clean for block in self.rest.superblocks())

    def promised(self, ranges):
        """Of these, the rows that parity is promised for once they are in sync."""
        bits = self.rest.bitmap()
        if bits is None or not bits.lockless:
            return ranges
        unwritten = ondisk.merged((c * bits.chunk, (c + 1) * bits.chunk) for c, state in enumerate(bits.states)
                                  if state in (ondisk.UNWRITTEN, ondisk.NEED_SYNC_UNWRITTEN, ondisk.SYNCING_UNWRITTEN))
        return ondisk.intersection(ranges, ondisk.complement(unwritten, self.rest.first().size))

    def wrong(self, ranges):
        if self.lost and self.shape.level != 6:
            return []
        found = self.one.wrong_rows(self.rest, ranges) if ranges else []
        return [row for row in found if row not in self.kernels_own]

    def uncertain_by_copy(self):
        """The degraded array's content, and what of it has to be passed over."""
        target = self.file("after")
        if os.path.exists(target):
            os.unlink(target)
        status, document = self.one.mdtool("copy", "--to", target, *self.rest.present())
        self.one.require(status & ~7 == 0, f"copy of what is left: {status} ({document.get('error')})")
        path = self.file("uncertain")
        with open(path, "w", encoding="ascii") as file:
            for extent in document["uncertain"]:
                file.write(f"{extent['offset_bytes'] // 512} {extent['length_bytes'] // 512}\n")
        return path

    def judge(self, excluded=None):
        words = ["judge", self.file("after"), self.seed, self.log, self.file("before"), *([excluded] if excluded else [])]
        done = subprocess.run([self.one.options.pattern, *map(str, words)], capture_output=True, text=True, check=False)
        self.one.expect_equal(done.returncode, 0, f"content ({done.stdout.strip()} {done.stderr.strip()})")
        self.note(done.stdout.strip())

    def note(self, what):
        self.one.note(what)

    def undo_file(self):
        return self.file(f"undo.{self.turn}")

    def resync(self, due, chunks):
        one, rest = self.one, self.rest
        status, document = one.mdtool("resync", "--yes", "--undo", self.undo_file(), *rest.present())
        one.require(status in (0, 1), f"resync: {status} ({document.get('error')})")
        result = document.get("result")
        one.expect(bool(result) or not due, f"nothing was done about {chunks} due chunks: {one.last}")
        if result and self.shape.bitmap != "none":
            one.expect(result["chunks_synchronised"] <= chunks, f"{result['chunks_synchronised']} synchronised, {chunks} due")
        one.expect_equal(self.wrong(self.promised([(0, rest.first().size)])), [], "rows wrong after resync")
        one.expect_settled(rest)

    def resync_degraded(self):
        one, rest = self.one, self.rest
        if all(block.clean for block in rest.superblocks()):
            return
        status, document = one.mdtool("resync", "--yes", "--force=dirty-degraded", "--undo", self.undo_file(), *rest.present())
        one.require(status & ~7 == 0, f"resync of what is left: {status} ({document.get('error')})")
        one.expect_equal(self.wrong(self.promised([(0, rest.first().size)])), [], "rows where P and Q disagree after resync")

    def next_before(self):
        """What is there now is what the next turn starts from."""
        if self.lost:
            self.uncertain_by_copy()
        else:
            self.one.oracle(self.rest, "--content", self.file("after"))
        os.replace(self.file("after"), self.file("before"))

    def kernels_turn(self, md, *, syncs):
        """Its own resync where mdtool has done none; it must find nothing to do where mdtool has."""
        wait = f"begun {md} 0\n" if syncs else f"at_rest {md}\n"
        return f"assemble {md} --run {self.present()}\n{wait}settle {md}\nsay {md}.hash $(hash_of {md})\ncheck {md}\nstop {md}\n"

    def judge_kernel(self, answers, md, *, syncs):
        one = self.one
        if syncs:
            one.expect_equal(answers.get(f"{md}.assembled"), "yes", f"the kernel's assembly ({answers.get(f'{md}.said')})")
        else:
            one.expect_at_rest(answers, md, degraded=len(self.lost))
        self.next_before()
        one.expect_equal(answers.get(f"{md}.hash"), lab.digest(self.file("before")), "content as the kernel reads it")
        wrong = self.wrong(self.promised([(0, self.rest.first().size)]))
        if syncs and self.shape.bitmap == "lockless":  # its sync ends within chunks there
            self.kernels_own.update(wrong)
            return
        one.expect_equal(wrong, [], "rows wrong after the kernel's turn")
        if not self.lost and not self.kernels_own:
            one.expect_equal(answers.get(f"{md}.mismatches"), "0", "mismatch_cnt")


def make_arrays(one, folder, chosen):
    """Arrays of these combinations, made and filled by the kernel; (arrays, images)."""
    arrays, images = [], []
    for number, combination in enumerate(chosen):
        arrays.append(Array(one, folder, number, combination, len(images)))
        images += arrays[-1].members.paths
    one.boot("".join(array.making(f"md{n}") for n, array in enumerate(arrays)), images)
    for array in arrays:
        array.made()
    return arrays, images


def recover_all(one, arrays, images):
    """All arrays after a crash: judged, synchronised, and taken over by the kernel."""
    where, left = one.where, {}
    for n, array in enumerate(arrays):
        one.where = f"{where} {array.name} {array.shape} turn {array.turn}"
        try:
            left[n] = not array.recover()
        except lab.Abandoned:
            pass
    answers = one.boot("".join(arrays[n].kernels_turn(f"md{n}", syncs=syncs) for n, syncs in left.items()), images)
    for n, syncs in left.items():
        one.where = f"{where} {arrays[n].name} {arrays[n].shape} turn {arrays[n].turn}"
        arrays[n].judge_kernel(answers, f"md{n}", syncs=syncs)
    one.where = where
    one.torn += sum(array.wrong_due for n, array in enumerate(arrays) if n in left)
    return [array for n, array in enumerate(arrays) if n in left]
