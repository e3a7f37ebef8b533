# SPDX-License-Identifier: GPL-2.0-or-later
"""Old and new kernels: what mdtool makes starts clean and idle wherever examine says that it is accepted, and nowhere else.

The stock kernels are Debian's 6.1, 6.12 and 7.2 in QEMU (`vm`), which know no lockless bitmap; `uml`'s 7.2 does.
"""
import concurrent.futures
import itertools
import os
import re
import subprocess
from dataclasses import dataclass, field

import lab

STOCK = ["6.1", "6.12", "7.2"]
MEMBER_KIB = 4096
WRITTEN = 400  # sectors, by each kernel
NOT_PREPARED = 2  # vm's exit status
NOT_STARTED = ("none", "clear", "inactive")


@dataclass
class Kind:
    """An array: how it is made, by mdtool if not said otherwise, and what is done to it then."""
    name: str
    slots: int
    options: str
    then: tuple = ()
    content: str = "zeroes"
    missing: tuple = ()
    by: str = "mdtool"

    def words(self):
        """mdtool's options are mdadm's."""
        return [*self.options.split(), f"--raid-devices={self.slots}"]


@dataclass
class Array:
    kind: Kind
    paths: list
    redundant: bool = True
    report: dict = field(default_factory=dict)

    def files(self):
        return " ".join(f"/share/{os.path.basename(os.path.dirname(path))}/{os.path.basename(path)}" for path in self.paths)

    def copied_to(self, folder):
        """The same array in another folder of arrays."""
        copies = [os.path.join(folder, *path.split(os.sep)[-2:]) for path in self.paths]
        copy = Array(self.kind, copies, self.redundant, self.report)
        for path, target in zip(self.paths, copies):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            subprocess.run(["cp", "--sparse=always", path, target], check=True)
        return copy

    def digests(self):
        return [lab.digest(path) for path in self.paths]


def clean(slots, options, **more):
    """Over zeroes parity is right from the start."""
    return Kind(f"{options}, assume-clean", slots, options + " --assume-clean", **more)


def worked_on(slots, options, *then):
    return Kind(f"{options}, {', '.join(then)}", slots, options, then, "random")


RESYNC = "resync"
ZERO_INIT = "zero-init --force=data"
BUILD = "build-parity --all"
TO_CLASSIC = "bitmap convert --bitmap=internal"
TO_LOCKLESS = "bitmap convert --bitmap=lockless"


def kinds():
    yield Kind("raid0", 3, "--level=0")
    yield Kind("raid0, metadata 0.90", 3, "--level=0 --metadata=0.90")
    yield Kind("linear", 3, "--level=linear")
    yield clean(2, "--level=1 --metadata=0.90 --bitmap=internal")
    yield clean(2, "--level=1 --metadata=1.0 --bitmap=internal")
    yield clean(3, "--level=1 --metadata=1.1")
    yield clean(2, "--level=1 --bitmap=lockless")
    yield clean(4, "--level=10 --metadata=1.0 --layout=f2 --bitmap=internal")
    yield clean(4, "--level=10 --layout=o2")
    yield clean(3, "--level=10 --metadata=0.90")
    yield clean(4, "--level=4 --metadata=0.90 --bitmap=internal")
    yield clean(3, "--level=4 --bitmap=lockless")
    yield clean(3, "--level=5 --metadata=0.90 --layout=right-asymmetric")
    yield clean(4, "--level=5 --metadata=1.0 --chunk=16 --bitmap=internal --layout=parity-first")
    yield clean(3, "--level=5 --metadata=1.1 --bitmap=internal --bitmap-chunk=64K")
    yield clean(3, "--level=5 --chunk=64 --consistency-policy=ppl")
    yield clean(3, "--level=5 --metadata=1.0 --chunk=64 --consistency-policy=ppl")
    yield clean(3, "--level=5 --bitmap=lockless")
    yield clean(4, "--level=5 --bitmap=internal", missing=(1,))
    yield clean(5, "--level=6 --metadata=0.90 --bitmap=internal")
    yield clean(5, "--level=6 --metadata=1.1 --layout=left-symmetric-6")
    yield clean(4, "--level=6 --layout=ddf-N-continue --chunk=64", missing=(0, 3))
    yield worked_on(3, "--level=5", RESYNC)
    yield worked_on(4, "--level=6 --metadata=1.0 --bitmap=internal", RESYNC)
    yield worked_on(3, "--level=4 --metadata=1.1", ZERO_INIT)
    yield worked_on(3, "--level=5 --bitmap=internal", ZERO_INIT)
    yield worked_on(4, "--level=6 --bitmap=lockless", ZERO_INIT)
    yield worked_on(3, "--level=5 --bitmap=internal --bitmap-chunk=64K", RESYNC, TO_LOCKLESS)
    yield worked_on(3, "--level=5 --bitmap=lockless", BUILD, TO_CLASSIC)
    yield worked_on(4, "--level=6 --bitmap=lockless", ZERO_INIT, TO_CLASSIC, TO_LOCKLESS, "bitmap remove")
    yield worked_on(3, "--level=5", RESYNC, "bitmap add --bitmap=internal")
    yield clean(3, "--level=5 --bitmap=internal", by="mdadm")  # its logical block size is recorded
    yield clean(3, "--level=5", by="mdadm", then=("set --field logical_block_size=0",))


def more_kinds():
    for level, metadata, bitmap in itertools.product((1, 4, 5, 6, 10), lab.METADATA, ("none", "internal")):
        chunk = "" if level == 1 else " --chunk=16"
        yield clean(5, f"--level={level} --metadata={metadata} --bitmap={bitmap}{chunk}")


def blank_members(one, number, kind):
    generator = one.random("content", kind.name)
    for slot in range(kind.slots):
        if slot not in kind.missing:
            path = one.place("arrays", f"a{number}", f"m{slot}.img")
            with open(path, "wb") as file:
                if kind.content == "random":
                    file.write(generator.randbytes(MEMBER_KIB * 1024))
                file.truncate(MEMBER_KIB * 1024)
            yield path


def create_words(array):
    present = iter(array.paths)
    slots = ["missing" if slot in array.kind.missing else next(present) for slot in range(array.kind.slots)]
    return [*slots, *array.kind.words()]


def started_by_the_newest(one, arrays):
    """mdadm makes them and Linux 7.2 is the first to start them: it records their logical block size."""
    script = ""
    for number, array in enumerate(arrays):
        script += f"attach {array.files()}\nmdadm --create /dev/md{number} --run {' '.join(array.kind.words())} $devices "
        script += ">/tmp/said 2>&1 || { cat /tmp/said; exit 1; }\n"
        script += f"pattern write /dev/md{number} 0 0 8\nstop md{number}\n"
    one.boot(script, share=one.place("arrays"))


def make(one):
    chosen = [*kinds(), *(more_kinds() if one.rounds > 1 else [])]
    arrays = [Array(kind, list(blank_members(one, number, kind))) for number, kind in enumerate(chosen)]
    for array in arrays:
        if array.kind.by == "mdtool":
            status, document = one.mdtool("create", "--yes", "--undo=none", *create_words(array))
            one.require(status in (0, 2), f"create {array.kind.name}: {status} ({document.get('error')})")
    started_by_the_newest(one, [array for array in arrays if array.kind.by == "mdadm"])
    for array in arrays:
        for command in array.kind.then:
            verb, *options = command.split()
            subverb = [options.pop(0)] if verb == "bitmap" else []
            status, document = one.mdtool(verb, *subverb, "--yes", "--undo=none", *options, *array.paths)
            one.require(status & ~3 == 0, f"{command} on {array.kind.name}: {status} ({document.get('error')})")
    for array in arrays:
        found = one.examine(array.paths)[1]
        one.expect_equal(found["verdict"], "degraded" if array.kind.missing else "assembles", f"{array.kind.name}: verdict")
        one.expect_equal(found["clean"], True, f"{array.kind.name}: clean")
        array.redundant = found["level"] not in ("raid0", "linear")
        array.report = found["compatibility"]
    return arrays


# ---- what a kernel makes of them -------------------------------------------------------------------------------------


@dataclass
class Kernel:
    name: str
    number: int
    stock: str | None  # vm's word
    version: tuple

    @property
    def seed(self):
        return self.number + 1

    @property
    def first(self):
        """Where on each array it writes."""
        return self.number * WRITTEN


@dataclass
class Boot:
    kernel: Kernel
    arrays: list
    earlier: list  # kernels that had the arrays before
    answers: dict = field(default_factory=dict)
    before: list = field(default_factory=list)  # digests


# All arrays at once: a guest waits more than it works.
WORDS = f"""
echo 100000 >/proc/sys/dev/raid/speed_limit_min
say config $(grep -Eo '^CONFIG_MD_[A-Z_]+=[ym]' /config 2>/dev/null)
running() {{ case $(sys $1 array_state) in {" | ".join(NOT_STARTED)}) return 1 ;; esac; }}
idle() {{ [ "$(sys $1 sync_action)" = idle ] || [ "$(sys $1 sync_action)" = none ]; }}
quiet() {{ case $(sys $1 array_state) in active | write-pending) return 1 ;; esac; }}
"""


def script_for(boot):
    script = WORDS
    names = [f"md{n}" for n in range(len(boot.arrays))]
    for md, array in zip(names, boot.arrays):
        script += f"attach {array.files()}\nassemble {md} $devices\n"
    script += f"at_rest {' '.join(names)}\nstarted=''\n"
    for md, array in zip(names, boot.arrays):
        script += f"if running {md}; then\nstarted=\"$started {md}\"\n"
        script += f"pattern write /dev/{md} {boot.kernel.seed} {boot.kernel.first} {WRITTEN}\n"
        for kernel in [boot.kernel, *boot.earlier]:
            script += f"verify {md} {kernel.seed} {kernel.first} {WRITTEN}\n"
        if array.redundant and not array.kind.missing:
            script += f"echo check >/sys/block/{md}/md/sync_action\n"
        script += "fi\n"
    return script + """
for one in $started; do until idle $one; do sleep 0.1; done; done
sleep 0.3
for one in $started; do
  until quiet $one; do sleep 0.1; done
  say $one.mismatches $(sys $one mismatch_cnt)
  say $one.rest $(sys $one array_state)
done
mdadm --stop --scan >/dev/null 2>&1 || true
"""


def has_options(boot, report):
    """The kernel's own configuration, where the report names what is needed of it."""
    needed = {word for requirement in report["requirements"] for word in re.findall(r"CONFIG_\w+", requirement["what"])}
    return boot.kernel.stock is None or all(f"{word}=" in boot.answers["config"] for word in needed)


def version(text):
    return tuple(int(part) for part in text.split("."))


def new_enough(number, report):
    return number >= version(report["oldest_kernel"])


def accepted(boot, report):
    return new_enough(boot.kernel.version, report) and has_options(boot, report)


def expect_taken(one, answers, md, array):
    if array.redundant:
        one.expect_at_rest(answers, md, degraded=len(array.kind.missing))
        one.expect_equal(answers.get(f"{md}.mismatches"), "0", "mismatch_cnt")
    else:
        one.expect_equal(answers.get(f"{md}.assembled"), "yes", f"mdadm --assemble ({answers.get(f'{md}.said')})")
    one.expect_equal(answers.get(f"{md}.array_state"), "clean", "array_state")
    one.expect_equal(answers.get(f"{md}.rest"), "clean", "array_state after writes")
    one.expect_content(answers, md)
    found = one.examine(array.paths)[1]
    for word in STOCK:
        one.expect_equal(new_enough(version(word), found["compatibility"]), new_enough(version(word), array.report),
                         f"whether Linux {word} takes it afterwards")
    one.expect_equal(found["clean"], True, "clean, afterwards")


def judge(one, boot):
    where = one.where
    taken = 0
    for n, array in enumerate(boot.arrays):
        one.where = f"{where}: {array.kind.name}"
        state = boot.answers.get(f"md{n}.array_state")
        if accepted(boot, array.report):
            taken += 1
            expect_taken(one, boot.answers, f"md{n}", array)
        else:
            one.expect(state in NOT_STARTED, f"array_state {state}, although it needs {array.report}")
            one.expect_equal(array.digests(), boot.before[n], "members of a refused array")
    one.where = where
    one.expect(taken > 0, "no array was accepted")
    one.expect(boot.kernel.stock is None or taken < len(boot.arrays), "no array was refused")
    one.note(f"{taken} arrays accepted, {len(boot.arrays) - taken} refused")


def boot_all(one, arrays):
    def copies(name):
        folder = one.place(name, "arrays")
        return [array.copied_to(folder) for array in arrays]

    def in_turn(chain):
        for boot in chain:
            folder = os.path.dirname(os.path.dirname(boot.arrays[0].paths[0]))
            boot.before = [array.digests() for array in boot.arrays]
            boot.answers = one.boot(script_for(boot), share=folder, kernel=boot.kernel.stock)

    newest = Kernel("Linux 7.2 with a lockless bitmap", 0, None, (7, 2))
    old, middle, new = (Kernel(f"Linux {word}", n + 1, word, version(word)) for n, word in enumerate(STOCK))
    # What 7.2 has had in use is not lost to 6.12 by that.
    used = copies("used")
    chains = [[Boot(new, used, []), Boot(middle, used, [new])],
              [Boot(newest, copies("newest"), []), Boot(old, copies("old"), [])]]
    with concurrent.futures.ThreadPoolExecutor(len(chains)) as pool:
        for chain in [pool.submit(in_turn, chain) for chain in chains]:
            chain.result()
    return [boot for chain in chains for boot in chain]


def run(one):
    prepared = subprocess.run([os.path.join(lab.HERE, "vm"), "--build", *STOCK], capture_output=True, text=True, check=False)
    if prepared.returncode == NOT_PREPARED:
        one.skip(prepared.stderr.strip())
        return
    arrays = one.run("making of arrays", make)
    boots = arrays and one.run("making of boots", boot_all, arrays)
    for boot in boots or []:
        one.run(boot.kernel.name, judge, boot)
