# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrays made by `mdtool create` against those of mdadm 4.6, byte by byte; and what the kernel makes of them."""
import os
import random
import struct
from dataclasses import dataclass

import lab
import ondisk
from combinations import KIB, MISSING, chosen_combinations, drawn_combination

SECTOR = ondisk.SECTOR
NOISE = 384 * KIB
BLOCK = 4096

# What may differ, by name: (first byte within the structure, bytes).
VERSION_1 = {"ctime": (64, 8), "device_uuid": (168, 16), "utime": (192, 8), "events": (200, 8), "sb_csum": (216, 4)}
VERSION_1_MOVED_LOG = {"bblog_size": (186, 2), "bblog_offset": (188, 4)}  # only where it would lie over lockless states
VERSION_0 = {"ctime": (24, 4), "utime": (128, 4), "sb_csum": (152, 4),
             **{f"disks[{n}].{name}": (512 + 128 * n + at, 4) for n in range(27) for name, at in (("major", 4), ("minor", 8))},
             "this_disk.major": (3968 + 4, 4), "this_disk.minor": (3968 + 8, 4)}
BITMAP = {"events": (24, 8), "events_cleared": (32, 8)}
# Where the kernel writes the header anew (it calls mdadm's of a 0.90 array stale; degraded arrays), it counts of a RAID-10
# only the chunks that the copies fill; mdadm, and mdtool with it, does not.
RAID10_BITMAP = {"sync_size": (40, 8)}


# ---- comparing -----------------------------------------------------------------------------------------------------------


def data_extents(path):
    """[first, end) of what is not a hole."""
    extents = []
    with open(path, "rb") as file:
        size, at = os.path.getsize(path), 0
        while at < size:
            try:
                first = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), first, os.SEEK_HOLE)
            extents.append((first // BLOCK * BLOCK, min(-(-at // BLOCK) * BLOCK, size)))
    return extents


def differences(path, other):
    """Runs [first, end) of bytes that differ, anywhere."""
    runs = []
    covered = 0
    for first, end in sorted(data_extents(path) + data_extents(other)):
        for at in range(max(first, covered) // BLOCK * BLOCK, end, BLOCK):
            one, two = ondisk.read_at(path, at, BLOCK), ondisk.read_at(other, at, BLOCK)
            if one != two:
                for n, (a, b) in enumerate(zip(one, two)):
                    if a != b:
                        if runs and runs[-1][1] == at + n:
                            runs[-1][1] += 1
                        else:
                            runs.append([at + n, at + n + 1])
            covered = at + BLOCK
    return runs


def classic_bits(raw):
    sync_size, _, chunk = struct.unpack_from("<QII", raw, 40)
    return -(-(-(-sync_size // (chunk // SECTOR))) // 8)


class Mask:
    def __init__(self):
        self.ranges = []

    def fields(self, at, table):
        self.ranges += [(at + first, at + first + count) for first, count in table.values()]

    def rest(self, runs):
        """What is left of the runs."""
        left = []
        for first, end in runs:
            at = first
            for low, high in sorted(self.ranges):
                if low < end and high > at:
                    if low > at:
                        left.append((at, low))
                    at = max(at, high)
            if at < end:
                left.append((at, end))
        return left


def checksum_is_right(raw, metadata):
    size = 4096 if metadata == "0.90" else 256 + 2 * struct.unpack_from("<I", raw, ondisk.MAX_DEV_AT)[0]
    at = 152 if metadata == "0.90" else 216
    words = sum(struct.unpack(f"<{size // 4}I", raw[:at] + bytes(4) + raw[at + 4:size]))
    return struct.unpack_from("<I", raw, at)[0] == ((words & 0xFFFFFFFF) + (words >> 32)) & 0xFFFFFFFF


def compare_member(one, combination, theirs, ours, where):
    at = ondisk.superblock_at(ours, combination.metadata)
    raw, reference = ondisk.read_at(ours, at, 4096), ondisk.read_at(theirs, at, 4096)
    one.expect(checksum_is_right(raw, combination.metadata), f"{where}: checksum")
    mask = Mask()
    old = combination.metadata == "0.90"
    events_at = 156 if old else 200
    events = [struct.unpack_from("<Q", block, events_at)[0] for block in (raw, reference)]
    one.expect_equal(events, [1, 1 if old else 0], f"{where}: events of mdtool and mdadm")
    mask.fields(at, VERSION_0 if old else VERSION_1)
    bitmap_at = ondisk.superblock(ours, combination.metadata).bitmap_at
    if bitmap_at is not None:
        mask_bitmap(one, mask, combination, ours, theirs, bitmap_at, at, where)
    left = mask.rest(differences(theirs, ours))
    told = [f"bytes {first - at}..{end - at - 1} from the superblock: mdadm {ondisk.read_at(theirs, first, min(end - first, 16)).hex()}, "
            f"mdtool {ondisk.read_at(ours, first, min(end - first, 16)).hex()}" for first, end in left[:6]]
    one.expect(not left, f"{where} ({combination}): {len(left)} differences: " + "; ".join(told))


def mask_bitmap(one, mask, combination, ours, theirs, bitmap_at, superblock_at, where):
    header = ondisk.read_at(ours, bitmap_at, 256)
    mask.fields(bitmap_at, BITMAP)
    if combination.level == 10:
        mask.fields(bitmap_at, RAID10_BITMAP)
    one.expect_equal(struct.unpack_from("<Q", header, 24)[0], 1, f"{where}: the bitmap's events")
    if combination.bitmap == "internal":
        count = classic_bits(header)
        bits = ondisk.read_at(ours, bitmap_at + ondisk.CLASSIC_BITS_AT, count)
        one.expect(bits == b"\xff" * count, f"{where}: bits that are not set")
        mask.ranges.append((bitmap_at + ondisk.CLASSIC_BITS_AT, bitmap_at + ondisk.CLASSIC_BITS_AT + count))
        return
    # A start, even a read-only one, makes the kernel write all states; in ours there are none before that.
    room = struct.unpack_from("<I", header, 64)[0] * SECTOR
    states_end = bitmap_at + room + ondisk.LOCKLESS_STATES_AT
    mask.ranges.append((bitmap_at + ondisk.LOCKLESS_STATES_AT, -(-states_end // BLOCK) * BLOCK))
    log_size, log_at = (struct.unpack_from(form, ondisk.read_at(ours, superblock_at, 256), at) for form, at in (("<H", 186), ("<i", 188)))
    begin = superblock_at + log_at[0] * SECTOR
    chunks = lockless_chunks(header, room)
    reach = bitmap_at + -(-(ondisk.LOCKLESS_STATES_AT + chunks) // BLOCK) * BLOCK
    one.expect(log_size[0] == 0 or begin >= reach or begin + 8 * SECTOR <= bitmap_at, f"{where}: the bad-block log lies in the states")
    their_log = superblock_at + struct.unpack_from("<i", ondisk.read_at(theirs, superblock_at, 256), 188)[0] * SECTOR
    if their_log < reach:  # the stated deviation
        mask.fields(superblock_at, VERSION_1_MOVED_LOG)
        mask.ranges.append((begin, begin + 8 * SECTOR))


def lockless_chunks(header, room):
    sync_size, = struct.unpack_from("<Q", header, 40)
    chunk = 128
    while -(-sync_size // chunk) > room:
        chunk *= 2
    return -(-sync_size // chunk)


# ---- cases ---------------------------------------------------------------------------------------------------------------


def make_members(directory, n, combination):
    paths = []
    for slot, size in enumerate(combination.sizes):
        if size is not MISSING:
            path = os.path.join(directory, f"{n}.{slot}")
            with open(path, "wb") as file:
                file.truncate(size)
                if combination.noise is not None:
                    generator = random.Random(combination.noise + slot)
                    for at in (0, (size - NOISE) // BLOCK * BLOCK):
                        file.seek(at)
                        file.write(generator.randbytes(NOISE))
        paths.append("missing" if size is MISSING else path)
    return paths


def given(paths):
    return [path for path in paths if path != "missing"]


def same_bytes(one, combinations):
    """mdadm's own bytes, before the kernel's first update: it starts them read-only."""
    theirs, ours = one.place(one.name, "mdadm"), one.place(one.name, "mdtool")
    os.makedirs(theirs)
    os.makedirs(ours)
    script = ["echo 1 >/sys/module/md_mod/parameters/start_ro"]
    for n, combination in enumerate(combinations):
        paths = make_members(theirs, n, combination)
        make_members(ours, n, combination)
        files = " ".join(f"/share/{os.path.basename(path)}" for path in given(paths))
        members = " ".join("missing" if path == "missing" else "%s" for path in paths)
        script.append(f"attach {files}\nset -- $devices")
        for slot in range(len(given(paths))):
            members = members.replace("%s", f"${slot + 1}", 1)
        script.append(f"if mdadm --create /dev/md0 --run --readonly {quoted(combination.mdadm_words())} {members} >/tmp/said 2>&1; "
                      f"then say {n} made; else say {n} \"$(tr '\\n' ' ' </tmp/said)\"; fi\n"
                      "mdadm --stop /dev/md0 >/dev/null 2>&1 || true\ndetach")
    answers = one.boot("\n".join(script), share=theirs)
    for n, combination in enumerate(combinations):
        paths = [path if path == "missing" else os.path.join(ours, os.path.basename(path))
                 for path in make_names(theirs, n, combination)]
        status, document = one.mdtool("create", *combination.mdtool_words(), "--yes", "--undo=none", *paths)
        both = one.expect_equal(answers.get(str(n)), "made", f"mdadm --create {combination}")
        if not one.expect_equal(status, 0, f"create {combination}: {document.get('error')}") or not both:
            continue
        for slot, path in enumerate(paths):
            if path != "missing":
                compare_member(one, combination, os.path.join(theirs, os.path.basename(path)), path, f"{n} member {slot}")


def make_names(directory, n, combination):
    return ["missing" if size is MISSING else os.path.join(directory, f"{n}.{slot}") for slot, size in enumerate(combination.sizes)]


def quoted(words):
    return " ".join(word if "'" in word else f"'{word}'" for word in words)


# lab.py's words for one array wait for each in its turn.
MANY = r"""
rest() {  # MD...
  sleep 0.5
  for one in "$@"; do
    while [ "$(cat /sys/block/$one/md/sync_action 2>/dev/null || echo idle)" != idle ]; do sleep 0.1; done
    while grep -qE '^(active|write-pending)$' /sys/block/$one/md/array_state; do sleep 0.1; done
  done
}
check_all() {  # MD...: and stop them
  for one in "$@"; do [ ! -e /sys/block/$one/md/sync_action ] || echo check >/sys/block/$one/md/sync_action; done
  rest "$@"
  for one in "$@"; do
    say $one.mismatches "$(sys $one mismatch_cnt)"
    mdadm --stop /dev/$one >/dev/null 2>&1
  done
}
"""


@dataclass
class Taken:
    """An array on members full of random bytes, or of zeroes, that the kernel is to take over."""
    shape: lab.Shape
    words: tuple = ()
    zeroes: bool = False
    missing: int | None = None
    spares: int = 0
    syncs: int = 1  # that the kernel is to start
    degraded: int = 0  # after them

    def __str__(self):
        return " ".join([str(self.shape), *self.words] + ["on zeroes"] * self.zeroes)


def taken_arrays():
    shape = lab.Shape
    for level, slots, layout in ((4, 3, None), (5, 4, "left-symmetric"), (6, 5, "ddf-N-restart"), (5, 3, "parity-first")):
        yield Taken(shape(level, slots, layout))
    for metadata in lab.METADATA:
        yield Taken(shape(5, 3, "right-asymmetric", 16, metadata, "classic"))
    yield Taken(shape(6, 4, bitmap="classic"))
    yield Taken(shape(5, 3, bitmap="lockless"))
    yield Taken(shape(6, 4, bitmap="lockless"))
    yield Taken(shape(5, 3), ("--consistency-policy=ppl",))
    yield Taken(shape(5, 3), spares=1)
    yield Taken(shape(5, 4), missing=1, spares=1)
    yield Taken(shape(6, 4, bitmap="classic"), missing=2, degraded=1)
    yield Taken(shape(5, 3), ("--assume-clean",), zeroes=True, syncs=0)
    yield Taken(shape(6, 4, metadata="1.0", bitmap="classic"), ("--assume-clean",), zeroes=True, syncs=0)
    yield Taken(shape(5, 3, bitmap="lockless"), ("--assume-clean",), zeroes=True, syncs=0)
    yield Taken(shape(5, 3, metadata="0.90"), ("--write-zeroes",), syncs=0)
    yield Taken(shape(6, 5, bitmap="lockless"), ("--write-zeroes=write",), syncs=0)


def created(one, case, n):
    """Members in slot order, made by mdtool; the spares' paths."""
    shape = case.shape
    generator = one.random("members", n)
    members = one.members(shape, f"{one.name}-{n}", generator=generator)
    extra = [one.place(f"{one.name}-{n}", f"spare{s}.img") for s in range(case.spares)]
    for path in extra:
        with open(path, "wb") as file:
            file.write(generator.randbytes(shape.member_kib * KIB))
    if case.zeroes:
        for path in members.paths:
            ondisk.write_at(path, 0, bytes(shape.member_kib * KIB))
    if case.missing is not None:
        members = members.without({case.missing})
    bitmap = {"none": [], "classic": ["--bitmap=internal", f"--bitmap-chunk={shape.bitmap_chunk_kib}"], "lockless": ["--bitmap=lockless"]}
    status, document = one.mdtool(
        "create", f"--level={shape.level}", f"--chunk={shape.chunk_kib}", f"--metadata={shape.metadata}",
        f"--spare-devices={case.spares}", *([f"--layout={shape.layout}"] if shape.layout else []), *bitmap[shape.bitmap],
        *case.words, "--yes", "--undo=none", *(path or "missing" for path in members.paths), *extra)
    one.require(status == 0, f"create {case}: {document.get('error')}")
    return members, extra


def written_sectors(members):
    return members.first().chunk * members.shape.data_disks * 6 + 24


def taken_over(one):
    """The kernel assembles ours with every slot filled, syncs what is due and no more, and then finds nothing wrong."""
    cases = list(taken_arrays())
    made = [created(one, case, n) for n, case in enumerate(cases)]
    arrays = list(zip((f"md{n}" for n in range(len(made))), made))
    script = [assemble_words(one, md, members.present() + extra) for md, (members, extra) in arrays]
    every = " ".join(md for md, _ in arrays)
    script.append(f"rest {every}")
    script += [f'say {md}.after "$(sys {md} degraded)"\nsay {md}.syncs $(syncs_of {md})' for md, _ in arrays]
    script += [f"pattern write /dev/{md} {md[2:]} 0 {written_sectors(members)}" for md, (members, _) in arrays]
    script.append(f"rest {every}")
    script += [f"verify {md} {md[2:]} 0 {written_sectors(members)}" for md, (members, _) in arrays]
    answers = one.boot(MANY + "\n".join(script + [f"check_all {every}"]), share=one.directory)
    for n, (case, (members, extra)) in enumerate(zip(cases, made)):
        md, told = f"md{n}", str(case)
        one.expect_equal(answers.get(f"{md}.assembled"), "yes", f"{told}: {answers.get(f'{md}.said')}")
        one.expect_equal(answers.get(f"{md}.after"), str(case.degraded), f"{told}: degraded")
        one.expect_equal(answers.get(f"{md}.syncs"), str(case.syncs), f"{told}: syncs")
        one.expect_content(answers, md)
        filled = members if case.missing is None else by_slot(members, members.present() + extra)
        if case.shape.bitmap == "lockless" and case.syncs:
            # What the kernel syncs behind a first write it may leave in mid-chunk: its own check says so then.
            rows = written_sectors(members) // case.shape.data_disks
            one.expect_equal(one.wrong_rows(filled, [(0, rows // 8 * 8)]), [], f"{told}: wrong rows among the written")
            continue
        one.expect_equal(answers.get(f"{md}.mismatches"), "0", f"{told}: mismatches")
        if case.degraded == 0:
            one.expect_equal(one.wrong_rows(filled), [], f"{told}: wrong rows")


def assemble_words(one, md, paths):
    files = " ".join(os.path.join("/share", os.path.relpath(path, one.directory)) for path in paths)
    return f"attach {files}\nassemble {md} --run $devices"


def by_slot(members, paths):
    """As the superblocks say, once the kernel has filled a missing slot."""
    placed = [None] * members.shape.slots
    for path in paths:
        slot = ondisk.superblock(path, members.shape.metadata).slot
        if slot is not None:
            placed[slot] = path
    return lab.Members(members.shape, placed)


def own_verbs(one):
    """What mdtool does to a new array right away, and the kernel has nothing left to do."""
    cases = [Taken(lab.Shape(4, 3)), Taken(lab.Shape(5, 4, bitmap="classic")), Taken(lab.Shape(6, 4, metadata="0.90")),
             Taken(lab.Shape(6, 5, bitmap="classic", metadata="1.0")), Taken(lab.Shape(5, 3, bitmap="lockless")),
             Taken(lab.Shape(6, 4, bitmap="lockless"))]
    arrays = []
    for n, case in enumerate(cases):
        members, _ = created(one, case, n)
        arrays.append((f"md{n}", members))
        verb, expected = ("build-parity", 0) if case.shape.bitmap == "lockless" else ("resync", 1)
        status, document = one.mdtool(verb, "--yes", "--undo=none", *members.paths)
        one.expect_equal(status, expected, f"{case}: {verb} ({document.get('error')})")
        one.expect_equal(one.wrong_rows(members), [], f"{case}: wrong rows after {verb}")
    script = [assemble_words(one, md, members.paths) for md, members in arrays]
    every = " ".join(md for md, _ in arrays)
    answers = one.boot(MANY + "\n".join(script + [f"at_rest {every}\ncheck_all {every}"]), share=one.directory)
    for case, (md, members) in zip(cases, arrays):
        one.expect_at_rest(answers, md)
        one.expect_equal(answers.get(f"{md}.mismatches"), "0", f"{case}: mismatches")
        one.expect_equal(one.wrong_rows(members), [], f"{case}: wrong rows at the end")


def run(one):
    generator = one.random("combinations")
    combinations = list(chosen_combinations())
    combinations += [drawn_combination(generator) for _ in range(40 * one.rounds)]
    for combination in combinations:
        combination.uuid = ":".join(f"{generator.getrandbits(32):08x}" for _ in range(4))
    one.note(f"{len(combinations)} combinations")
    one.run("same bytes", same_bytes, combinations)
    one.run("taken over", taken_over)
    one.run("own verbs", own_verbs)
