# SPDX-License-Identifier: GPL-2.0-or-later
"""Members that fail under a served array, inside of the guest: a vanished device, a full file system, unreadable sectors, a
truncated image, and one failure too many. The kernel takes over what is left."""
import os

import lab
import ondisk
import serving
from lab import Shape

BASELINE, BEFORE, AFTER = 7, 31, 32  # seeds of content
MEMBER_KIB = 4096
BAD_SECTORS = (3400, 600)  # of the disks that have some: first and count; every slot has data in some of them
SPECIAL = 2  # the slot that fails; with its neighbour below, where two do


class Scenario:
    """An array whose member in slot SPECIAL is not on the image that it came from."""

    def __init__(self, name, *, break_it, level=(4, 5, 6), place="disk", filled=True, may_heal=False, vanishing=1):
        self.name = name
        self.break_it = break_it  # guest words; DISK, FILE
        self.level = level
        self.place = place
        self.filled = filled
        self.may_heal = may_heal  # the member may also be repaired, and stay
        self.vanishing = vanishing


VANISH = "echo 1 >/sys/block/DISK/device/delete\n"
SCENARIOS = [
    Scenario("vanished", break_it=VANISH),
    Scenario("too many vanished", level=(4, 5), break_it=VANISH, vanishing=2),
    Scenario("unreadable sectors", level=(5, 6), break_it="echo 2 >/sys/bus/pseudo/drivers/scsi_debug/opts\n", may_heal=True),
    Scenario("no space", break_it="", place="small", filled=False),
    Scenario("truncated", level=(5, 6), break_it="dd if=/dev/null of=FILE bs=1 seek=$((2 * 1048576)) 2>/dev/null\n", place="file", may_heal=True),
]


class Case:
    def __init__(self, one, number, turn, scenario, first_image, first_disk):
        generator = one.random("failing", scenario.name, turn)
        self.scenario = scenario
        self.level = generator.choice(scenario.level)
        bitmap = generator.choice(["none", "classic", "lockless"])
        extra = "--force" if scenario.filled else "--assume-clean"
        self.shape = Shape(self.level, 4 if self.level == 6 else 3, None, generator.choice([16, 64]), bitmap=bitmap,
                           member_kib=MEMBER_KIB, extra=extra)
        self.name = f"{scenario.name} raid{self.level} {bitmap}"
        self.served, self.md = f"/tmp/served{number}", f"md{number}"
        self.devices = lab.letters(first_image, self.shape.slots).split()
        self.disks = [f"sd{chr(ord('a') + first_disk + n)}" for n in range(scenario.vanishing)] if scenario.place == "disk" else []
        self.file = f"/mnt/{number}/member"
        if scenario.filled:
            self.members = one.members(self.shape, f"turn-{turn}", f"a{number}", generator=generator)
        else:
            self.members = lab.Members(self.shape)
            for slot in range(self.shape.slots):
                self.members.paths.append(one.place(f"turn-{turn}", f"a{number}", f"m{slot}.img"))
                with open(self.members.paths[-1], "wb") as file:
                    file.truncate(MEMBER_KIB * 1024)

    def making(self):
        fill = f"pattern write /dev/{self.md} {BASELINE} 0 $(blockdev --getsz /dev/{self.md})\nsettle {self.md}\n"
        return (f"{self.shape.create(self.md, ' '.join(self.devices))}\nsettle {self.md}\n{fill if self.scenario.filled else ''}"
                f"stop {self.md}\n")

    def special_slots(self):
        return range(SPECIAL - self.scenario.vanishing + 1, SPECIAL + 1)

    def moved(self):
        """Guest words that put the special members where they will fail; their names there."""
        if self.scenario.place == "disk":
            copies = "".join(f"dd if={self.devices[slot]} of=/dev/{disk} bs=1M conv=fsync 2>/dev/null\n"
                             for slot, disk in zip(self.special_slots(), self.disks))
            return copies, [f"/dev/{disk}" for disk in self.disks]
        folder = os.path.dirname(self.file)
        if self.scenario.place == "small":  # superblock and bitmap are there, all else is a hole
            head = (self.members.first().data_offset + 64) * 512
            return (f"mkdir {folder}\nmount -t tmpfs -o size={head // 1024 + 128}k small {folder}\n"
                    f"dd if=/dev/null of={self.file} bs=1 seek={MEMBER_KIB * 1024} 2>/dev/null\n"
                    f"dd if={self.devices[SPECIAL]} of={self.file} bs=512 count={head // 512} conv=notrunc 2>/dev/null\n"), [self.file]
        return f"mkdir {folder}\ncp {self.devices[SPECIAL]} {self.file}\n", [self.file]

    def names(self, special):
        names = list(self.devices)
        for slot, name in zip(self.special_slots(), special):
            names[slot] = name
        return " ".join(names)

    def rest(self):
        return " ".join(device for slot, device in enumerate(self.devices) if slot not in self.special_slots())

    def broken(self):
        words = self.scenario.break_it.replace("FILE", self.file)
        return "".join(words.replace("DISK", disk) for disk in self.disks) if "DISK" in words else words

    def checks(self, one, where, target):
        """Every piece of content, those at the end first: what is read is rewritten, in any order."""
        size = self.shape.data_disks * (MEMBER_KIB * 2 - self.members.first().data_offset) // 128 * 128
        pieces = [(BEFORE, 300, 500), (AFTER, 1500, 900)]
        if self.scenario.filled:
            pieces += [(BASELINE, size // 2, 2000), (BASELINE, 3000, size // 2 - 3000), (BASELINE, 0, 300)]
        one.random("pieces", self.name).shuffle(pieces)
        return "".join(f"what {self.md}.{where} {target} {seed} {first} {count}\n" for seed, first, count in pieces)

    def breaking(self, one):
        put, special = self.moved()
        script = put + f"""
mdtool assemble --read-write --yes --at {self.served} {self.names(special)} >/tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}
write {self.md}.before {self.served} {BEFORE} 300 500
{self.broken()}
write {self.md}.after {self.served} {AFTER} 1500 900
sync
echo 3 >/proc/sys/vm/drop_caches  # what is dirty would stay: an unreadable sector would be read from there
"""
        if self.scenario.vanishing == 1:
            script += self.checks(one, "served", self.served)
        script += f"status=0; mdtool stop {self.served} >/tmp/said 2>&1 || status=$?\nsay {self.md}.stopped \"$status $(cat /tmp/said)\"\n"
        if self.scenario.may_heal:
            script += "echo 0 >/sys/bus/pseudo/drivers/scsi_debug/opts\necho 3 >/proc/sys/vm/drop_caches\n" if self.disks else ""
            script += f"cp {special[0]} {self.devices[SPECIAL]}\n"
        return script

    def left(self):
        """The members that are in the array still: a repaired one too."""
        if self.scenario.may_heal:
            blocks = self.members.superblocks()
            if blocks[SPECIAL].events == max(block.events for block in blocks):
                return self.members
        return self.members.without(set(self.special_slots()))

    def kernels(self, one):
        present = " ".join(device for device, path in zip(self.devices, self.left().paths) if path)
        return f"""
assemble {self.md} {present}
if [ -d /sys/block/{self.md}/md ]; then
  at_rest {self.md}
  {self.checks(one, "kernel", "/dev/" + self.md)}
  check {self.md}
  stop {self.md}
fi
"""


WORDS = """
write() {  # KEY TARGET SEED FIRST COUNT
  if pattern write $2 $3 $4 $5 >/tmp/said 2>&1; then say $1 done; else say $1 "$(cat /tmp/said)"; fi
}
what() {  # KEY TARGET SEED FIRST COUNT
  if pattern check $2 $3 $4 $5 >/tmp/said 2>&1; then say $1.$4 right; else say $1.$4 "$(tr '\\n' ' ' </tmp/said)"; fi
}
"""


def judge(one, case, answers):
    """What was said while it was served, and what the superblocks say after."""
    def said(key):
        return answers.get(f"{case.md}.{key}")

    one.expect_equal(said("before"), "done", "writing before the failure")
    left = case.left()
    _, array, _ = one.examine(left.present())
    if case.scenario.vanishing > 1:
        one.expect(said("after") not in ("done", None), f"writing to a failed array: {said('after')}")
        one.expect_equal(array["verdict"], "impossible", "verdict of the rest")
        return
    one.expect_equal(said("after"), "done", "writing after the failure")
    expect_right(one, case, answers, "served")
    whole = len(left.present()) == case.shape.slots
    one.expect(said("stopped").startswith("0 " if whole else "2 "), f"what stop says of the members: {said('stopped')}")
    one.note("the member was repaired" if whole else "the member was taken out")
    one.expect_equal(array["verdict"], "assembles" if whole else "degraded", "verdict of the members")
    blocks = left.superblocks()
    one.expect(all(block.clean for block in blocks), "not clean after stop")
    if whole:
        counted = [block.corrected_reads for block in blocks if block.slot == SPECIAL]
        one.expect(counted[0] > 0, f"corrected reads in its superblock: {counted}")
    else:
        lost = ondisk.superblock(case.members.paths[SPECIAL], "1.2").dev_number  # of its old image
        one.expect_equal([block.roles[lost] for block in blocks], [ondisk.FAULTY_ROLE] * len(blocks),
                         "the lost member's role in the others' superblocks")


def expect_right(one, case, answers, where):
    found = {key.rsplit(".", 1)[1]: value for key, value in answers.items() if key.startswith(f"{case.md}.{where}.")}
    one.expect(len(found) >= 2, f"no content was checked: {found}")
    for first, value in found.items():
        one.expect_equal(value, "right", f"{where}: content from sector {first}")


def judge_kernel(one, case, answers):
    whole = len(case.left().present()) == case.shape.slots
    one.expect_at_rest(answers, case.md, degraded=0 if whole else 1)
    expect_right(one, case, answers, "kernel")
    if whole:
        one.expect_equal(answers.get(f"{case.md}.mismatches"), "0", "mismatch_cnt")


def one_round(one, turn, scenarios):
    cases, images, disks = [], [], 0
    for number, scenario in enumerate(scenarios):
        cases.append(Case(one, number, turn, scenario, len(images), disks))
        images += cases[-1].members.paths
        disks += len(cases[-1].disks)
    one.boot("".join(case.making() for case in cases), images)
    mdtool = serving.guest_program(one, "mdtool", one.options.mdtool)
    first, count = BAD_SECTORS
    script = WORDS + "".join(case.breaking(one) for case in cases)
    arguments = ["-b", mdtool, "-a", f"scsi_debug.add_host={disks}", "-a", "scsi_debug.per_host_store=1",
                 "-a", f"scsi_debug.dev_size_mb={MEMBER_KIB >> 10}", "-a", f"scsi_debug.medium_error_start={first}",
                 "-a", f"scsi_debug.medium_error_count={count}"]
    answers = one.boot(script, images, arguments=arguments)
    where = one.where
    for case in cases:
        one.where = f"{where} {case.name} {case.shape}"
        judge(one, case, answers)
    still = [case for case in cases if case.scenario.vanishing == 1]
    one.where = where
    answers = one.boot(WORDS + "".join(case.kernels(one) for case in still), images)
    for case in still:
        one.where = f"{where} {case.name} {case.shape}"
        judge_kernel(one, case, answers)
    one.where = where


def run(one):
    for turn in range(one.rounds):
        half = one.random("half", turn).sample(SCENARIOS, len(SCENARIOS)) if one.rounds > 1 else SCENARIOS
        for start in range(0, len(half), 4):
            one.run(f"round {turn} from {start}", one_round, turn, half[start:start + 4])
