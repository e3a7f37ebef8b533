# SPDX-License-Identifier: GPL-2.0-or-later
"""The power goes while mdtool serves arrays inside of the guest: what was not flushed is lost with the guest's memory."""
import itertools

import journaled
import lab
import serving

ARRAYS = 3  # at a time: they and their logs are the guest's disks
CUTS = 2  # of each
# The guest's cache writes back what it has at once: a cut leaves some of what was written since the last flush.
EAGER = """
echo 65536 >/proc/sys/vm/dirty_bytes
echo 4096 >/proc/sys/vm/dirty_background_bytes
echo 1 >/proc/sys/vm/dirty_expire_centisecs
echo 1 >/proc/sys/vm/dirty_writeback_centisecs
"""


def cut(one, arrays, images):
    generator = one.random("moment", *(array.seed for array in arrays))
    mdtool = serving.guest_program(one, "mdtool", one.options.mdtool)
    script, storm, logs = generator.choice(["", EAGER]), "", []
    for n, array in enumerate(arrays):
        seed, first, count = array.next_writes()
        log = lab.letters(len(images) + len(logs), 1)
        logs.append(array.log)
        script += f"mdtool assemble --read-write --yes --at /tmp/served{n} {array.present()} >/tmp/said 2>&1 || [ $? = 2 ] || {{ cat /tmp/said; exit 1; }}\n"
        storm += f"pattern journal /tmp/served{n} {seed} {first} {count} {log} {array.how()} >/tmp/journal{n} 2>&1 &\n"
    # Until so many dots are there in all, five seconds at most.
    end = (f"for _ in $(seq 250); do [ $(cat /tmp/journal* | wc -c) -lt {generator.choice([3, 10, 40, 120])} ] || break; sleep 0.02; done\n"
           f"sleep {generator.uniform(0, 0.05):.3f}\n")
    if generator.random() < 0.3:
        end += f"for one in $(pidof pattern); do kill -9 $one; done\nsleep {generator.uniform(0, 0.6):.2f}\n"
    one.boot(script + storm + end + "cat /tmp/journal*\ncrash\n", images + logs,
             write_through=generator.random() < 0.5, arguments=["-b", mdtool])


def cuts(one, number, chosen):
    arrays, images = journaled.make_arrays(one, f"cut-{number}", chosen)
    for _ in range(CUTS):
        cut(one, arrays, images)
        arrays = journaled.recover_all(one, arrays, images)


def run(one):
    one.torn = 0
    every = journaled.combinations(one, "cut")
    for number in range(one.rounds):
        one.run(f"round {number}", cuts, number, list(itertools.islice(every, ARRAYS)))
    one.where = "power_cut_rw, all rounds"
    one.expect(one.torn > 0 or one.rounds == 1 or one.options.only, "no cut tore anything: these rounds have shown nothing")
