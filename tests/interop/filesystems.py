# SPDX-License-Identifier: GPL-2.0-or-later
"""ext4 and xfs on /dev/loopN of an array that mdtool serves: filled, checked, and then the kernel's to judge."""
import hashlib
import itertools
import os
import shutil
import subprocess

import lab
import ondisk
import serving
from lab import Shape

LEVELS = {4: [0, 1], 5: [0, 1], 6: [0, 1, 2]}  # how many members are missing
BITMAPS = ["none", "classic", "lockless"]
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
KEEP_BLOCKS = {"ext4": ["-E", "nodiscard"], "xfs": ["-K"]}
CHECK = {"ext4": ["fsck.ext4", "-f", "-n"], "xfs": ["xfs_repair", "-n"]}
ARRAY_MIB = 336  # mkfs.xfs wants 300
TREES = ["/usr/lib/python3", "/usr/share/perl5", "/usr/include"]
TREE_BYTES = 12 << 20


class Case:
    def __init__(self, one, batch, number, combination, first_image):
        self.level, self.lost_count, self.bitmap, self.filesystem = combination
        self.generator = one.random("filesystems", *combination)
        slots = self.generator.choice([4, 5]) if self.level == 6 else self.generator.choice([3, 4])
        self.shape = Shape(self.level, slots, None, self.generator.choice([16, 64, 128]), bitmap=self.bitmap,
                           bitmap_chunk_kib=self.generator.choice([64, 512]))
        self.shape.member_kib = (ARRAY_MIB // self.shape.data_disks + 4) * 1024
        self.name = f"raid{self.level} {self.bitmap} {self.filesystem} {self.lost_count} missing"
        self.members = sparse_members(one, self.shape, self.generator, f"batch-{batch}", f"a{number}")
        self.lost = set(self.generator.sample(range(slots), self.lost_count))
        self.rest = self.members.without(self.lost)
        self.devices = lab.letters(first_image, slots).split()
        self.removed_before = bool(self.lost) and self.generator.random() < 0.5
        self.listed = f"files-{number}"
        self.served = False

    def making(self, md):
        script = f"{self.shape.create(md, ' '.join(self.devices))}\nsettle {md}\n"
        if self.removed_before:
            for slot in sorted(self.lost):
                script += f"mdadm /dev/{md} --fail {self.devices[slot]} >/dev/null 2>&1\nsleep 0.2\n"
        return script + f"stop {md}\n"

    def judging(self, md):
        present = " ".join(device for slot, device in enumerate(self.devices) if slot not in self.lost)
        return f"""
assemble {md} {present}
at_rest {md}
mkdir /mnt/{md}
if mount -t {self.filesystem} -o ro /dev/{md} /mnt/{md} 2>/tmp/said; then
  cd /mnt/{md}
  if sha256sum -c /share/{self.listed} >/tmp/sums 2>&1; then say {md}.files right; else say {md}.files "$(grep -v OK /tmp/sums | head -3 | tr '\\n' ' ')"; fi
  cd /
  umount /mnt/{md}
else
  say {md}.files "not mounted: $(cat /tmp/said)"
fi
check {md}
stop {md}
"""


def sparse_members(one, shape, generator, *names):
    """Garbage here and there, so that parity is not right by accident where the file system's files end up."""
    members = lab.Members(shape)
    islands = [generator.randrange(1, shape.member_kib // 1024 - 1) << 20 for _ in range(24)]
    for slot in range(shape.slots):
        path = one.place(*names, f"m{slot}.img")
        with open(path, "wb") as file:
            file.truncate(shape.member_kib * 1024)
        for island in islands:
            ondisk.write_at(path, island, generator.randbytes(512 << 10))
        members.paths.append(path)
    return members


def must(one, command, what=None):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    one.require(done.returncode == 0, f"{what or ' '.join(command)}: {done.returncode} {(done.stdout + done.stderr)[-400:]}")


def copy_tree(generator, place):
    """Some twelve MiB of this machine's files, small ones mostly."""
    names = []
    for tree in TREES:
        for folder, _, files in os.walk(tree):
            names += [os.path.join(folder, name) for name in files]
    names.sort()
    generator.shuffle(names)
    room = TREE_BYTES
    for name in names:
        if not os.path.isfile(name) or os.path.islink(name) or os.path.getsize(name) > room:
            continue
        target = os.path.join(place, "tree", os.path.relpath(name, "/usr"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(name, target)
        room -= os.path.getsize(name)
        if room < 4096:
            break


def fio(place, generator_seed, *options):
    return ["fio", "--name=verified", f"--directory={place}", "--size=12m", "--numjobs=2", "--rw=randwrite", "--bsrange=512-48k",
            "--bs_unaligned=0", "--blockalign=512", "--ioengine=psync", "--verify=crc32c", "--fsync=64", "--verify_state_save=0",
            f"--randseed={generator_seed}", "--minimal", *options]


def sums(place):
    lines = []
    for folder, _, files in os.walk(place):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {os.path.relpath(path, place)}\n")
    return sorted(lines)


def use(one, case, share):
    seed = case.generator.randrange(1 << 30)
    with serving.Server(one, case.rest.present(), "--loop") as server:
        device = server.loop
        keep = KEEP_BLOCKS[case.filesystem] if case.generator.random() < 0.7 else []
        must(one, [*MAKE[case.filesystem], *keep, device])
        with serving.mounted(one, device, case.filesystem) as place:
            copy_tree(case.generator, place)
            must(one, fio(place, seed, "--do_verify=0"), "fio writes")
            before = sums(place)
            status, document = server.stop()
            one.expect_equal((status, server.serves()), (64, True), f"stop while mounted ({document.get('error')})")
        must(one, [*CHECK[case.filesystem], device])
        with serving.mounted(one, device, case.filesystem) as place:
            one.expect(sums(place) == before, "files after mounting again are not what was written")
            must(one, fio(place, seed, "--verify_only=1"), "fio verifies")
            after = sums(place)
        must(one, ["blockdev", "--flushbufs", device])
        must(one, [*CHECK[case.filesystem], device])
        case.content = lab.digest(device)
        serving.quiet(case.rest.present())
        status, document = server.stop()
        one.expect_equal(status, 0, f"stop ({document.get('error')})")
    with open(os.path.join(share, case.listed), "w", encoding="utf-8") as file:
        file.writelines(after)
    case.served = True
    one.expect(len(after) > 50, f"only {len(after)} files")


def judge_bytes(one, case):
    """The oracle's turn: every row that parity is promised for, and the same content."""
    rest = case.rest
    blocks = rest.superblocks()
    one.expect(all(block.clean for block in blocks), "not clean after stop")
    one.expect_equal(len({block.events for block in blocks}), 1, "different events among members")
    bits = rest.bitmap()
    ranges = None
    if bits is not None and bits.lockless:
        size = rest.first().size
        ranges = ondisk.merged((c * bits.chunk, min((c + 1) * bits.chunk, size)) for c, state in enumerate(bits.states)
                               if state in (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN))
    if not case.lost:
        one.expect_settled(rest)
        one.expect_equal(one.wrong_rows(rest, ranges), [], "rows with wrong parity")
        one.expect_equal(one.content(rest), case.content, "content by the oracle")
    else:
        if case.level == 6 and case.lost_count == 1:
            one.expect_equal(one.wrong_rows(rest, ranges), [], "rows where P and Q disagree")
        target = one.place(one.name, "copied")
        one.mdtool("copy", "--to", target, *rest.present())
        one.expect_equal(lab.digest(target), case.content, "content by copy")
        os.unlink(target)


def judge(one, case, answers, md):
    one.expect_at_rest(answers, md, degraded=case.lost_count)
    one.expect_equal(answers.get(f"{md}.files"), "right", "files as the kernel reads them")
    if not case.lost:
        one.expect_equal(answers.get(f"{md}.mismatches"), "0", "mismatch_cnt")


def one_batch(one, batch, combinations):
    cases, images = [], []
    for number, combination in enumerate(combinations):
        cases.append(Case(one, batch, number, combination, len(images)))
        images += cases[-1].members.paths
    where = one.where
    one.boot("".join(case.making(f"md{n}") for n, case in enumerate(cases)), images)
    share = os.path.dirname(one.place(f"batch-{batch}", "share", "x"))
    for case in cases:
        one.where = f"{where} {case.name} {case.shape}"
        one.note("removed before" if case.removed_before else "left out" if case.lost else "complete")
        try:
            use(one, case, share)
            judge_bytes(one, case)
        except lab.Abandoned:
            pass
    done = [(n, case) for n, case in enumerate(cases) if case.served]
    one.where = where
    one.require(done, "nothing is left to judge")
    answers = one.boot("".join(case.judging(f"md{n}") for n, case in done), images, share=share)
    for n, case in done:
        one.where = f"{where} {case.name} {case.shape}"
        judge(one, case, answers, f"md{n}")


def batches(one):
    """Three arrays each: one of every level, one of every bitmap. The first one is enough for a glance."""
    generator = one.random("order")
    left = [(level, lost, bitmap, filesystem) for level, losses in LEVELS.items() for lost in losses for bitmap in BITMAPS
            for filesystem in MAKE]
    generator.shuffle(left)
    while left:
        batch = []
        for combination in left:
            if len(batch) < 3 and not any(other[0] == combination[0] or other[2] == combination[2] for other in batch):
                batch.append(combination)
        left = [combination for combination in left if combination not in batch]
        yield batch


def run(one):
    lacking = serving.missing_for_loops("fio", "mkfs.ext4", "fsck.ext4", "mkfs.xfs", "xfs_repair")
    if lacking:
        one.skip(lacking)
        return
    for batch, combinations in itertools.islice(enumerate(batches(one)), None if one.rounds > 1 else 1):
        one.run(f"batch {batch}", one_batch, batch, combinations)
