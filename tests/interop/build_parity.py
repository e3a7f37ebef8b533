# SPDX-License-Identifier: GPL-2.0-or-later
"""build-parity on members that were full of random bytes, against the kernel's own proactive sync."""
import lab
import ondisk
from lab import Shape

VARIANTS = ["clean-unwritten", "auto", "clean"]
LATER = 77  # the seed of what is written afterwards


def shape_for(generator, level):
    layouts = {4: [None], 5: lab.RAID5_LAYOUTS, 6: lab.RAID6_LAYOUTS}[level]
    return Shape(level, generator.randint(4 if level == 6 else 3, 5), generator.choice(layouts),
                 generator.choice([4, 16, 64]), bitmap="lockless", member_kib=generator.choice([3072, 4096]))


def proactive(one, shape, origin, spans):
    """The kernel makes the array, and on copies of it also the parity."""
    devices = lab.letters(0, shape.slots)
    twins = lab.letters(shape.slots, shape.slots)
    members = one.members(shape, one.name, origin, tail_of_zeroes="zero" in origin)
    kernels = members.copy_to(one.place(one.name, "kernel"))
    again = f"stop md0\nmdadm --assemble /dev/md0 {devices} >/dev/null 2>&1\nsettle md0\n"  # Dirty chunks would infect their block
    writes = "".join(f"pattern write /dev/md0 5 {first} {count}\n{again}" for first, count in spans)
    copies = "\n".join(f"dd if={a} of={b} bs=1M conv=fsync 2>/dev/null" for a, b in zip(devices.split(), twins.split()))
    one.boot(f"""
{shape.create("md0", devices)}
settle md0
{writes}
stop md0
{copies}
mdadm --assemble /dev/md0 {twins} >/dev/null 2>&1
settle md0
syncs=$(syncs_of md0)
echo 1 >/sys/block/md0/md/llbitmap/proactive_sync
begun md0 $syncs
settle md0
stop md0
""", members.present() + kernels.present())
    return members, kernels


def untrusted_before(one, members):
    """Wrong rows in chunks that build-parity leaves alone: the kernel's own (a sync that stopped in a chunk)."""
    states = members.bitmap()
    kept = ondisk.merged((c * states.chunk, (c + 1) * states.chunk) for c, s in enumerate(states.states)
                         if s in (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN))
    size = members.first().size
    return one.wrong_rows(members, [(first, min(end, size)) for first, end in kept])


def is_zero(members, first, count):
    return all(not any(ondisk.read_at(path, (block.data_offset + first) * ondisk.SECTOR, count * ondisk.SECTOR))
               for path, block in zip(members.present(), members.superblocks()))


def expected_states(members, before, variant):
    """What each chunk ends as."""
    states, size = before, members.first().size
    result = []
    for chunk, state in enumerate(states.states):
        first = chunk * states.chunk
        count = min(states.chunk, size - first)
        if state in (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN):
            result.append(state)
        elif state in (ondisk.DIRTY, ondisk.NEED_SYNC, ondisk.SYNCING):
            result.append(ondisk.CLEAN)
        elif variant == "clean-unwritten" or (variant == "auto" and chunk > 0 and is_zero(members, first, count)):
            result.append(ondisk.CLEAN_UNWRITTEN)
        else:
            result.append(ondisk.CLEAN)
    return result


def build(one, origin, variant):
    members = origin.copy_to(one.place(one.name, variant))
    before, wrong_before, content = members.bitmap(), untrusted_before(one, members), one.content(members)
    wrong_at_all = len(one.wrong_rows(members))
    status, document = one.mdtool("build-parity", "--yes", f"--state={variant}", "--undo", one.place("undo", one.name + variant),
                                  *members.paths)
    one.expect(status in (0, 1), f"--state={variant}: exit status {status} ({document.get('error')})")
    one.expect_equal(one.wrong_rows(members), wrong_before, f"--state={variant}: rows with wrong parity")
    one.expect_equal(one.content(members), content, f"--state={variant}: data blocks")
    one.expect_equal(list(members.bitmap().states), expected_states(members, before, variant), f"--state={variant}: states")
    one.expect_settled(members)
    digests = members.digests()
    status, document = one.mdtool("build-parity", "--yes", f"--state={variant}", *members.paths)
    one.expect_equal((status, document.get("result")), (0, None), f"--state={variant}: the second run ({document.get('error')})")
    one.expect_equal(members.digests(), digests, f"--state={variant}: members after the second run")
    one.note(f"--state={variant}: {wrong_at_all} rows wrong before, {len(wrong_before)} of them in Clean chunks")
    return members, wrong_before


def kernel_goes_on(one, built, kernels):
    """The kernel counts nothing as unwritten, syncs nothing, and its later writes leave parity right."""
    shape = kernels.shape
    generator = one.random("later", one.name)
    for variant, (members, wrong_before) in built.items():
        devices = lab.letters(0, shape.slots)
        writes = "".join(f"pattern write /dev/md0 {LATER} {generator.randrange(5000)} {generator.choice([1, 8, 40, 300])}\n"
                         for _ in range(12))
        twins = lab.letters(shape.slots, shape.slots)
        answers = one.boot(f"""
assemble md1 --readonly {twins}
bits md1
mdadm --stop /dev/md1 >/dev/null 2>&1
assemble md0 {devices}
bits md0
at_rest md0
{writes}
settle md0
say md0.afterwards $(syncs_of md0)
stop md0
""", members.present() + kernels.present())
        one.expect_at_rest(answers, "md0")
        bits = lab.bits_of(answers, "md0")
        one.expect(bits, f"{variant}: no counts from the kernel")
        one.expect_equal(bits.get("unwritten"), 0, f"{variant}: unwritten chunks that the kernel counts")
        one.expect_equal(bits.get("need_sync"), 0, f"{variant}: chunks to sync that the kernel counts")
        one.expect_equal(answers.get("md0.afterwards"), "0", f"{variant}: syncs after later writes")
        if variant == "clean-unwritten":
            one.expect_equal(bits, lab.bits_of(answers, "md1"), "counts against the kernel's own proactive sync")
        if variant != "--all":
            one.expect_equal(set(one.wrong_rows(members)) - set(wrong_before), set(), f"{variant}: rows wrong after later writes")
        else:
            one.expect_equal(one.wrong_rows(members), [], "--all: rows wrong after later writes")


def rebuild_all(one, origin):
    """--all cures also what the kernel left wrong in Clean chunks; here some more is planted."""
    members = origin.copy_to(one.place(one.name, "all"))
    generator = one.random("plants", one.name)
    for _ in range(5):
        one.oracle(members, "--plant", generator.randrange(members.first().size) // 8 * 8)
    content = one.content(members)
    status, document = one.mdtool("build-parity", "--all", "--yes", "--undo", one.place("undo", one.name + "all"), *members.paths)
    one.expect(status in (0, 1), f"--all: exit status {status} ({document.get('error')})")
    one.expect_equal(one.wrong_rows(members), [], "--all: rows with wrong parity")
    one.expect_equal(one.content(members), content, "--all: data blocks")
    one.expect_settled(members)
    return members, []


def undone(one, origin):
    """undo after build-parity: all metadata is as before, and the kernel counts what it counted before."""
    members = origin.copy_to(one.place(one.name, "undone"))
    metadata = members.metadata()
    undo = one.place("undo", one.name + "undone")
    status, document = one.mdtool("build-parity", "--yes", "--undo", undo, *members.paths)
    one.expect(status in (0, 1), f"build-parity: exit status {status} ({document.get('error')})")
    one.expect(members.metadata() != metadata, "build-parity changed no metadata")
    built = members.digests()
    status, document = one.mdtool("undo", "--dry-run", undo)
    one.expect_equal((status, members.digests() == built), (0, True), "undo --dry-run")
    status, document = one.mdtool("undo", "--yes", undo)
    one.expect_equal(status, 0, f"undo ({document.get('error')})")
    one.expect(members.metadata() == metadata, "metadata after undo is not what it was")
    status, document = one.mdtool("undo", "--yes", undo)
    one.expect_equal(status, 0, f"undo once more ({document.get('error')})")
    slots = members.shape.slots
    answers = one.boot("".join(f"""
assemble md{n} --readonly {lab.letters(n * slots, slots)}
bits md{n}
mdadm --stop /dev/md{n} >/dev/null 2>&1
""" for n in range(2)), origin.copy_to(one.place(one.name, "origin")).paths + members.paths)
    one.expect_equal(answers.get("md1.assembled"), "yes", f"the kernel after undo ({answers.get('md1.said')})")
    one.expect(lab.bits_of(answers, "md0"), "no counts from the kernel")
    one.expect_equal(lab.bits_of(answers, "md1"), lab.bits_of(answers, "md0"), "counts after undo")


def one_array(one, level, origin, turn):
    generator = one.random("array", level, origin, turn)
    shape = shape_for(generator, level)
    one.note(str(shape))
    per_chunk = 128 * shape.data_disks
    chunks = generator.sample(range(30), 0 if "unwritten" in origin else 1 if origin == "one-chunk" else 4)
    spans = [(chunk * per_chunk + generator.randrange(per_chunk - 100), generator.choice([8, 100])) for chunk in chunks]
    members, kernels = proactive(one, shape, origin, spans)
    tally = members.bitmap().counts()
    one.expect(tally["unwritten"] > 0, f"nothing is Unwritten, so nothing was shown: {tally}")
    built = {variant: build(one, members, variant) for variant in VARIANTS}
    built["--all"] = rebuild_all(one, members)
    kernel_goes_on(one, built, kernels)
    if level == 6:
        undone(one, members)


def any_bitmap(one, bitmap, turn):
    """--all without a lockless bitmap: assume-clean on garbage, so that all parity is wrong."""
    generator = one.random("any", bitmap, turn)
    level = generator.choice([4, 5, 6])
    shape = Shape(level, 5, None, 16, generator.choice(lab.METADATA), bitmap, extra="--assume-clean")
    members = one.members(shape, one.name)
    devices = lab.letters(0, shape.slots)
    one.boot(f"{shape.create('md0', devices)}\nsettle md0\npattern write /dev/md0 5 100 500\nstop md0\n", members.paths)
    one.expect(len(one.wrong_rows(members)) > 0, "nothing was wrong before")
    built, _ = rebuild_all(one, members)
    answers = one.boot(f"assemble md0 {devices}\nat_rest md0\nverify md0 5 100 500\ncheck md0\nstop md0\n", built.paths)
    one.expect_at_rest(answers, "md0")
    one.expect_content(answers, "md0")
    one.expect_equal(answers.get("md0.mismatches"), "0", "mismatch_cnt")


def run(one):
    arrays = [(4, "one-chunk"), (5, "unwritten"), (5, "partly zero"), (6, "partly"), (6, "unwritten zero")]
    bitmaps = ["none", "classic"]
    if one.rounds == 1 and not one.options.only:
        few = one.random("few")
        arrays, bitmaps = few.sample(arrays[:3], 1) + few.sample(arrays[3:], 1), few.sample(bitmaps, 1)
    for turn in range(one.rounds):
        for level, origin in arrays:
            one.run(f"{turn} raid{level} {origin}", one_array, level, origin, turn)
        for bitmap in bitmaps:
            one.run(f"{turn} all with bitmap {bitmap}", any_bitmap, bitmap, turn)
