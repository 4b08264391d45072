"""One acquisition of the simulated camera: wait for the exposure, read out, send."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
import threading
import time

from capture.genicam.gvcp import Register
from capture.simulated.gige import behaviour
from capture.simulated.gige.features import CHUNKS, IMAGE_CHUNK, PIXEL_FORMATS, Kind
from capture.simulated.gige.packets import Block, Target
from capture.simulated.gige.pictures import Picture, Pictures
from capture.simulated.gige.readout import Developer
from capture.simulated.gige.registers import Registers
from capture.simulated.gige.sender import Sender

_TURN_S = 0.02
LATE_NS = 500_000_000
"""Behind by more than this (a stopped process), the sensor goes on at the present time."""
WRAP = 65535


class Streaming:
    """The stream of a camera; it can be started and stopped many times.

    Attributes:
        running: an acquisition runs.
        next_block: id of the next frame's block; may be set to see the ids wrap or jump.
        clock_shift_ns: added to the camera's clock; set so that it begins anew to see a reset.
    """

    def __init__(self, registers: Registers, pictures: Pictures, sender: Sender, stamp_at_end: bool) -> None:
        self.registers, self.pictures, self.sender = registers, pictures, sender
        self.stamp_at_end = stamp_at_end
        self.next_block, self.clock_shift_ns = 1, 0
        self._frame = 0
        self._developer = Developer(pictures)
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._pulses = threading.Semaphore(0)
        self._target: Target | None = None

    @property
    def running(self) -> bool:
        """An acquisition runs."""
        return self._thread is not None and self._thread.is_alive()

    def receiver(self) -> tuple[int, str]:
        """Port and address that the client wants frames at."""
        address = ipaddress.IPv4Address(self.registers.word(Register.STREAM_ADDRESS))
        return self.registers.word(Register.STREAM_PORT) & 0xFFFF, str(address)

    def start(self, sender: socket.socket) -> None:
        """Begin an acquisition; block ids begin at 1."""
        self.stop()
        port, address = self.receiver()
        if not port:
            return
        self._target = Target(sender, address, port)
        self.sender.forget()
        self.next_block, self._frame = 1, 0
        self._ending.clear()
        self.pictures.begin()
        self._thread = threading.Thread(target=self._run, name="gige stream", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the acquisition."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def pulse(self) -> None:
        """An edge on the trigger."""
        self._pulses.release()

    def reset_clock(self) -> None:
        """The camera's clock begins again at (about) 0."""
        self.clock_shift_ns = -self._newest_ns

    def send_again(self, number: int, first: int, last: int) -> None:
        """See `Sender.send_again`."""
        if self._target is not None:
            self.sender.send_again(self._target, number, first, last)

    _newest_ns = 0

    def _run(self) -> None:
        r = self.registers
        assert self._target is not None
        while not self._ending.is_set():
            if r.entry("TriggerMode") == "On":
                if not self._pulses.acquire(timeout=_TURN_S):
                    continue
                self.pictures.begin()
            elif time.monotonic_ns() - self.pictures.due_ns() > LATE_NS:
                self.pictures.begin()
            wait = (self.pictures.due_ns() - time.monotonic_ns()) / 1e9
            if wait > 0 and self._ending.wait(wait):
                return
            picture = self.pictures.take()
            self._newest_ns = picture.end_ns
            number = self.next_block
            self.next_block = number % WRAP + 1
            if self.sender.faults.mute:
                continue
            with contextlib.suppress(OSError):  # nobody listens: the network's business, not the camera's
                rate = float(r.whole("DeviceLinkThroughputLimit"))
                self.sender.send(self._target, self._block(picture, number), rate)
            self._frame += 1

    def _block(self, picture: Picture, number: int) -> Block:
        r = self.registers
        how = behaviour.readout(r)
        image = self._developer.develop(picture, how)
        stamp = (picture.end_ns if self.stamp_at_end else picture.start_ns) + self.clock_shift_ns
        exposure_us = (picture.end_ns - picture.start_ns) / 1e3
        tail = b""
        if r.whole("ChunkModeActive"):
            values: dict[str, float] = {
                "FrameID": self._frame, "ExposureTime": exposure_us, "Timestamp": stamp, "Gain": r.get("Gain")
            }  # fmt: skip
            tail = struct.pack(">II", IMAGE_CHUNK, image.nbytes)
            for name in behaviour.chunks(r):
                chunk, kind = CHUNKS[name]
                value = values[name] if kind is Kind.FLOAT else int(values[name])
                tail += struct.pack(">d" if kind is Kind.FLOAT else ">Q", value) + struct.pack(">II", chunk, 8)
        size = r.whole("GevSCPSPacketSize")
        return Block(number, image, stamp, how.region, PIXEL_FORMATS[how.pixel_format], tail, size)
