# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel writes, mdtool reads: copy under every tolerable loss, and examine's counts of a lockless bitmap."""
import os

import lab
import ondisk
from lab import Shape

# What one guest boot makes: small enough for the time limit, large enough for boots not to count.
ARRAYS_PER_BOOT = 9


def shapes(generator):
    """Every level and layout; metadata, bitmap and geometry are spread over them, differently for each seed."""
    result = []
    plain = [(4, None)] + [(5, layout) for layout in lab.RAID5_LAYOUTS] + [(6, layout) for layout in lab.RAID6_LAYOUTS]
    more = [(4, None), (5, "left-symmetric"), (6, "left-symmetric"), (4, None), (5, "right-asymmetric"), (6, "right-symmetric")]
    spread = generator.sample(lab.METADATA, 4)
    for number, (level, layout) in enumerate(plain + more):
        metadata = spread[number % 4]
        bitmap = generator.choice(["none", "classic"] + ["lockless"] * 3 if metadata == "1.2" else ["none", "classic"])
        slots = generator.randint(4 if level == 6 else 3, 8)
        chunk = generator.choice([4, 8, 16, 32, 64, 128, 256, 512])
        member = generator.choice([3072, 4096, 5120])
        size = generator.choice([None, max(chunk, generator.randrange(chunk, 1900, chunk))]) if chunk < 1900 else None
        # Parity is complete without a resync's traps: "repair" builds all of it.
        result.append(Shape(level, slots, layout, chunk, metadata, bitmap, generator.choice([16, 64, 128]), member,
                            size, extra="--assume-clean"))
    return result


def making(number, shape, seed, folder, spans):
    """All of the batch are made at once, each in a process and with an md of its own."""
    md = f"md{number}"
    writes = "\n".join(f"[ $(({first} + {count})) -gt $sectors ] || pattern write /dev/{md} {seed + i} {first} {count}"
                       for i, (first, count) in enumerate(spans))
    return f"""
attach {" ".join(f"/share/{folder}/m{slot}.img" for slot in range(shape.slots))}
(
  {shape.create(md, "$devices")}
  settle {md}
  echo repair >/sys/block/{md}/md/sync_action
  settle {md}
  sectors=$(cat /sys/block/{md}/size)
  pattern write /dev/{md} {seed} 0 $sectors
  {writes}
  say a{number}.hash $(hash_of {md})
  say a{number}.sectors $sectors
  stop {md}
  detach
) &
"""


def copy_everything(one, shape, made, folder, number):
    one.require(made and f"a{number}.hash" in made, "the kernel did not make it")
    expected = made[f"a{number}.hash"]
    folder = one.place(folder, f"a{number}")
    members = lab.Members(shape, [os.path.join(folder, f"m{slot}.img") for slot in range(shape.slots)])
    before = members.digests()
    status, array, _ = one.examine(members.paths)
    one.expect_equal(status, 0, "examine's exit status")
    one.expect_equal(array["size_bytes"], int(made[f"a{number}.sectors"]) * ondisk.SECTOR, "size")
    one.expect_equal(array["verdict"], "assembles", "verdict")
    one.expect_equal((array["metadata"], array["level"], array["raid_devices"], array["chunk_bytes"]),
                     (shape.metadata, f"raid{shape.level}", shape.slots, shape.chunk_kib * 1024), "shape")
    if shape.layout:
        one.expect_equal(array["layout"], shape.layout, "layout")
    one.expect_equal(len(one.wrong_rows(members)), 0, "rows with wrong parity that the kernel left")
    target = one.place("copied")
    for lost in lab.tolerable_losses(shape):
        if os.path.exists(target):
            os.unlink(target)
        rest = members.without(lost).present()
        one.random(number, *sorted(lost)).shuffle(rest)
        status, document = one.mdtool("copy", "--to", target, *rest)
        one.expect_equal(status, 2 if lost else 0, f"copy without {sorted(lost)}: exit status "
                         f"({document.get('error')}, {[f['id'] for f in document['findings']]})")
        if one.expect(os.path.exists(target), f"copy without {sorted(lost)}: no file ({document.get('error')})"):
            one.expect_equal(lab.digest(target), expected, f"content without {sorted(lost)}")
    one.expect_equal(members.digests(), before, "members after looking")


def make_batch(one, turn, folder, batch):
    script = ""
    for number, shape in batch:
        one.members(shape, folder, f"a{number}")
        seed = one.random("content", turn, number).randrange(1 << 30)
        script += making(number, shape, seed, f"a{number}", [(100, 700), (1201, 33)])
    return one.boot(script + "wait\n", share=os.path.dirname(one.place(folder, "x")))


def all_levels(one):
    for turn in range(one.rounds):
        every = list(enumerate(shapes(one.random("shapes", turn))))
        for start in range(0, len(every), ARRAYS_PER_BOOT):
            folder = f"batch-{turn}-{start // ARRAYS_PER_BOOT}"
            batch = every[start:start + ARRAYS_PER_BOOT]
            made = one.run(f"making of {folder}", make_batch, turn, folder, batch)
            for number, shape in batch:
                one.run(f"{folder} a{number} {shape}", copy_everything, shape, made, folder, number)


def count_states(one):
    """A cleanly stopped array gives the kernel's counts as they lie there, a cut one after Reload."""
    generator = one.random("counts")
    cases = {"all-unwritten": "", "one-write": "pattern write /dev/MD 1 1000 8", "two-writes":
             "pattern write /dev/MD 1 0 16; stop MD; mdadm --assemble /dev/MD DEVICES >/dev/null 2>&1; settle MD; "
             "pattern write /dev/MD 1 3000 16",
             "proactive": "pattern write /dev/MD 1 2000 100; settle MD; syncs=$(syncs_of MD); "
             "echo 1 >/sys/block/MD/md/llbitmap/proactive_sync; begun MD $syncs; settle MD",
             "discard": "pattern write /dev/MD 1 0 6000; settle MD; blkdiscard -o 524288 -l 786432 /dev/MD || true"}
    script, images, arrays = "", [], {}
    shape = Shape(generator.choice([4, 5]), 3, None, 64, bitmap="lockless", extra=generator.choice(["--force", "--assume-clean"]))
    for number, (name, work) in enumerate(cases.items()):
        members = one.members(shape, "counts", name)
        arrays[name] = members
        devices = lab.letters(len(images), shape.slots)
        images += members.paths
        script += f"{shape.create(f'md{number}', devices)}\nsettle md{number}\n"
        script += work.replace("MD", f"md{number}").replace("DEVICES", devices) + f"\nsettle md{number}\n"
        script += f"mdadm --stop /dev/md{number} >/dev/null 2>&1\n"
        script += f"assemble md{number} --readonly {devices}\nbits md{number}\nmdadm --stop /dev/md{number} >/dev/null 2>&1\n"
    answers = one.boot(script, images)
    for number, (name, members) in enumerate(arrays.items()):
        _, array, _ = one.examine(members.paths)
        kernel = lab.bits_of(answers, f"md{number}")
        one.expect(kernel, f"{name}: the kernel gave no counts")
        one.expect_equal(lab.without_invalid(array["bitmap"]["states"]), kernel, f"{name}: counts per state")
        one.expect_equal(array["bitmap"]["states"]["invalid"], 0, f"{name}: invalid bytes")


def count_states_after_a_cut(one):
    for turn in range(2 * one.rounds):
        generator = one.random("cut counts", turn)
        shape = Shape(5, 3, "left-symmetric", generator.choice([16, 64]), bitmap="lockless", extra="--force")
        arrays = [one.members(shape, f"cut-{turn}", f"a{n}") for n in range(4)]
        images = [path for members in arrays for path in members.paths]
        script = ""
        for n in range(4):
            script += shape.create(f"md{n}", lab.letters(3 * n, 3)) + f"\nsettle md{n}\n"
        for n in range(4):
            first = generator.randrange(0, 8000) // 8 * 8
            script += f"pattern write /dev/md{n} 9 {generator.randrange(9000)} 64\n"
            if n % 2:
                script += f"stop md{n}; mdadm --assemble /dev/md{n} {lab.letters(3 * n, 3)} >/dev/null 2>&1; settle md{n}\n"
            if n == 3:
                script += f"echo 1 >/sys/block/md{n}/md/llbitmap/proactive_sync\n"
            script += f"pattern storm /dev/md{n} 5 {first} 256 &\n"
        script += f"sleep {generator.uniform(0.02, 0.4):.2f}\ncrash\n"
        one.boot(script, images, write_through=turn % 2 == 1)
        counted = [one.examine(members.paths)[1]["bitmap"]["states"] for members in arrays]
        maps = [members.bitmap() for members in arrays]
        script = "\n".join(f"assemble md{n} --readonly {lab.letters(3 * n, 3)}\nbits md{n}" for n in range(4)) + "\ncrash\n"
        answers = one.boot(script, images)
        for n in range(4):
            one.expect_equal(counted[n], maps[n].counts(), f"a{n}: counts as on disk")
            if answers.get(f"md{n}.assembled") == "yes":
                one.expect_equal(ondisk.after_reload(maps[n].states), lab.bits_of(answers, f"md{n}"), f"a{n}: counts after Reload")
        one.expect(any(answers.get(f"md{n}.assembled") == "yes" for n in range(4)), "the kernel assembled none of the cut arrays")


def run(one):
    all_levels(one)
    one.run("counts of states", count_states)
    one.run("counts of states after a cut", count_states_after_a_cut)
