"""The simulated camera itself: answers the control protocol, exposes, streams; can be killed and brought back.

It binds to one loopback address and to the loopback network's broadcast address, so nothing of it is seen
outside of this machine. Two threads: one answers commands, one streams while an acquisition runs.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import struct
import threading
import time
from collections.abc import Callable

from capture.errors import CameraError, UsageError
from capture.genicam import gvcp
from capture.genicam.gvcp import Register, Status, Verb
from capture.simulated.gige import behaviour
from capture.simulated.gige.packets import test_packet
from capture.simulated.gige.pictures import Pictures
from capture.simulated.gige.readout import FORMATS
from capture.simulated.gige.registers import Refused, Registers
from capture.simulated.gige.sender import Sender, WireFaults
from capture.simulated.gige.streaming import Streaming

MODEL = "Blackfly S BFS-SIM-13Y3C"
LOOPBACK_BROADCAST = "127.255.255.255"

Client = tuple[str, int]


def check_address(address: str) -> None:
    """Raises `UsageError` when a simulated camera cannot have this address: nothing may be seen outside."""
    try:
        if not ipaddress.IPv4Address(address).is_loopback:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"{address!r} is not a loopback address; the simulated camera takes 127.0.0.1 to 127.255.255.254"
        ) from None


class GigeDevice:
    """A GigE Vision camera on a loopback address.

    Args:
        pictures: what it sees.
        address: 127.x.y.z; the port is the protocol's, so every camera needs an address of its own.
        serial: up to 15 characters.
        stamp_at_end: the time stamp marks the end of the exposure (False: its start).
        model: as it tells.

    Attributes:
        faults: what goes wrong on the wire; may be changed at any time.
        sender: its counters.
        registers: as of the last power-up.
    """

    def __init__(
        self, pictures: Pictures, address: str = "127.0.0.1", serial: str = "SIM00001", *,
        stamp_at_end: bool = False, model: str = MODEL, faults: WireFaults | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        check_address(address)
        self.pictures, self.address, self.serial, self.model = pictures, address, serial, model
        self.stamp_at_end = stamp_at_end
        self.faults = faults or WireFaults()
        self.sender = Sender(self.faults, seed)
        self.registers = self._memory()
        self._sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self._leaving = threading.Event()
        self._owner: Client | None = None
        self._heard = 0.0
        self._streaming: Streaming | None = None
        self._stream_socket: socket.socket | None = None

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Power up: registers as from the factory, no client. Raises `CameraError`: the address is taken."""
        if self._thread is not None:
            return
        self.registers = self._memory()
        behaviour.power_up(self.registers, self.pictures)
        self._owner = None
        try:
            self._sockets = [self._bound(self.address), self._bound(LOOPBACK_BROADCAST, shared=True)]
            self._stream_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._stream_socket.bind((self.address, 0))
        except OSError as e:
            self._close_sockets()
            raise CameraError(
                f"the simulated camera cannot use {self.address}:{gvcp.PORT} ({e.strerror}); is another one "
                "running there? choose another address, such as 127.0.0.2"
            ) from e
        self._streaming = Streaming(self.registers, self.pictures, self.sender, self.stamp_at_end)
        self._leaving.clear()
        self._thread = threading.Thread(target=self._serve, name=f"gige {self.address}", daemon=True)
        self._thread.start()

    def _memory(self) -> Registers:
        return Registers(self.address, self.model, self.serial, FORMATS[self.pictures.layout])

    def stop(self) -> None:
        """Power off: streaming ends at once, commands are no longer answered."""
        self._leaving.set()
        if self._streaming is not None:
            self._streaming.stop()
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        self._close_sockets()

    def _close_sockets(self) -> None:
        for s in (*self._sockets, *([self._stream_socket] if self._stream_socket else [])):
            s.close()
        self._sockets, self._stream_socket = [], None

    def __enter__(self) -> GigeDevice:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @staticmethod
    def _bound(address: str, shared: bool = False) -> socket.socket:
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            if shared:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, gvcp.PORT))
        except OSError:
            s.close()
            raise
        return s

    # -- what tests and rigs ask of it ---------------------------------------------------------------------

    @property
    def streaming(self) -> Streaming:
        """The acquisition. Raises `CameraError` before `start`."""
        if self._streaming is None:
            raise CameraError("the simulated camera was not started")
        return self._streaming

    @property
    def taken(self) -> bool:
        """A client controls it."""
        return self._owner is not None

    # -- commands ------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        direct, broadcast = self._sockets
        while not self._leaving.is_set():
            for s in select.select([direct, broadcast], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    data, client = s.recvfrom(2048)
                    if not self.faults.mute:
                        self._answer(direct, data, client, broadcast=s is broadcast)
            self._expire()

    def _expire(self) -> None:
        """A client that is silent for longer than the heartbeat loses the camera."""
        limit = self.registers.word(Register.HEARTBEAT_MS) / 1e3
        if self._owner is not None and time.monotonic() - self._heard > limit:
            self._release()

    def _release(self) -> None:
        self._owner = None
        self.registers.put(Register.CONTROL, 0)
        self.streaming.stop()

    def _answer(self, s: socket.socket, data: bytes, client: Client, *, broadcast: bool) -> None:
        if len(data) < gvcp.HEADER.size:
            return
        key, flags, verb, length, number = gvcp.HEADER.unpack_from(data)
        payload = data[gvcp.HEADER.size : gvcp.HEADER.size + length]
        if key != gvcp.KEY or len(payload) != length or (broadcast and verb != Verb.DISCOVERY):
            return
        if client == self._owner:
            self._heard = time.monotonic()
        if verb == Verb.PACKET_RESEND:
            self._resend(payload)
            return
        handlers: dict[int, Callable[[bytes, Client], bytes]] = {
            Verb.DISCOVERY: lambda p, c: self.registers.read(0, gvcp.DISCOVERY_BYTES),
            Verb.READ_REGISTER: self._read_registers,
            Verb.WRITE_REGISTER: self._write_registers,
            Verb.READ_MEMORY: self._read_memory,
            Verb.WRITE_MEMORY: self._write_memory,
        }
        status, body = Status.SUCCESS, b""
        try:
            if verb not in handlers:
                raise Refused(Status.NOT_IMPLEMENTED)
            body = handlers[verb](payload, client)
        except Refused as e:
            status = e.status
        except struct.error:
            status = Status.INVALID_PARAMETER
        if flags & gvcp.ACK_REQUIRED:
            s.sendto(gvcp.answer(verb, number, body, status), client)

    def _read_registers(self, payload: bytes, client: Client) -> bytes:
        return b"".join(self.registers.read(at, 4) for (at,) in struct.iter_unpack(">I", payload))

    def _read_memory(self, payload: bytes, client: Client) -> bytes:
        at, length = struct.unpack(">II", payload)
        if length > gvcp.LARGEST - 4:
            raise Refused(Status.INVALID_PARAMETER)
        return payload[:4] + self.registers.read(at, length & 0xFFFF)

    def _write_registers(self, payload: bytes, client: Client) -> bytes:
        pairs = list(struct.iter_unpack(">II", payload))
        k = 0
        while k < len(pairs):
            at, value = pairs[k]
            data, k = struct.pack(">I", value), k + 1
            found = self.registers.feature_at(at)
            # Spinnaker writes a long register as its two words, one behind the other in one message.
            if found is not None and found[0].size == 8 and k < len(pairs) and pairs[k][0] == at + 4:
                data, k = data + struct.pack(">I", pairs[k][1]), k + 1
            self._write(at, data, client)
        return struct.pack(">HH", 0, len(pairs))

    def _write_memory(self, payload: bytes, client: Client) -> bytes:
        self._write(struct.unpack_from(">I", payload)[0], payload[4:], client)
        return struct.pack(">HH", 0, len(payload) - 4)

    def _write(self, at: int, data: bytes, client: Client) -> None:
        if at == Register.CONTROL:
            self._control(data, client)
            return
        if client != self._owner:
            raise Refused(Status.ACCESS_DENIED)
        if at == Register.STREAM_PACKET_SIZE:
            self._packet_size(struct.unpack(">I", data)[0])
            return
        behaviour.allow(self.registers, at)
        found = self.registers.write(at, data, self.streaming.running)
        if found is not None:
            self._changed(found[0].name)

    def _control(self, data: bytes, client: Client) -> None:
        (value,) = struct.unpack(">I", data)
        if self._owner not in (None, client):
            raise Refused(Status.ACCESS_DENIED)
        if value & 3:
            self._owner, self._heard = client, time.monotonic()
            self.registers.put(Register.CONTROL, value)
        elif self._owner is not None:
            self._release()

    def _packet_size(self, value: int) -> None:
        if value & 0xFFFF >= 220:
            self.registers.set("GevSCPSPacketSize", value & 0xFFFC)
            self.registers.put(Register.STREAM_PACKET_SIZE, value & 0xFFFC)
        if value & 0x8000_0000:
            self._test_packet()

    def _test_packet(self) -> None:
        port, address = self.streaming.receiver()
        if self._stream_socket is not None and port:
            size = self.registers.whole("GevSCPSPacketSize")
            self._stream_socket.sendto(test_packet(size), (address, port))

    def _resend(self, payload: bytes) -> None:
        with contextlib.suppress(struct.error):
            _, number, first, last = struct.unpack_from(">HHII", payload)
            self.streaming.send_again(number, first & 0xFF_FFFF, last & 0xFF_FFFF)

    def _changed(self, name: str) -> None:
        """A feature was written."""
        if name == "AcquisitionStart":
            assert self._stream_socket is not None
            self.streaming.start(self._stream_socket)
        elif name == "AcquisitionStop":
            self.streaming.stop()
        elif name == "TriggerSoftware":
            if self.registers.entry("TriggerSource") == "Software":
                self.streaming.pulse()
        elif name == "GevSCPSPacketSize":
            self.registers.put(Register.STREAM_PACKET_SIZE, self.registers.whole(name))
        elif name == "GevSCPSFireTestPacket":
            self._test_packet()
        else:
            behaviour.settle(self.registers, self.pictures, name)
