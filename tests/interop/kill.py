# SPDX-License-Identifier: GPL-2.0-or-later
"""SIGKILL of the server in the middle of writes, or shortly after: nothing is lost that was flushed, and little is to be
synchronised."""
import itertools
import time

import journaled
import serving

ARRAYS = 4  # at a time: of four members at most, as many as a guest takes
KILLS = 3  # of each


def killed_once(one, array):
    generator = array.generator
    with serving.Server(one, array.rest.present()) as server:
        writer = journaled.Writer(one, server.at, array)
        writer.wait_for(generator.choice([1, 4, 16, 40]))
        time.sleep(generator.uniform(0, 0.05))
        if generator.random() < 0.3:  # an idle moment: the clean mark, parity built, bits cleared
            writer.kill()
            time.sleep(generator.uniform(0, 0.6))
        one.expect(server.serves(), f"the server has ended by itself: {server.complaints()}")
        server.kill()
        writer.end()
        server.clear_away()


def killed(one, number, chosen):
    folder = f"kill-{number}"
    arrays, images = journaled.make_arrays(one, folder, chosen)
    for _ in range(KILLS):
        where = one.where
        for array in arrays:
            one.where = f"{where} {array.name} {array.shape}"
            killed_once(one, array)
        one.where = where
        arrays = journaled.recover_all(one, arrays, images)


def run(one):
    lacking = serving.missing_for_fuse()
    if lacking:
        one.skip(lacking)
        return
    one.torn = 0
    every = journaled.combinations(one, "kill")
    for number in range(one.rounds):
        one.run(f"round {number}", killed, number, list(itertools.islice(every, ARRAYS)))
    one.where = "kill, all rounds"
    one.expect(one.torn > 0 or one.rounds == 1 or one.options.only, "no kill tore anything: these rounds have shown nothing")
