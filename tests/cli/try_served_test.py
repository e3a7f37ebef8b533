#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Several candidates beside each other where FUSE is: different plans served over the same members at the same time.

Usage: try_served_test.py MDTOOL SOURCE_DIRECTORY
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

MDTOOL, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])


class BesideEachOther(unittest.TestCase):
    def setUp(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="mdtool-try-"))
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.members = []
        for packed in sorted((SOURCE / "tests" / "fixtures" / "1.2-raid5-4-none-clean").glob("*.img.zst")):
            self.members.append(self.scratch / packed.stem)
            subprocess.run(["zstd", "-q", "-d", str(packed), "-o", str(self.members[-1])], check=True)
        self.images = [m.read_bytes() for m in self.members]

    def mdtool(self, *arguments):
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.scratch), "XDG_STATE_HOME": str(self.scratch)}
        ran = subprocess.run([MDTOOL, *map(str, arguments)], capture_output=True, timeout=60, check=False,
                             stdin=subprocess.DEVNULL, env=environment)
        self.assertIn(ran.returncode, (0, 2), ran.stderr)
        return ran.stdout

    def content(self, *arguments):
        at = self.scratch / "content"
        at.unlink(missing_ok=True)
        self.mdtool("copy", *arguments, "--to", at)
        return hashlib.sha256(at.read_bytes()).hexdigest()

    def test_two_plans_at_the_same_time(self):
        plans = {}
        for name, slots in {"swapped": (1, 0, 2, 3), "turned": (1, 2, 3, 0)}.items():
            options = [f"--slot={m}={slot}" for m, slot in zip(self.members, slots)]
            plans[name] = self.scratch / f"{name}.json"
            plans[name].write_bytes(self.mdtool("set", *options, "--dry-run", "--json", *self.members))
        served = {"as-it-is": []} | {name: ["--with", plan] for name, plan in plans.items()}
        for name, option in served.items():
            self.addCleanup(self.mdtool, "stop", self.scratch / name)
            self.mdtool("assemble", *option, "--at", self.scratch / name, *self.members)
        seen = {name: hashlib.sha256((self.scratch / name).read_bytes()).hexdigest() for name in served}
        self.assertEqual(len(set(seen.values())), 3)
        for name, option in served.items():
            self.assertEqual(seen[name], self.content(*option, *self.members), name)
        self.assertEqual([m.read_bytes() for m in self.members], self.images)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
