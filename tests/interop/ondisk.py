# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests themselves read from members: superblocks and bitmaps, straight from the bytes.

Shares nothing with libmeta on purpose, and knows only as much as the tests ask for.
"""
import os
import struct
from dataclasses import dataclass

SECTOR = 512
MAXSECT = 2**64 - 1
UUID_AT = 16  # in a 1.x superblock
RECOVERY_OFFSET_AT = 152
RESYNC_OFFSET_AT = 208
MAX_DEV_AT = 220
ROLES_AT = 256
FAULTY_ROLE = 0xFFFE
MD_MAGIC = 0xA92B4EFC
BITMAP_MAGIC = 0x6D746962
BITMAP_OFFSET_FEATURE = 0x1
RECOVERY_OFFSET_FEATURE = 0x2
BITMAP_UUID_AT = 8
LOCKLESS_STATES_AT = 1024
CLASSIC_BITS_AT = 256
STATE_NAMES = ["unwritten", "clean", "dirty", "need_sync", "syncing", "need_sync_unwritten", "syncing_unwritten",
               "clean_unwritten"]
UNWRITTEN, CLEAN, DIRTY, NEED_SYNC, SYNCING, NEED_SYNC_UNWRITTEN, SYNCING_UNWRITTEN, CLEAN_UNWRITTEN = range(8)


@dataclass
class Superblock:
    at: int  # byte offset
    uuid: bytes
    level: int
    layout: int
    size: int  # sectors of each member
    chunk: int  # sectors
    raid_disks: int
    data_offset: int  # sectors
    slot: int | None
    events: int
    resync_offset: int
    recovery_offset: int | None
    bitmap_at: int | None  # byte offset
    dev_number: int | None = None  # from here on: 1.x only
    corrected_reads: int | None = None
    roles: tuple = ()  # by dev_number

    @property
    def clean(self):
        return self.resync_offset == MAXSECT


def superblock_at(path, metadata):
    size = os.path.getsize(path) // SECTOR
    return {"0.90": (size & ~127) - 128, "1.0": (size - 16) & ~7, "1.1": 0, "1.2": 8}[metadata] * SECTOR


def read_at(path, offset, count):
    with open(path, "rb") as member:
        member.seek(offset)
        return member.read(count)


def write_at(path, offset, data):
    with open(path, "r+b") as member:
        member.seek(offset)
        member.write(data)


def superblock(path, metadata):
    at = superblock_at(path, metadata)
    raw = read_at(path, at, 4096)
    assert struct.unpack_from("<I", raw)[0] == MD_MAGIC, f"{path}: no {metadata} superblock at byte {at}"
    return _version_0(raw, at) if metadata == "0.90" else _version_1(raw, at)


def _version_0(raw, at):
    def word(offset):
        return struct.unpack_from("<I", raw, offset)[0]

    slot_state = word(3968 + 16)
    has_bitmap = word(132) & 0x100
    return Superblock(at=at, uuid=raw[20:24] + raw[52:64], level=word(28), layout=word(256), size=word(32) * 2,
                      chunk=word(260) // SECTOR, raid_disks=word(40), data_offset=0,
                      slot=word(3968 + 12) if slot_state & 6 == 6 else None,
                      events=struct.unpack_from("<Q", raw, 156)[0], resync_offset=MAXSECT if word(132) & 1 else 0,
                      recovery_offset=None, bitmap_at=at + 8 * SECTOR if has_bitmap else None)


def _version_1(raw, at):
    feature_map, = struct.unpack_from("<I", raw, 8)
    level, layout, size, chunk, raid_disks, bitmap_offset = struct.unpack_from("<iIQIIi", raw, 72)
    data_offset, = struct.unpack_from("<Q", raw, 128)
    recovery_offset, dev_number, corrected_reads = struct.unpack_from("<QII", raw, RECOVERY_OFFSET_AT)
    events, resync_offset = struct.unpack_from("<QQ", raw, 200)
    roles = struct.unpack_from(f"<{struct.unpack_from('<I', raw, MAX_DEV_AT)[0]}H", raw, ROLES_AT)
    role = roles[dev_number]
    return Superblock(at=at, uuid=raw[16:32], level=level, layout=layout, size=size, chunk=chunk,
                      raid_disks=raid_disks, data_offset=data_offset, slot=role if role < 0xFF00 else None,
                      events=events, resync_offset=resync_offset,
                      recovery_offset=recovery_offset if feature_map & RECOVERY_OFFSET_FEATURE else None,
                      bitmap_at=at + bitmap_offset * SECTOR if feature_map & BITMAP_OFFSET_FEATURE else None,
                      dev_number=dev_number, corrected_reads=corrected_reads, roles=roles)


def edit_version_1(path, found, offset, data):
    """Puts bytes into a 1.x superblock and makes its checksum right again."""
    raw = bytearray(read_at(path, found.at, 4096))
    raw[offset:offset + len(data)] = data
    max_dev, = struct.unpack_from("<I", raw, 220)
    struct.pack_into("<I", raw, 216, 0)
    words = sum(struct.unpack_from(f"<{(256 + 2 * max_dev) // 4}I", raw))
    struct.pack_into("<I", raw, 216, ((words & 0xFFFFFFFF) + (words >> 32)) & 0xFFFFFFFF)
    write_at(path, found.at, raw[:256 + 2 * max_dev])


@dataclass
class Bitmap:
    version: int
    events: int
    chunk: int  # sectors
    chunks: int
    flags: int
    states: bytes  # lockless: as on disk; classic: 1 where the bit is set

    @property
    def lockless(self):
        return self.version == 6

    def counts(self):
        tally = {name: self.states.count(value) for value, name in enumerate(STATE_NAMES)}
        tally["invalid"] = self.chunks - sum(tally.values())
        return tally


def bitmap(path, found):
    """The member's copy of the bitmap, None without one."""
    if found.bitmap_at is None:
        return None
    header = read_at(path, found.bitmap_at, 256)
    magic, version = struct.unpack_from("<II", header)
    events, _, sync_size, flags, chunk_size = struct.unpack_from("<QQQII", header, 24)
    assert magic == BITMAP_MAGIC, f"{path}: no bitmap"
    if version == 6:
        chunks = -(-sync_size // chunk_size)
        states = read_at(path, found.bitmap_at + LOCKLESS_STATES_AT, chunks)
        return Bitmap(version, events, chunk_size, chunks, flags, states)
    chunk = chunk_size // SECTOR
    chunks = -(-sync_size // chunk)
    bits = read_at(path, found.bitmap_at + CLASSIC_BITS_AT, -(-chunks // 8))
    return Bitmap(version, events, chunk, chunks, flags, bytes(bits[i // 8] >> i % 8 & 1 for i in range(chunks)))


def after_reload(states):
    """The kernel's counts once it has loaded these state bytes (its Reload action) on a complete RAID-4/5/6.

    The second byte of a 512-byte block that becomes NeedSync, or one beside a byte that is Dirty or NeedSync, infects the
    block: Unwritten becomes NeedSync, Clean and CleanUnwritten Dirty. Bytes behind it are walked over after that.
    """
    unwritten, clean, dirty, need_sync, clean_unwritten = 0, 1, 2, 3, 7
    loaded = {0: 0, 1: 1, 2: need_sync, 3: need_sync, 4: need_sync, 5: unwritten, 6: unwritten, 7: 7}
    infected = {unwritten: need_sync, clean: dirty, clean_unwritten: dirty}
    states = bytearray(states)
    waiting = set()
    for i, state in enumerate(states):
        new = loaded.get(state, need_sync)
        if new == need_sync != state:
            block = (LOCKLESS_STATES_AT + i) // 512
            first, last = max(block * 512 - LOCKLESS_STATES_AT, 0), (block + 1) * 512 - LOCKLESS_STATES_AT
            others = [states[j] for j in range(first, min(last, len(states))) if j != i]
            if block in waiting or dirty in others or need_sync in others:
                for j in range(first, min(last, len(states))):
                    states[j] = infected.get(states[j], states[j])
            waiting.add(block)
        states[i] = new
    return {name: states.count(value) for value, name in enumerate(STATE_NAMES)}


def due_ranges(paths, metadata):
    """(ranges, chunks): component sectors [first, end) that a resync has to look at, and in how many chunks.

    `paths` are the in-sync members. Without a bitmap all of it is one chunk.
    """
    blocks = [superblock(path, metadata) for path in paths]
    newest = max(blocks, key=lambda b: b.events)
    maps = [bitmap(path, block) for path, block in zip(paths, blocks)]
    if maps[0] is None:
        return ([] if newest.clean else [(0, newest.size)]), (0 if newest.clean else 1)
    due = set()
    for one, block in zip(maps, blocks):
        stale = one.events < newest.events or one.flags & 0x0E
        for chunk, state in enumerate(one.states):
            if one.lockless:
                wanted = state in (DIRTY, NEED_SYNC, SYNCING) or state > CLEAN_UNWRITTEN or (stale and state == CLEAN)
            else:
                wanted = not newest.clean and (state == 1 or stale)
            if wanted:
                due.add(chunk)
    return merged((c * maps[0].chunk, min((c + 1) * maps[0].chunk, newest.size)) for c in sorted(due)), len(due)


def merged(ranges):
    result = []
    for first, end in ranges:
        if result and result[-1][1] == first:
            result[-1] = (result[-1][0], end)
        else:
            result.append((first, end))
    return result


def complement(ranges, size):
    result, at = [], 0
    for first, end in ranges:
        if at < first:
            result.append((at, first))
        at = end
    return result + ([(at, size)] if at < size else [])


def intersection(ranges, others):
    return [(max(first, low), min(end, high)) for first, end in ranges for low, high in others if max(first, low) < min(end, high)]


def total(ranges):
    return sum(end - first for first, end in ranges)


def metadata_bytes(path, found):
    data_at = found.data_offset * SECTOR
    data_end = data_at + found.size * SECTOR
    return read_at(path, 0, data_at) + read_at(path, data_end, os.path.getsize(path) - data_end)
