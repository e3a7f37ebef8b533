# SPDX-License-Identifier: GPL-2.0-or-later
"""The arrays that `mdtool create` and mdadm are both asked for, in mdadm's words."""
from dataclasses import dataclass, field

import lab

SECTOR, KIB, MIB, GIB, TIB = 512, 1024, 1024**2, 1024**3, 1024**4
MISSING = None
NO_HOST = "<none>"
DEVICE_NAME = "0"  # what an array is called by mdadm where nobody names it, as /dev/md0


@dataclass
class Combination:
    """An array by mdadm's options; `sizes` are bytes of the members in order, MISSING for none. Spares come last."""
    level: object
    sizes: list
    metadata: str = "1.2"
    layout: str | None = None
    chunk: str | None = None
    bitmap: str = "none"
    bitmap_chunk: str | None = None
    size: str | None = None
    data_offset: str | None = None
    spares: int = 0
    name: str = ""
    homehost: str = ""
    assume_clean: bool = False
    write_zeroes: bool = False
    ppl: bool = False
    noise: int | None = None  # seed of what is at both ends of the members before
    force: bool = True  # mdadm's, without which RAID-4/5/6 start with a spare
    uuid: str = field(default="", compare=False)

    def common_words(self):
        words = [f"--level={self.level}", f"--raid-devices={len(self.sizes) - self.spares}",
                 f"--metadata={self.metadata}", f"--uuid={self.uuid}"]
        words += [f"--spare-devices={self.spares}"] if self.spares else []
        for option in ("layout", "chunk", "size"):
            words += [f"--{option}={getattr(self, option)}"] if getattr(self, option) else []
        words += [f"--bitmap-chunk={self.bitmap_chunk}"] if self.bitmap_chunk else []
        words += [f"--data-offset={self.data_offset}"] if self.data_offset else []
        words += ["--consistency-policy=ppl"] if self.ppl else []
        words += [f"--bitmap={self.bitmap}"] if self.level not in (0, "linear") and not self.ppl else []
        words += ["--assume-clean"] if self.assume_clean else []
        words += ["--write-zeroes"] if self.write_zeroes else []
        return words

    def mdadm_words(self):
        words = self.common_words() + ["--force"] * self.force
        return words + ([f"--name={self.name}"] if self.name else []) + [f"--homehost='{self.homehost or NO_HOST}'"]

    def mdtool_words(self):
        words = self.common_words()
        words += [f"--name={self.name or DEVICE_NAME}"] if self.metadata != "0.90" else []
        return words + ([f"--homehost={self.homehost}"] if self.homehost else [])

    def __str__(self):
        return " ".join(word for word in self.mdtool_words() if not word.startswith("--uuid")) + " on " + \
            " ".join("missing" if size is MISSING else str(size) for size in self.sizes)


def chosen_combinations():
    """Those that have to be there: every level, layout and version, and every size at which a default turns."""
    small = 64 * MIB
    layouts = [(4, None, 4)] + [(5, layout, 3) for layout in lab.RAID5_LAYOUTS] + [(6, layout, 5) for layout in lab.RAID6_LAYOUTS]
    layouts += [(10, layout, 4) for layout in ("n2", "n3", "o2", "o3", "f2", "f4")] + [(10, "n2", 3), (1, None, 2), (1, None, 3)]
    layouts += [(0, "original", 3), (0, "alternate", 2), ("linear", None, 2)]
    for n, (level, layout, slots) in enumerate(layouts):
        yield Combination(level, [small] * slots, version_of(n), layout if version_of(n) != "0.90" or level != 0 else None)
    for metadata in lab.METADATA:
        for level, slots in ((0, 2), ("linear", 2), (1, 2), (4, 3), (5, 4), (6, 4), (10, 4)):
            yield Combination(level, [small + 40 * KIB] * slots, metadata, assume_clean=level in (4, 10))
        yield Combination(5, [small] * 3, metadata, bitmap="internal")
        yield Combination(10, [small] * 4, metadata, layout="n2", bitmap="internal", bitmap_chunk="64K", chunk="64")
    for size in (3 * MIB, 20 * MIB, 8 * GIB, 10 * GIB, 100 * GIB, 300 * GIB, 3 * TIB):
        for metadata in ("1.0", "1.1", "1.2"):
            yield Combination(5, [size] * 3, metadata, chunk="64", bitmap="internal")
        yield Combination(6, [size] * 4, chunk="64", bitmap="lockless", assume_clean=size > 10 * GIB)
        yield Combination(5, [size] * 3, "0.90", chunk="16", bitmap="internal", bitmap_chunk=None)
    for size in (300 * GIB, 3 * TIB):
        yield Combination(1, [size] * 2, bitmap="lockless")
        yield Combination(10, [size] * 4, bitmap="internal")
        yield Combination(5, [size] * 3, ppl=True)
        yield Combination(0, [size] * 2)
        yield Combination(5, [size] * 3)
    for metadata in ("1.1", "1.2"):  # mdadm 4.6 itself fails where the log would lie before a 1.0 superblock
        yield Combination(5, [small] * 3, metadata, ppl=True, chunk="64")
    for metadata in ("1.0", "1.1", "1.2"):
        yield Combination(5, [small, MISSING, small, small], metadata, spares=1, name="with-spare")
    yield Combination(5, [10 * GIB] * 3, ppl=True, assume_clean=True)
    yield Combination(4, [small, small, MISSING])
    yield Combination(6, [small, MISSING, small, small, MISSING], bitmap="internal")
    yield Combination(6, [small, small, MISSING, small, small], force=False)
    yield Combination(6, [small, small, small, MISSING], "0.90", force=False)
    yield Combination(1, [small, MISSING], "1.0")
    yield Combination(10, [small, MISSING, MISSING, small], layout="n2", name="half", homehost="host")
    yield Combination(5, [small] * 3, "0.90", homehost="host")
    yield Combination(5, [small] * 5, spares=2, bitmap="lockless")
    yield Combination(1, [small] * 3, "0.90", spares=1)
    yield Combination(5, [small, 65 * MIB, 70 * MIB], "1.2", name="0123456789012345678901234567890", homehost="host")
    yield Combination(5, [small] * 3, data_offset="8M", bitmap="lockless")
    yield Combination(6, [small] * 4, "1.1", data_offset="1028", chunk="64", bitmap="internal")
    yield Combination(5, [small] * 3, size="20000", chunk="4", bitmap="lockless")
    for metadata in lab.METADATA:
        yield Combination(5, [17 * MIB] * 3, metadata, noise=17, write_zeroes=True, chunk="64")
    yield Combination(6, [17 * MIB] * 4, noise=18, write_zeroes=True, bitmap="lockless")
    yield Combination(10, [17 * MIB, 20 * MIB], noise=19, write_zeroes=True, size="10M", bitmap="internal")
    yield Combination(1, [small] * 2, size="16M", bitmap="internal", bitmap_chunk="4M")


def version_of(n):
    return lab.METADATA[n % len(lab.METADATA)]


def drawn_combination(generator):
    level = generator.choice([0, "linear", 1, 4, 5, 5, 6, 6, 10])
    metadata = generator.choice(lab.METADATA + ["1.2", "1.2"])
    slots = generator.randint({6: 4, 10: 4, 5: 3, 4: 3}.get(level, 2), 6)
    layout = None
    if level in (5, 6):
        layout = generator.choice([None] + (lab.RAID5_LAYOUTS if level == 5 else lab.RAID6_LAYOUTS))
    elif level == 10:
        layout = generator.choice([None, "n2", "n3", "n4", "f2", "f3", "o2", "o4"])
    one = generator.choice([17 * MIB, 64 * MIB, 200 * MIB + 7 * KIB, GIB + SECTOR, 10 * GIB, 300 * GIB, 3 * TIB - MIB])
    # mdadm and the kernel want 0.90 RAID-0 members alike, as nothing says which layout is meant.
    further = [0] if (level, metadata) == (0, "0.90") else [0, 0, 64 * KIB, 3 * SECTOR, 5 * MIB]
    sizes = [one + generator.choice(further) for _ in range(slots)]
    plain = level in (0, "linear")
    spares = 0 if plain else generator.choice([0, 0, 0, 1, 2])
    ppl = level == 5 and metadata in ("1.1", "1.2") and generator.random() < 0.2
    kinds = ["none", "internal"] + ["lockless"] * 2 * (metadata == "1.2")
    bitmap = "none" if plain or ppl else generator.choice(kinds)
    most_missing = {1: 1, 4: 1, 5: 1, 10: 1}.get(level, 0)
    for slot in generator.sample(range(slots), generator.choice([0, 0, most_missing])):
        sizes[slot] = MISSING
    return Combination(
        level, sizes + [one] * spares, metadata, layout,
        chunk=generator.choice([None, "4", "16K", "64", "128", "1M"]) if level not in (1, "linear") else None,
        bitmap=bitmap, bitmap_chunk=generator.choice([None, None, "64M", "256M"]) if bitmap == "internal" else None,
        size=generator.choice([None, None, "12M", "10240"]) if not plain else None,
        data_offset=generator.choice([None, None, None, "2M", "3M"]) if metadata in ("1.1", "1.2") and not ppl else None,
        spares=spares, name="" if metadata == "0.90" else generator.choice(["", "data", "a.b-c_d"]),
        homehost=generator.choice(["", "", "box"]), assume_clean=not ppl and generator.random() < 0.3, ppl=ppl,
        noise=generator.choice([None, generator.getrandbits(32)]))
