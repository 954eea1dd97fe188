"""Signs of life between the processes of a training, so that those that are left end where another died, hangs or is cut off."""

import os
import socket
import sys
import threading
from contextlib import suppress

PERIOD = 5.0  # seconds between two signs of life
PATIENCE = 9  # periods without one; counted by whoever waits, so that a process that was itself stopped blames no other


class Heartbeat:
    """Two threads: one gives and reads signs of life, one counts those that are missing and ends this process, with status 1.

    Two, since whoever reads waits for ever where the machine that keeps the signs is cut off. store: a `torch.distributed.Store`
    that nothing else uses. say(message): called before the end.
    """

    def __init__(self, store, rank, world_size, say):
        self._store, self._rank, self._say = store, rank, say
        self._others = [other for other in range(world_size) if other != rank]
        self._signs, self._ended = {}, threading.Event()
        self._give(0)
        for work in (self._exchange, self._watch):
            threading.Thread(target=work, name="heartbeat", daemon=True).start()

    def stop(self):
        self._ended.set()

    def _give(self, number):
        self._store.set(f"alive/{self._rank}", f"{number} {socket.gethostname()}")

    def _exchange(self):
        number = 0
        with suppress(RuntimeError):  # the store is gone, and with it all signs
            while not self._ended.wait(PERIOD):
                number += 1
                self._give(number)
                signs = self._store.multi_get([f"alive/{other}" for other in self._others])
                self._signs = dict(zip(self._others, signs, strict=True))

    def _watch(self):
        before, missed = {}, dict.fromkeys(self._others, 0)
        while not self._ended.wait(PERIOD):
            now = self._signs
            missed = {other: missed[other] + 1 if now.get(other) == before.get(other) else 0 for other in self._others}
            before = now
            if silent := [other for other in self._others if missed[other] >= PATIENCE]:
                self._end(silent, now)

    def _end(self, silent, signs):
        names = ", ".join(f"{other}{_place(signs.get(other))}" for other in silent[:8]) + ", ..." * (len(silent) > 8)
        seconds = PERIOD * PATIENCE
        self._say(f"no sign of life of process {names} for {seconds:.0f} s: it died, hangs, or its machine or network is down.")
        sys.stdout.flush()
        os._exit(1)  # the main thread may wait for the lost one, where no exception reaches it


def _place(sign):
    return f" (on {sign.decode().partition(' ')[2]})" if sign else ""
