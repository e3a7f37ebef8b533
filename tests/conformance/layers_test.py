#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Greps the includes against the picture of the layers in CONTRIBUTING.md, so that it stays true."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
# Who may include what; the longest prefix that fits a file decides.
MAY_INCLUDE = {
    "libmeta/": ["libmeta/"],
    "libraid/io/": ["libmeta/", "libraid/io/"],
    "libraid/geometry/": ["libmeta/", "libraid/geometry/"],
    "libraid/parity/": ["libmeta/", "libraid/parity/"],
    "libraid/array/": ["libmeta/result.h", "libmeta/sectors.h", "libmeta/source.h", "libraid/geometry/",
                       "libraid/io/block_device.h", "libraid/parity/", "libraid/array/"],
    "libraid/array/write_intent": ["libmeta/", "libraid/array/", "libraid/assemble/bitmap_view.h"],
    "libraid/array/classic_intent": ["libmeta/", "libraid/array/", "libraid/assemble/bitmap_view.h"],
    "libraid/array/lockless_intent": ["libmeta/", "libraid/array/", "libraid/assemble/bitmap_view.h"],
    "libraid/array/make_intent": ["libmeta/", "libraid/array/", "libraid/assemble/bitmap_view.h"],
    "libraid/engine/": ["libmeta/result.h", "libmeta/sectors.h", "libmeta/source.h", "libraid/io/",
                        "libraid/geometry/", "libraid/parity/", "libraid/array/array.h", "libraid/engine/"],
    "libraid/assemble/": ["libmeta/", "libraid/io/", "libraid/geometry/", "libraid/parity/", "libraid/array/",
                          "libraid/engine/", "libraid/assemble/"],
    "libraid/edit/": ["libmeta/", "libraid/io/", "libraid/geometry/", "libraid/assemble/", "libraid/edit/"],
    "libraid/serve/": ["libmeta/result.h", "libmeta/source.h", "libraid/io/", "libraid/serve/"],
    "cli/": ["libmeta/", "libraid/", "cli/"],
}
FOREIGN = re.compile(r'#include <(CLI/|nlohmann/)')
PRINTING = re.compile(r'\bstd::(cout|cerr|clog)\b|\bprintf\(')
PRINTERS = {"libraid/io/fence.cpp"}  # says which write was outside of the plan before it ends the process


def rules_for(name):
    fitting = [prefix for prefix in MAY_INCLUDE if name.startswith(prefix)]
    return MAY_INCLUDE[max(fitting, key=len)]


def faults_of(path):
    name = path.relative_to(ROOT).as_posix()
    allowed = rules_for(name)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        include = re.match(r'#include "([^"]+)"', line)
        if include and not any(include[1].startswith(prefix) for prefix in allowed):
            yield f"{name}:{number}: may not include {include[1]}"
        if not name.startswith("cli/") and FOREIGN.match(line):
            yield f"{name}:{number}: CLI11 and nlohmann/json stop in cli/"
        if not name.startswith("cli/") and name not in PRINTERS and PRINTING.search(line):
            yield f"{name}:{number}: libraries do not print"


def main():
    files = [p for top in ("libmeta", "libraid", "cli") for p in sorted((ROOT / top).rglob("*")) if p.suffix in (".h", ".cpp")]
    assert len(files) > 50, "the sources are not where they are looked for"
    faults = [fault for path in files for fault in faults_of(path)]
    print("\n".join(faults) or f"{len(files)} files keep to their layers")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
