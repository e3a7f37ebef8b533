# SPDX-License-Identifier: GPL-2.0-or-later
"""The power goes while the kernel writes; mdtool resync; the kernel takes the array as if it had been stopped well."""
import lab
import ondisk
from lab import Shape

ROUNDS = 2
LOCKLESS_CHUNK = 128  # sectors; the kernel's choice for members this small
BASELINE, STORM = 7, 40  # seeds of content


def shape_for(generator, level, bitmap):
    layouts = {4: [None], 5: lab.RAID5_LAYOUTS, 6: lab.RAID6_LAYOUTS}[level]
    return Shape(level, generator.randint(4 if level == 6 else 3, 5), generator.choice(layouts),
                 generator.choice([4, 16, 64]), "1.2" if bitmap == "lockless" else generator.choice(lab.METADATA), bitmap,
                 generator.choice([16, 64, 128]), member_kib=4096)


class Cut:
    """One array of a round: what is written before, where the storm blows, and what the cut left."""

    def __init__(self, one, turn, level, bitmap, images):
        generator = one.random("cut", turn, level, bitmap)
        self.generator = generator
        self.bitmap = bitmap
        self.shape = shape_for(generator, level, bitmap)
        self.members = one.members(self.shape, f"round-{turn}", f"raid{level}-{bitmap}", generator=generator)
        self.devices = lab.letters(len(images), self.shape.slots)
        self.name = f"raid{level}-{bitmap}"
        # 1.9 MiB of each member hold something known; the rest was never written.
        self.filled = generator.choice([3800, 2000, 5200]) * self.shape.data_disks
        stripe = LOCKLESS_CHUNK * self.shape.data_disks
        self.first = generator.randrange(36) * stripe
        self.count = stripe if turn % 2 or bitmap == "lockless" else stripe * 4
        if bitmap == "lockless" and generator.random() < 0.3:
            self.count = 3 * stripe
        self.plants = turn % 2 == 1

    def making(self, md):
        """Filled, and started anew: all bits are clear then."""
        return f"""
{self.shape.create(md, self.devices)}
settle {md}
pattern write /dev/{md} {BASELINE} 0 {self.filled}
stop {md}
mdadm --assemble /dev/{md} {self.devices} >/dev/null 2>&1
settle {md}
"""

    def storm(self, md):
        return "".join(f"pattern storm /dev/{md} {STORM + i}000000 {self.first} {self.count} &\n" for i in range(3))

    def kept(self):
        """Array sectors with known content that no interrupted write was aimed at."""
        return [(first, end) for first, end in
                ((0, min(self.first, self.filled)), (self.first + self.count, self.filled)) if first < end]


def plant(one, cut, ranges):
    """Wrong parity in up to three rows of these ranges."""
    rows = set()
    for _ in range(3 if ranges else 0):
        first, end = cut.generator.choice(ranges)
        rows.add(max(first, cut.generator.randrange(first, end) // 8 * 8))
    for row in sorted(rows):  # planting twice in one row would take it back
        one.oracle(cut.members, "--plant", row)


def repair(one, cut):
    """mdtool's turn, judged by the oracle and by the bytes."""
    members = cut.members
    size = members.first().size
    due, chunks = members.due()
    not_due = ondisk.complement(due, size)
    if cut.plants:
        plant(one, cut, due)
        plant(one, cut, not_due)
    cut.left_wrong = one.wrong_rows(members, not_due)
    wrong_due = one.wrong_rows(members, due)
    content = one.content(members)
    undo = one.place("undo", f"{one.name}.{cut.name}")
    status, document = one.mdtool("resync", "--yes", "--undo", undo, *members.paths)
    one.expect(status in (0, 1), f"resync's exit status ({document.get('error')}): {status}")
    result = document.get("result")
    if due:
        one.require(result is not None, f"nothing was done about {chunks} due chunks: {one.last}")
        one.expect(result["chunks_synchronised"] <= chunks or cut.bitmap == "none",
                   f"{result['chunks_synchronised']} chunks synchronised, {chunks} due")
        bound = ondisk.total(due) * ondisk.SECTOR
        for traffic in result["members"]:
            one.expect(traffic["bytes_read"] <= bound, f"{traffic} although only {bound} bytes are due")
            one.expect(traffic["bytes_written"] <= bound, f"{traffic} although only {bound} bytes are due")
        one.expect(bool(wrong_due) == (result["parity_bytes_rewritten"] > 0),
                   f"{len(wrong_due)} wrong rows, {result['parity_bytes_rewritten']} bytes rewritten")
    one.expect_equal(one.wrong_rows(members, due), [], "rows still wrong in due chunks")
    one.expect_equal(one.wrong_rows(members, not_due), cut.left_wrong, "wrong rows outside of due chunks")
    one.expect_equal(one.content(members), content, "data blocks")
    one.expect_settled(members)
    before = members.digests()
    status, document = one.mdtool("resync", "--yes", *members.paths)
    one.expect_equal((status, document.get("result")), (0, None), f"the second run ({document.get('error')})")
    one.expect_equal(members.digests(), before, "members after the second run")
    cut.summary = f"{chunks} chunks due, {len(wrong_due)} rows wrong there, {len(cut.left_wrong)} elsewhere"
    one.note(cut.summary)
    one.torn += len(wrong_due)


def counted_by_check(cut):
    """The rows left wrong that the kernel's check looks at: not those in Unwritten and CleanUnwritten chunks."""
    one = cut.members.bitmap()
    if one is None or not one.lockless:
        return len(cut.left_wrong)
    seen = [row for row in cut.left_wrong if one.states[row // one.chunk] not in (ondisk.UNWRITTEN, ondisk.CLEAN_UNWRITTEN)]
    return len(seen)


def judge(one, cut, answers, md):
    one.expect_at_rest(answers, md)
    one.expect_equal(answers.get(f"{md}.mismatches"), str(8 * counted_by_check(cut)),
                     f"mismatch_cnt after check ({cut.summary})")
    one.expect_content(answers, md)
    one.expect(any(key.startswith(f"{md}.content.") for key in answers) or not cut.kept(), "no content was checked")


def round_of_cuts(one, turn, level):
    images, cuts = [], []
    for bitmap in ("none", "classic", "lockless"):
        cuts.append(Cut(one, turn, level, bitmap, images))
        images += cuts[-1].members.paths
    generator = one.random("moment", turn, level)
    script = "".join(cut.making(f"md{n}") for n, cut in enumerate(cuts))
    script += "".join(cut.storm(f"md{n}") for n, cut in enumerate(cuts))
    script += "".join(f"under_way md{n}\n" for n in range(len(cuts)))  # Before, an array may be clean, its bitmap an event ahead
    script += f"sleep {generator.choice([0.02, 0.1, 0.2, 0.3, 0.5]):.2f}\ncrash\n"
    one.boot(script, images, write_through=generator.random() < 0.6)
    where = one.where
    done = []
    for cut in cuts:
        one.where = f"{where} {cut.shape}"
        try:
            repair(one, cut)
            done.append(cut)
        except lab.Abandoned:
            pass
    script = ""
    for n, cut in enumerate(cuts):
        script += f"assemble md{n} {cut.devices}\n"
    script += "at_rest " + " ".join(f"md{n}" for n in range(len(cuts))) + "\n"
    for n, cut in enumerate(cuts):
        script += "".join(f"verify md{n} {BASELINE} {first} {end - first}\n" for first, end in cut.kept())
    script += "check " + " ".join(f"md{n}" for n in range(len(cuts))) + "\n"
    script += "".join(f"stop md{n}\n" for n in range(len(cuts)))
    answers = one.boot(script, images)
    for n, cut in enumerate(cuts):
        if cut in done:
            one.where = f"{where} {cut.shape}"
            judge(one, cut, answers, f"md{n}")
    one.where = where


def run(one):
    one.torn = 0
    for turn in range(ROUNDS * one.rounds):
        for level in (4, 5, 6):
            one.run(f"round {turn} raid{level}", round_of_cuts, turn, level)
    one.where = "power_cut, all rounds"
    one.expect(one.torn > 0 or one.options.only, "no cut tore anything: these rounds have shown nothing")
