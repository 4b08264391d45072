"""Sends blocks at the pace of a link, loses what it is told to lose, and keeps the last ones to send again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np

from capture.simulated.gige.packets import Block, Messages, Target, unavailable

BURST_BYTES = 96_000
"""Sent in one go. A receiver with the system's usual buffer (208 KiB) holds two of these."""
KEPT = 8
"""Blocks that can be sent again."""


@dataclass(slots=True)
class WireFaults:
    """What goes wrong on the way.

    Attributes:
        loss: share of packets that never arrive, resent ones too.
        duplicate: share of packets that arrive twice.
        reorder: share of packets that arrive a few places later.
        mute: the cable is out: nothing is answered, nothing is sent.
        resend: lost packets are sent again on request.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    mute: bool = False
    resend: bool = True


class Sender:
    """One stream channel.

    Attributes:
        blocks, packets, lost, resent, refused: counters; `lost` of `packets`, `refused` of the requests.
    """

    def __init__(self, faults: WireFaults, seed: int = 0) -> None:
        self.faults = faults
        self._random = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self._kept: deque[Block] = deque(maxlen=KEPT)
        self.blocks = self.packets = self.lost = self.resent = self.refused = 0

    def forget(self) -> None:
        """Nothing sent before can be asked for any more: a new acquisition counts from 1 again."""
        with self._lock:
            self._kept.clear()

    def send(self, target: Target, block: Block, bytes_per_s: float) -> None:
        """Send a block. Raises `OSError`."""
        with self._lock:
            self._kept.append(block)
        self.blocks += 1
        target.address_into(block.messages)
        messages = self._through(block.messages)
        step = max(1, round(BURST_BYTES * len(block.messages) / max(1, block.nbytes)))
        burst_s = block.nbytes / len(block.messages) * step / bytes_per_s
        due = time.monotonic()
        for k in range(0, len(messages), step):
            if self.faults.mute:
                return
            target.send(messages[k : k + step])
            due += burst_s
            if (wait := due - time.monotonic()) > 0:
                time.sleep(wait)

    def send_again(self, target: Target, number: int, first: int, last: int) -> None:
        """Answer a request for packets `first` to `last` of a block."""
        if not self.faults.resend or self.faults.mute:
            self.refused += 1
            return
        with self._lock:
            block = next((b for b in self._kept if b.number == number), None)
        with contextlib.suppress(OSError):
            if block is None:
                self.refused += 1
                target.socket.sendto(unavailable(number, first), (target.address, target.port))
                return
            wanted = block.messages[first : min(last, len(block.messages) - 1) + 1]
            self.resent += len(wanted)
            target.send(self._through(wanted))

    def _through(self, messages: Messages) -> Messages:
        """What of the messages arrives, and in which order."""
        f, n = self.faults, len(messages)
        self.packets += n
        if not (f.loss or f.duplicate or f.reorder):
            return messages
        place = np.arange(n, dtype=np.float64)
        if f.reorder:
            place += np.where(self._random.random(n) < f.reorder, self._random.integers(2, 6, n) + 0.5, 0.0)
        order = np.argsort(place, kind="stable")
        if f.duplicate:
            order = np.repeat(order, np.where(self._random.random(n) < f.duplicate, 2, 1))
        if f.loss:
            arrives = self._random.random(len(order)) >= f.loss
            self.lost += int(len(order) - np.count_nonzero(arrives))
            order = order[arrives]
        return messages[order]
