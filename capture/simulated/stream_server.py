"""Serves a stream of packets over TCP or a Unix socket to any number of clients."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque

from capture.errors import CameraError

LONGEST_QUEUE = 256 << 20
"""Bytes that wait for one client; one that lags further behind is disconnected."""


class _Client:
    def __init__(self, connection: socket.socket, head: bytes) -> None:
        self._connection = connection
        self._queue: deque[bytes] = deque([head])
        self._waiting = len(head)
        self._changed = threading.Condition()
        self.gone = False
        self.thread = threading.Thread(target=self._run, name="stream client", daemon=True)
        self.thread.start()

    def put(self, data: bytes) -> None:
        with self._changed:
            self._queue.append(data)
            self._waiting += len(data)
            self.gone |= self._waiting > LONGEST_QUEUE
            self._changed.notify()

    @property
    def waiting(self) -> int:
        return self._waiting

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while not self.gone:
                with self._changed:
                    while not self._queue and not self.gone:
                        self._changed.wait(0.5)
                    if not self._queue:
                        continue
                    data = self._queue.popleft()
                self._connection.sendall(data)
                with self._changed:
                    self._waiting -= len(data)
        self.gone = True
        self._connection.close()

    def close(self) -> None:
        with self._changed:
            self.gone = True
            self._changed.notify()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


class StreamServer:
    """Listens from the constructor on, until `close`.

    Args:
        address: (host, port), port 0 for any free one, or the path of a Unix socket.
        head: what every client is told first.

    Attributes:
        address: where it listens.
        clients_lost: that were disconnected since they lagged behind.

    Raises:
        CameraError: the address cannot be had.
    """

    def __init__(self, address: tuple[str, int] | str, head: bytes) -> None:
        self._head = head
        self._clients: list[_Client] = []
        self._lock = threading.Lock()
        self._closed = False
        try:
            self._socket = self._listening(address)
        except OSError as e:
            where = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
            raise CameraError(f"cannot listen at {where} ({e.strerror or e}); choose another") from e
        self.address: tuple[str, int] | str = address
        if not isinstance(address, str):
            self.address = (address[0], int(self._socket.getsockname()[1]))
        self.clients_lost = 0
        self._thread = threading.Thread(target=self._accept, name="stream server", daemon=True)
        self._thread.start()

    def _listening(self, address: tuple[str, int] | str) -> socket.socket:
        if not isinstance(address, str):
            return socket.create_server(address)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            try:
                s.bind(address)
            except OSError:
                if not _stale(address):
                    raise
                os.unlink(address)
                s.bind(address)
            s.listen()
        except BaseException:
            s.close()
            raise
        return s

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._clients.append(_Client(connection, self._head))

    def send(self, data: bytes) -> None:
        """To all clients there are; never waits."""
        with self._lock:
            for c in list(self._clients):
                if c.gone:
                    self._clients.remove(c)
                    self.clients_lost += c.waiting > LONGEST_QUEUE
                    c.close()
                else:
                    c.put(data)

    @property
    def clients(self) -> int:
        """How many are connected."""
        with self._lock:
            return sum(not c.gone for c in self._clients)

    @property
    def waiting(self) -> int:
        """Bytes that wait for the slowest client."""
        with self._lock:
            return max((c.waiting for c in self._clients), default=0)

    def close(self) -> None:
        """Close every connection. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(2.0)
        with self._lock:
            clients, self._clients = self._clients, []
        for c in clients:
            c.close()
            c.thread.join(2.0)
        if isinstance(self.address, str):
            with contextlib.suppress(OSError):
                os.unlink(self.address)


def _stale(path: str) -> bool:
    """A socket that nobody listens at any more."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        s.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    finally:
        s.close()
    return False
