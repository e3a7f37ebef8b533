# SPDX-License-Identifier: GPL-2.0-or-later
"""Bitmaps added, taken away, converted and moved by mdtool: the kernel then synchronises what was due before, and that alone."""
import dataclasses
import hashlib
import os

import lab
import ondisk
from lab import Shape

LOCKLESS_CHUNK = 128  # sectors; the kernel's choice for members this small
STORM, FIRST, LATER = 40, 11, 22  # seeds of content
WRITTEN_CHUNKS = [2, 9, 15]  # these hold something; of a lockless bitmap all others stay Unwritten
PIECES = 24
MEMBERS_FOR_RMW = 5  # with fewer, a small write reads all other data, and its parity is right whatever was there


@dataclasses.dataclass
class Change:
    """What mdtool makes of an array."""
    name: str
    bitmap: str  # as the kernel makes it
    commands: list  # FILE is a path of the array's own
    state: str  # "cut" in the middle of writes, "clean", "built" (clean, by build-parity), "unwritten" in most chunks
    bitmap_chunk_kib: int = 64
    levels: tuple = (4, 5, 6)
    metadata: tuple = ("1.2",)
    number: int = 0
    turn: int = 0
    shape: Shape = None
    members: lab.Members = None
    metadata_before: list = None
    due: list = None  # component sectors, once mdtool is done
    left_wrong: list = None  # rows elsewhere
    wrong_due: list = None
    content: str = None
    bitmap_before: ondisk.Bitmap = None  # before the kernel judged

    @property
    def md(self):
        return f"md{self.number}"

    @property
    def place(self):
        return f"round-{self.turn}", f"a{self.number}"

    @property
    def title(self):
        return f"{self.turn} {self.name}"

    @property
    def devices(self):
        return f"$devices{self.number}"

    def attached(self):
        """A guest's words that make them loop devices."""
        files = " ".join(f"/share/a{self.number}/m{slot}.img" for slot in range(self.shape.slots))
        return f"attach {files}\ndevices{self.number}=$devices\n"


def convert(*options):
    return ["convert", *options]


V1 = ("1.0", "1.1", "1.2")
ANY = ("0.90", *V1)
CHANGES = [
    Change("classic to lockless", "classic", [convert("--bitmap=lockless")], "cut", 16, metadata=V1),
    Change("lockless to classic", "lockless", [convert("--bitmap=internal", "--bitmap-chunk=32")], "cut"),
    Change("lockless to none", "lockless", [["remove"]], "cut"),
    Change("larger chunks", "classic", [convert("--bitmap-chunk=128")], "cut", 16, metadata=ANY),
    Change("smaller chunks", "classic", [convert("--bitmap-chunk=16K")], "cut", 128, metadata=ANY),
    Change("another place", "classic", [convert("--offset=64")], "cut", 64, metadata=("1.1", "1.2")),
    Change("to a file and inside", "classic", [convert("--bitmap=FILE"), convert("--bitmap=internal", "--from=FILE")], "cut", metadata=ANY),
    Change("to lockless and back", "classic", [convert("--bitmap=lockless"), convert("--bitmap=internal")], "cut", metadata=V1),
    Change("classic to none", "classic", [["remove"]], "cut", metadata=ANY),
    Change("unwritten to classic", "lockless", [convert("--bitmap=internal", "--bitmap-chunk=64K")], "unwritten", levels=(5,)),
    Change("unwritten to none", "lockless", [["remove"]], "unwritten", levels=(5,)),
    Change("clean none to classic", "none", [["add", "--bitmap-chunk=64"]], "clean", metadata=ANY),
    Change("clean none to lockless", "none", [["add", "--bitmap=lockless"]], "clean", metadata=V1),
    Change("clean none to a file", "none", [["add", "--bitmap=FILE"]], "clean", metadata=ANY),
    Change("clean classic to none", "classic", [["remove"]], "clean", metadata=ANY),
    Change("clean classic to lockless", "classic", [convert("--bitmap=lockless")], "clean", metadata=V1),
    Change("built lockless to classic", "lockless", [convert("--bitmap=internal")], "built"),
    Change("built lockless to none", "lockless", [["remove"]], "built"),
]


def shape_for(generator, change):
    level = generator.choice(change.levels)
    layouts = {4: [None], 5: lab.RAID5_LAYOUTS, 6: lab.RAID6_LAYOUTS}[level]
    slots = MEMBERS_FOR_RMW if change.state == "unwritten" else 4 if level == 6 else 3
    return Shape(level, slots, generator.choice(layouts), generator.choice([4, 16, 64]),
                 generator.choice(change.metadata), change.bitmap, change.bitmap_chunk_kib)


def stripe_of(change):
    """Array sectors of one lockless chunk."""
    return LOCKLESS_CHUNK * change.shape.data_disks


# ---- the kernel makes them -------------------------------------------------------------------------------------------


def making(change):
    md, devices = change.md, change.devices
    again = f"stop {md}\nmdadm --assemble /dev/{md} {devices} >/dev/null 2>&1\nsettle {md}\n"
    chunks = WRITTEN_CHUNKS if change.bitmap == "lockless" and change.state == "cut" else WRITTEN_CHUNKS[:1]
    written = again.join(f"pattern write /dev/{md} {FIRST} {chunk * stripe_of(change)} {stripe_of(change)}\n" for chunk in chunks)
    return f"""
{change.attached()}
(
  {change.shape.create(md, devices)}
  settle {md}
  {written}
  {again if change.state == "cut" else f"stop {md}"}
  say {md}.made yes
) &
"""


def storm(one, change):
    """Over a lockless bitmap in one Clean chunk only: two would make a whole block of states due."""
    stripe = stripe_of(change)
    first = one.random("storm", change.title).randrange(1, 36) * stripe
    spans = [(WRITTEN_CHUNKS[1] * stripe, stripe)] if change.bitmap == "lockless" else [(first, 2 * stripe)]
    patience = f"echo 60 >/sys/block/{change.md}/md/safe_mode_delay\n"  # or it is clean once more, where so many storms wait for a turn
    return patience + "".join(f"pattern storm /dev/{change.md} {STORM + i}000000 {start} {count} &\n" for i, (start, count) in enumerate(spans))


def boot(one, changes, script):
    """With all arrays attached from one shared folder: they are too many for a guest's own disks."""
    return one.boot(script, share=os.path.dirname(one.place(changes[0].place[0], "x")))


def make(one, changes):
    for change in changes:
        change.shape = shape_for(one.random("shape", change.title), change)
        change.members = one.members(change.shape, *change.place)
    cut = [change for change in changes if change.state == "cut"]
    script = "".join(making(change) for change in changes) + "wait\n"
    script += "".join(storm(one, change) for change in cut)
    script += "".join(f"under_way {change.md}\n" for change in cut) + "sleep 0.2\ncrash\n"
    answers = boot(one, changes, script)
    for change in changes:
        one.require(answers.get(f"{change.md}.made") == "yes", f"the kernel did not make {change.name}: {change.shape}")
    return True


# ---- mdtool changes them ---------------------------------------------------------------------------------------------


def data_digests(members):
    return [hashlib.sha256(ondisk.read_at(path, block.data_offset * ondisk.SECTOR, block.size * ondisk.SECTOR)).hexdigest()
            for path, block in zip(members.present(), members.superblocks())]


def never_built(members):
    """Chunks of a lockless bitmap that promise no parity, whichever copy says so."""
    copies = [ondisk.bitmap(path, block) for path, block in zip(members.present(), members.superblocks())]
    size = members.first().size
    return [(chunk * copy.chunk, min((chunk + 1) * copy.chunk, size)) for copy in copies if copy and copy.lockless
            for chunk, state in enumerate(copy.states) if state not in (ondisk.CLEAN, ondisk.CLEAN_UNWRITTEN)]


def widened(ranges, chunk, size):
    chunks = {c for first, end in ranges for c in range(first // chunk, -(-end // chunk))}
    return ondisk.merged((c * chunk, min((c + 1) * chunk, size)) for c in sorted(chunks))


def expected_due(change):
    """Component sectors that have to be due, once mdtool is done: by its coarsest chunks on the way."""
    members = change.members
    due, size = members.due()[0], members.first().size
    if change.bitmap == "lockless":
        due = due + never_built(members)
    if change.name in ("classic to lockless", "to lockless and back") and due:
        # mdtool adds the first chunk: the kernel ends a sync of a lockless bitmap early that skips it.
        due = widened([(0, 1)] + due, LOCKLESS_CHUNK, size)
    return due


def run_mdtool(one, change):
    file = one.place(*change.place, "external")
    for turn, command in enumerate(change.commands):
        undo = one.place(*change.place, f"undo-{turn}")
        words = [word.replace("FILE", file) for word in command]
        before = change.members.digests()
        status, document = one.mdtool("bitmap", *words, "--dry-run", *change.members.paths)
        one.expect_equal((status, document.get("written")), (0, False), f"{words} --dry-run ({document.get('error')})")
        one.expect_equal(change.members.digests(), before, f"members after {words} --dry-run")
        status, document = one.mdtool("bitmap", *words, "--yes", "--undo", undo, *change.members.paths)
        one.require(status == 0 and document["written"], f"{words}: {status} {document.get('error')}")
        after = change.members.digests()
        status, document = one.mdtool("bitmap", *words, "--yes", "--undo", "none", *change.members.paths)
        one.expect(after == change.members.digests(), f"{words} once more changed members ({status}, {document.get('error')})")
    return undo


def undone(one, change, undo):
    """The last command's undo file puts all metadata back; and the command can be given again."""
    if len(change.commands) > 1 or not os.path.exists(undo):
        return
    copies = change.members.copy_to(one.place(*change.place, "applied"))
    status, document = one.mdtool("undo", "--yes", undo)
    one.expect_equal(status, 0, f"undo ({document.get('error')})")
    one.expect(change.members.metadata() == change.metadata_before, "metadata after undo is not what it was")
    for copy, path in zip(copies.paths, change.members.paths):
        with open(copy, "rb") as source, open(path, "r+b") as target:
            target.write(source.read())


def change_array(one, change):
    """True if it can be judged."""
    members = change.members
    one.note(str(change.shape))
    if change.state == "built":
        status, document = one.mdtool("build-parity", "--yes", "--undo", "none", *members.paths)
        one.require(status in (0, 1), f"build-parity: {status} {document.get('error')}")
    if change.state in ("clean", "built") and change.bitmap != "none" and "lockless" in change.name:
        refused(one, change)
    data, size = data_digests(members), members.first().size
    change.metadata_before = members.metadata()
    expected = expected_due(change)
    one.expect(bool(expected) == (change.state in ("cut", "unwritten")), f"due before: {lab.short(expected)}")
    undo = run_mdtool(one, change)
    one.expect(data_digests(members) == data, "data or parity were changed")
    undone(one, change, undo)
    bitmap = members.bitmap()
    if change.commands[-1][0] == "remove" or change.name == "clean none to a file":
        one.expect_equal(bitmap, None, "a bitmap")
    else:
        one.expect_equal(bitmap.lockless, "--bitmap=lockless" in change.commands[-1], "lockless")
    chunk = bitmap.chunk if bitmap else size
    change.due = widened(expected, chunk, size)
    one.expect_equal(members.due()[0], change.due, "due after mdtool")
    one.expect(all(block.clean == (not change.due) for block in members.superblocks()), "clean, or not, against what is due")
    plant(one, change)
    return True


def plant(one, change):
    """Wrong parity inside and outside of what is due; where nothing ought to be wrong, none."""
    members, size = change.members, change.members.first().size
    elsewhere = ondisk.complement(change.due, size)
    if change.state == "cut":
        generator = one.random("plants", change.title)
        for ranges in (change.due, elsewhere):
            rows = set()
            for _ in range(3 if ranges else 0):
                first, end = generator.choice(ranges)
                rows.add(max(first, generator.randrange(first, end) // 8 * 8))
            for row in sorted(rows):  # planting twice in one row would take it back
                one.oracle(members, "--plant", row)
    change.left_wrong = one.wrong_rows(members, elsewhere)
    change.wrong_due = one.wrong_rows(members, change.due)
    change.content = one.content(members)
    if change.state == "cut":
        one.expect(change.wrong_due, "nothing is wrong in what is due")
    one.note(f"{ondisk.total(change.due)} of {size} sectors due, {len(change.wrong_due)} rows wrong there, "
             f"{len(change.left_wrong)} elsewhere")


def refused(one, change):
    """Degraded: neither into the lockless format nor out of it."""
    rest = change.members.without({1}).present()
    before = [lab.digest(path) for path in rest]
    commands = [["convert", "--bitmap=internal"], ["remove"]] if change.bitmap == "lockless" else [["convert", "--bitmap=lockless"]]
    for command in commands:
        status, document = one.mdtool("bitmap", *command, "--yes", "--undo", "none", *rest)
        one.expect_equal(status, 64, f"{command} while degraded ({document.get('error')})")
        one.expect("degraded" in str(document.get("error")), f"the reason does not say so: {document.get('error')}")
    one.expect_equal([lab.digest(path) for path in rest], before, "members after the refusals")


# ---- the kernel judges -----------------------------------------------------------------------------------------------


def examined(change):
    """What mdadm says of a classic bitmap."""
    names = {"version": "Version", "state": "State", "chunk": "Chunksize", "bits": "Bitmap", "size": "Sync Size"}
    return f"set -- {change.devices}\nmdadm --examine-bitmap $1 >/tmp/examined\n" + "".join(
        f"say {change.md}.examined.{key} \"$(sed -n 's/^ *{name} : //p' /tmp/examined)\"\n" for key, name in names.items())


def pieces(one, change):
    """Array sectors in chunks that were never written."""
    generator, stripe = one.random("pieces", change.title), stripe_of(change)
    chunks = generator.sample(range(WRITTEN_CHUNKS[0] + 2, 44), PIECES)
    return [chunk * stripe + generator.randrange(stripe // 8) * 8 for chunk in sorted(chunks)]


def pieces_rows(one, change):
    """Component rows of the pieces, as far as chunks go: a chunk of the array is one of the members."""
    per_row = change.shape.chunk_kib * 2
    for first in pieces(one, change):
        stripe, within = divmod(first, per_row * change.shape.data_disks)
        yield stripe * per_row + within % per_row


def written_and_degraded(one, change):
    """Small writes where no parity was, in the middle of the resync or after it; then a member is lost."""
    md, devices = change.md, change.devices
    victim = one.random("victim", change.title).randrange(change.shape.slots) + 1
    script = f"assemble {md} {devices}\nbegun {md} 0\n"
    if change.name == "unwritten to classic":
        script = f"""
echo 5 >/proc/sys/dev/raid/speed_limit_min
echo 20 >/proc/sys/dev/raid/speed_limit_max
{script}
echo 5 >/sys/block/{md}/md/sync_speed_min
echo 20 >/sys/block/{md}/md/sync_speed_max
echo 100000 >/proc/sys/dev/raid/speed_limit_max
"""
    else:
        script += f"settle {md}\n"
    script += "".join(f"pattern write /dev/{md} {LATER} {first} 8\n" for first in pieces(one, change))
    script += f"say {md}.action_then $(sys {md} sync_action)\nset -- {devices}\nmdadm /dev/{md} --fail ${{{victim}}} >/dev/null 2>&1\n"
    script += f"sleep 0.2\nsay {md}.degraded_then $(sys {md} degraded)\n"
    # What was written is still in md's own cache and in the page cache: the first rows drive it out.
    script += f"echo 17 >/sys/block/{md}/md/stripe_cache_size\n"
    script += f"dd if=/dev/{md} of=/dev/null bs=512 count={2 * stripe_of(change)} 2>/dev/null\necho 3 >/proc/sys/vm/drop_caches\n"
    script += "".join(f"verify {md} {LATER} {first} 8\n" for first in pieces(one, change))
    script += f"verify {md} {FIRST} {WRITTEN_CHUNKS[0] * stripe_of(change)} {stripe_of(change)}\n"
    return script + f"mdadm --stop /dev/{md} >/dev/null 2>&1\n"


def judging(one, changes):
    unwritten = [change for change in changes if change.state == "unwritten"]
    cut = [change for change in changes if change.state == "cut"]
    resting = [change for change in changes if change.state in ("clean", "built")]
    script = "".join(change.attached() for change in changes)
    script += "".join(examined(change) for change in changes if change.bitmap_before and not change.bitmap_before.lockless)
    script += "".join(written_and_degraded(one, change) for change in unwritten)
    script += "".join(f"assemble {change.md} {change.devices}\n" for change in cut + resting)
    if resting:
        names = " ".join(change.md for change in resting)
        script += f"at_rest {names}\ncheck {names}\n"
    script += "".join(f"begun {change.md} 0\nsettle {change.md}\nsay {change.md}.syncs $(syncs_of {change.md})\n" for change in cut)
    return script + "".join(f"stop {change.md} &\n" for change in cut + resting) + "wait\n"


def judge_examined(one, change, answers):
    found = {key: answers.get(f"{change.md}.examined.{key}", "") for key in ("version", "state", "chunk", "bits", "size")}
    chunk = change.bitmap_before.chunk
    chunks, size = change.bitmap_before.chunks, change.members.first().size
    dirty = len(change.bitmap_before.states) - change.bitmap_before.states.count(0)
    one.expect_equal((found["version"], found["state"]), ("4", "OK"), "version and state by mdadm --examine-bitmap")
    one.expect(found["bits"].startswith(f"{chunks} bits (chunks), {dirty} dirty"), f"{found['bits']}: not {chunks} bits, {dirty} dirty")
    one.expect_equal(found["size"].split(" ")[0], str(size // 2), "KiB of sync size")
    shown = chunk // 2 if chunk < 2048 else chunk // 2048
    one.expect(found["chunk"].startswith(f"{shown} "), f"{found['chunk']}: not {shown}")


def judge(one, change, answers):
    md, members = change.md, change.members
    if change.bitmap_before is not None and not change.bitmap_before.lockless:
        judge_examined(one, change, answers)
    one.expect_equal(answers.get(f"{md}.assembled"), "yes", f"mdadm --assemble ({answers.get(f'{md}.said')})")
    if change.state == "unwritten":
        one.expect_equal(answers.get(f"{md}.degraded_then"), "1", "degraded")
        one.expect_equal(answers.get(f"{md}.action_then"), "resync" if change.bitmap_before else "idle", "sync_action at the writes")
        one.expect(set(pieces_rows(one, change)) & set(change.wrong_due), "no piece was written where parity was wrong")
        one.expect_equal(sum(key.startswith(f"{md}.content.") for key in answers), PIECES + 1, "pieces that were read")
        one.expect_content(answers, md)
        return
    if change.state == "cut":
        one.expect_equal(answers.get(f"{md}.syncs"), "1", "syncs that the kernel started")
        one.expect_equal(one.wrong_rows(members, change.due), [], "rows still wrong in what was due")
    else:
        one.expect_at_rest(answers, md)
        one.expect_equal(answers.get(f"{md}.mismatches"), "0", "mismatch_cnt after check")
    one.expect_equal(one.wrong_rows(members, ondisk.complement(change.due, members.first().size)), change.left_wrong,
                     "wrong rows outside of what was due")
    one.expect_equal(one.content(members), change.content, "data blocks")
    one.expect(all(block.clean for block in members.superblocks()), "not clean after the kernel's stop")
    if members.bitmap() and members.bitmap().lockless:
        check(one, change)


def check(one, change):
    """bitmap check names the chunks that hold wrong rows, and no other."""
    before = change.members.digests()
    status, document = one.mdtool("bitmap", "check", *change.members.paths)
    bitmap = change.members.bitmap()
    wrong = {row // bitmap.chunk for row in change.left_wrong}
    one.expect_equal(status, 4 if wrong else 0, f"bitmap check ({document.get('error')})")
    named = {c for doubt in document.get("doubts", []) for c in range(doubt["first_chunk"], doubt["last_chunk"] + 1)}
    one.expect_equal(named, wrong, "chunks in doubt")
    one.expect_equal(document.get("chunks_read"), bitmap.chunks, "chunks read")
    one.expect_equal(change.members.digests(), before, "members after the check")


def judge_all(one, changes):
    for change in changes:
        change.bitmap_before = change.members.bitmap()
    return boot(one, changes, judging(one, changes))


def run(one):
    for turn in range(one.rounds):
        changes = [dataclasses.replace(change, turn=turn, number=number) for number, change in enumerate(CHANGES)]
        changes = [change for change in changes if not one.options.only or one.options.only in change.title]
        made = changes and one.run(f"making of round {turn}", make, changes)
        changed = [change for change in changes if made and one.run(change.title, change_array, change)]
        answers = changed and one.run(f"making of judgements {turn}", judge_all, changed)
        for change in changed if answers else []:
            one.run(change.title, judge, change, answers)
