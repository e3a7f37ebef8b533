# SPDX-License-Identifier: GPL-2.0-or-later
"""A partition table inside of a served array, inside of the guest: /dev/loopNp1 through mdtool, /dev/md1p1 by the kernel."""
import json
import os

import lab
import serving
from lab import Shape

FIRST = 2048  # sector of the partition
COUNT = 6000


def inside(one, level):
    generator = one.random("partitions", level)
    shape = Shape(level, 4 if level == 6 else 3, None, 64, bitmap=generator.choice(["none", "classic", "lockless"]), member_kib=6144)
    members = one.members(shape, one.name)
    devices = lab.letters(0, shape.slots)
    mdtool = serving.guest_program(one, "mdtool", one.options.mdtool)
    share = os.path.dirname(one.place(one.name, "share", "x"))
    serve = f"mdtool assemble --read-write --loop --yes --json --at /tmp/served {devices}"
    answers = one.boot(f"""
{shape.create("md0", devices)}
settle md0
stop md0
{serve} >/share/first.json || {{ cat /share/first.json; exit 1; }}
loop=$(sed -n 's/.*"loop": *"\\([^"]*\\)".*/\\1/p' /share/first.json)
printf 'o\\nn\\np\\n1\\n{FIRST}\\n+{COUNT // 2}K\\nw\\n' | fdisk -u $loop >/tmp/fdisk 2>&1 || true
for _ in $(seq 30); do [ ! -b ${{loop}}p1 ] || break; sleep 0.1; done
[ -b ${{loop}}p1 ] || {{ cat /tmp/fdisk; ls /dev/loop*; exit 1; }}
say size "$(blockdev --getsz ${{loop}}p1)"
pattern write ${{loop}}p1 7 0 5000
mdtool stop /tmp/served >/tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}
{serve} >/share/second.json || {{ cat /share/second.json; exit 1; }}
loop=$(sed -n 's/.*"loop": *"\\([^"]*\\)".*/\\1/p' /share/second.json)
say loop $loop
if pattern check ${{loop}}p1 7 0 5000; then say again right; fi
sleep 1.5
mdtool stop /tmp/served >/tmp/said 2>&1 || {{ cat /tmp/said; exit 1; }}
[ ! -e ${{loop}}p1 ] || say left ${{loop}}p1
assemble md1 {devices}
at_rest md1
for _ in $(seq 30); do [ ! -b /dev/md1p1 ] || break; sleep 0.1; done
say kernel "$(pattern check /dev/md1p1 7 0 5000 && echo right)"
check md1
stop md1
""", members.paths, share=share, arguments=["-b", mdtool])
    one.expect_equal(answers.get("size"), str(COUNT), "sectors of the partition")
    one.expect_equal(answers.get("again"), "right", "the partition's content when served again")
    with open(os.path.join(share, "second.json"), encoding="utf-8") as file:
        said = json.load(file)
    one.expect_equal(said.get("partitions"), [f"{answers.get('loop')}p1"], "partitions that assemble names")
    one.expect(not answers.get("left"), f"after stop there still is {answers.get('left')}")
    one.expect_at_rest(answers, "md1")
    one.expect_equal(answers.get("kernel"), "right", "the partition's content by the kernel")
    one.expect_equal(answers.get("md1.mismatches"), "0", "mismatch_cnt")


def run(one):
    levels = [4, 5, 6]
    for level in levels if one.rounds > 1 else one.random("level").sample(levels, 1):
        one.run(f"raid{level}", inside, level)
