"""A DAVIS over TCP or Unix sockets: AEDAT4 streams through dv-processing's `NetworkReader`, one per kind."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from capture import native
from capture.camera import Control
from capture.errors import CameraError, CameraLost
from capture.inivation.batch import Batch, EventBatch, RawFrame
from capture.inivation.config import StreamConfig
from capture.inivation.dv import dv_processing
from capture.inivation.stream_head import KINDS, Address, StreamHead, look, written

CONNECT_S = 5.0
"""Longest that dv-processing may take to connect, after the stream's head was seen."""
_MOST = 64  # batches of one stream at one look

# Heads seen before, so that a camera knows its size before it is opened.
_heads: dict[tuple[Address, str], StreamHead] = {}


def known_size(address: Address | None, kind: str) -> tuple[int, int]:
    """The size that a stream last had, (0, 0) when it was not seen yet."""
    head = None if address is None else _heads.get((address, kind))
    return (0, 0) if head is None else (head.width, head.height)


def looked_at(name: str, address: Address, kind: str) -> StreamHead:
    """The head of a stream that must be of this kind. Raises `CameraError`."""
    head = look(name, address)
    if head.kind != kind:
        raise CameraError(
            f"{name}: {written(address)} sends {KINDS[head.kind]}, not {KINDS[kind]}; check the ports"
        )
    _heads[address, kind] = head
    return head


class StreamSource:
    """See `batch.Source`.

    Events and edges come over separate connections, so either may be late. Events are held until a later
    trigger of any kind has come (the camera's own marks too), at most for `edge_wait_ms`; an edge that comes
    later than that is refused and counted.
    """

    def __init__(self, name: str, config: StreamConfig) -> None:
        self._name, self._config = name, config
        self._places = config.places()
        self.edge_wait_ms = config.edge_wait_ms if "TRIG" in self._places else 0.0
        self.model, self.serial = "AEDAT4 stream", ""
        self.event_size = known_size(self._places.get("EVTS"), "EVTS")
        self.image_size = known_size(self._places.get("FRME"), "FRME")
        self.triggers = "TRIG" in self._places
        self.notes: dict[str, Any] = {}
        self._readers: dict[str, Any] = {}
        self._held: deque[tuple[int, EventBatch]] = deque()
        self._edges: list[tuple[int, bool]] = []
        self._triggers_us: int | None = None
        self._heard_ns = 0

    def open(self) -> None:
        """See `Source.open`: looks at every stream's head."""
        dv_processing(self._name)
        for kind, address in self._places.items():
            head = looked_at(self._name, address, kind)
            if kind == "EVTS":
                self.event_size = head.width, head.height
            elif kind == "FRME":
                self.image_size = head.width, head.height
            if head.source:
                self.model, _, self.serial = head.source.rpartition("_")
                self.model = self.model or head.source

    def start(self, events: bool, frames: bool) -> None:
        """See `Source.start`: connects now, so that nothing old waits in a socket."""
        dv = dv_processing(self._name)
        self._heard_ns = 0
        wanted = {"EVTS": events, "TRIG": events, "FRME": frames, "IMUS": True}
        for kind, address in self._places.items():
            if not wanted[kind] or kind in self._readers:
                continue
            looked_at(self._name, address, kind)  # it may have gone since
            try:
                with native.limited(CONNECT_S):
                    where = (address[0], address[1]) if isinstance(address, tuple) else (address,)
                    self._readers[kind] = dv.io.NetworkReader(*where)
            except Exception as e:
                self.stop()
                raise CameraError(f"{self._name}: {written(address)}: {native.message(e)}") from e

    def poll(self, host_ns: int) -> Batch:
        """See `Source.poll`."""
        batch = Batch()
        gone = [k for k, r in self._readers.items() if not r.isRunning()]
        try:
            self._drain(batch, host_ns)
        except Exception as e:
            raise CameraLost(
                f"{self._name}: the stream cannot be read ({native.message(e)}); connecting again"
            ) from e
        self._release(batch, host_ns, bool(gone))
        self._heard_ns = self._heard_ns or host_ns
        if 0 < 1e9 * self._config.silent_s < host_ns - self._heard_ns and not gone:
            raise CameraLost(
                f"{self._name}: has sent nothing for {self._config.silent_s:g} s; connecting again "
                "(silent_s = 0 lets it be silent)"
            )
        if gone and not (batch.events or batch.frames or batch.edges):
            where = written(self._places[gone[0]])
            raise CameraLost(f"{self._name}: {where} closed the stream of {KINDS[gone[0]]}; connecting again")
        return batch

    def _drain(self, batch: Batch, host_ns: int) -> None:
        for store in self._waiting("EVTS", "getNextEventBatch"):
            self._heard_ns = host_ns
            if store.size():
                self._held.append((host_ns, EventBatch.of(store)))
        # After the events: an edge that was sent before them is there by now.
        for triggers in self._waiting("TRIG", "getNextTriggerBatch"):
            batch.take_triggers(triggers)
        if batch.triggers_until_us is not None:
            self._triggers_us = batch.triggers_until_us
        for samples in self._waiting("IMUS", "getNextImuBatch"):
            batch.take_imu(samples)
        for frame in self._waiting("FRME", "getNextFrame"):
            self._heard_ns = host_ns
            batch.frames.append(RawFrame.of(frame))

    def _waiting(self, kind: str, call: str) -> Iterator[Any]:
        """What a reader holds, up to a limit."""
        reader = self._readers.get(kind)
        if reader is not None:
            yield from islice(iter(getattr(reader, call), None), _MOST)

    def _release(self, batch: Batch, host_ns: int, all_of_them: bool) -> None:
        """Hand on events that have waited long enough or that triggers have overtaken, edges with them."""
        self._edges += batch.edges
        batch.edges = []
        due = host_ns - round(1e6 * self.edge_wait_ms)
        while self._held:
            arrived, b = self._held[0]
            ahead = -1 if self._triggers_us is None else self._triggers_us - int(b.t[-1])
            overtaken = 0 <= ahead < 10_000_000
            if not (all_of_them or arrived <= due or overtaken):
                break
            self._held.popleft()
            batch.events.append(b)
        if batch.events or not self._held:
            batch.edges, self._edges = self._edges, []

    def names(self) -> tuple[str, ...]:
        """See `Source.names`."""
        return ("edge_wait_ms",) if self.triggers else ()

    def change(self, name: str, value: Any) -> None:
        """See `Source.change`."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1000:
            raise CameraError(f"{self._name}: {name} = {value!r} is not possible; give 0 to 1000 ms")
        self.edge_wait_ms = float(value)

    def values(self) -> dict[str, Any]:
        """See `Source.values`."""
        return {"edge_wait_ms": self.edge_wait_ms} if self.triggers else {}

    def controls(self) -> tuple[Control, ...]:
        """None: it is how the streams are read, nothing that a person turns."""
        return ()

    def stop(self) -> None:
        """See `Source.stop`."""
        self._readers.clear()
        self._held.clear()
        self._edges.clear()
        self._triggers_us = None

    def close(self) -> None:
        """See `Source.close`."""
        self.stop()


def wait_for(name: str, address: Address, kind: str, timeout_s: float) -> StreamHead:
    """The head of a stream whose server is just starting. Raises `CameraError` when it has not in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return looked_at(name, address, kind)
        except CameraError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
