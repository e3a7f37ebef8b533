# SPDX-License-Identifier: GPL-2.0-or-later
"""Arrays that mdtool serves for writing: the server as a process of ours, killed or stopped; mdtool inside of the guest.

Knows what the host has to offer for that; what is done with the array is said by the cases.
"""
import contextlib
import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import time

READY_SECONDS = 60
QUIET_SECONDS = 1.0  # nobody writes for so long: what was due is done
LOADER = re.compile(r"^\s*(/\S+ld-linux\S+)")
LIBRARY = re.compile(r"=> (/\S+)")


def missing_for_fuse():
    """What this machine lacks to serve a file, in words; None if nothing."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) and not shutil.which("fusermount3"):
        return "no /dev/fuse that this user may open"
    return None if os.path.exists("/dev/fuse") else "no /dev/fuse"


def missing_for_loops(*programs):
    if missing_for_fuse():
        return missing_for_fuse()
    if os.geteuid() != 0:
        return "root (for loop devices and mounts)"
    if not os.path.exists("/dev/loop-control"):
        return "no /dev/loop-control"
    absent = [program for program in programs if not shutil.which(program)]
    return f"no {', '.join(absent)}" if absent else None


def is_mounted(path):
    escaped = path.replace("\\", "\\134").replace(" ", "\\040")
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        return any(line.split()[4] == escaped for line in mounts)


class Server:
    """mdtool assemble --read-write, in the foreground: so that it can be killed, and nobody else."""

    def __init__(self, one, paths, *options, at=None):
        self.one = one
        self.at = at or one.place(one.name, "served")
        self.errors = open(one.place(one.name, "server.err"), "ab")  # pylint: disable=consider-using-with
        words = ["assemble", "--read-write", "--yes", "--foreground", "--json", *options, "--at", self.at, *paths]
        self.process = subprocess.Popen([one.options.mdtool, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.errors)
        self.document = self._document()

    def _document(self):
        """What it says once it serves, or instead of serving."""
        said, deadline = b"", time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if not select.select([self.process.stdout], [], [], 0.5)[0]:
                continue
            part = os.read(self.process.stdout.fileno(), 65536)
            said += part
            with contextlib.suppress(ValueError):
                document = json.loads(said)
                if document["exit"] & ~2 == 0:
                    return document
            if not part:
                break
        self.kill()
        self.one.require(False, f"the server does not serve ({self.process.returncode}): {said[-300:]!r} {self.complaints()}")

    def complaints(self):
        with open(self.errors.name, "rb") as file:
            return file.read()[-500:]

    def serves(self):
        return self.process.poll() is None and is_mounted(self.at)

    @property
    def loop(self):
        return self.document["loop"]

    def stop(self, *options):
        """(status, document) of mdtool stop. The server has ended then."""
        status, document = self.one.mdtool("stop", *options, self.at)
        if status == 0:
            self._ended()
        return status, document

    def terminate(self):
        """An orderly end by SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def _ended(self):
        try:
            status = self.process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            self.one.require(False, f"the server still runs {READY_SECONDS} s after its stop: {self.complaints()}")
        self._close()
        return status

    def kill(self):
        """SIGKILL. What is left mounted goes too, by mdtool's own stop if it can."""
        self.process.kill()
        self.process.wait()
        self._close()

    def clear_away(self):
        """After kill(): the mount that is left behind."""
        status, document = self.one.mdtool("stop", self.at)
        self.one.expect_equal((status, is_mounted(self.at)), (0, False),
                              f"stop of a mount whose server was killed ({document.get('error')})")
        self.unmount()

    def unmount(self):
        while is_mounted(self.at):
            subprocess.run(["umount", "-l", self.at] if os.geteuid() == 0 else ["fusermount3", "-u", "-z", self.at], check=True)

    def _close(self):
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()
        self.unmount()


def quiet(paths):
    """Waits until nobody writes to these files any more."""
    def changes():
        return [os.stat(path).st_mtime_ns for path in paths]

    seen, since = changes(), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(0.1)
        if changes() != seen:
            seen, since = changes(), time.monotonic()


@contextlib.contextmanager
def mounted(one, device, filesystem):
    place = one.place(one.name, "mnt", "x")
    place = os.path.dirname(place)
    subprocess.run(["mount", "-t", filesystem, device, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


# ---- inside of the guest ------------------------------------------------------------------------------------------------


def _is_static(program):
    with open(program, "rb") as file:
        header = file.read(64)
        offset, = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        file.seek(offset)
        kinds = [struct.unpack_from("<I", file.read(size))[0] for _ in range(count)]
    return 3 not in kinds  # PT_INTERP


def guest_program(one, name, program):
    """A file for `uml -b` that runs the program there as NAME: itself if it is static, else with the host's libraries."""
    if _is_static(program):
        link = one.place("guest", name)
        if not os.path.exists(link):
            shutil.copy(program, link)
        return link
    libraries = os.path.dirname(one.place("guest", f"{name}.libraries", "x"))
    shutil.copy(program, libraries)
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    loader = LOADER.search(needed.splitlines()[-1]) or next(filter(None, map(LOADER.search, needed.splitlines())))
    for path in {*LIBRARY.findall(needed), loader[1]}:
        shutil.copy(path, libraries)
    script, place = one.place("guest", name), f"/tmp/{name}-and-libraries"
    with open(script, "w", encoding="ascii") as file:
        file.write(f"""#!/bin/sh
until [ -e {place}/{os.path.basename(program)} ]; do
  if mkdir {place} 2>/dev/null; then mount -t hostfs -o {libraries} none {place}; else sleep 0.1; fi
done
exec env -u LD_LIBRARY_PATH {place}/{os.path.basename(loader[1])} --library-path {place} {place}/{os.path.basename(program)} "$@"
""")
    return script
