"""Servers that misbehave as native readers do; they run in the sandbox's child."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recordings.sandbox_child import Refused, Reply, mark


class Naughty:
    def __init__(self, path: str = "") -> None:
        self._path = path

    def do_echo(self, n: int, size: int) -> Iterator[Reply]:
        for k in range(n):
            a = np.arange(k, k + size, dtype=np.int64)
            yield Reply("item", {"k": k}, {"t": a, "p": a % 2 == 0, "empty": a[:0]})

    def do_count(self, size: int) -> Iterator[Reply]:
        """Endless; notes in the file how many it has made."""
        k = 0
        while True:
            k += 1
            Path(self._path).write_text(str(k))
            yield Reply("item", {"k": k}, {"a": np.zeros(size, np.uint8)})

    def do_hang(self, after: int) -> Iterator[Reply]:
        yield from self.do_echo(after, 10)
        mark(7)
        # The regular expression engine holds the interpreter's lock, as a native call that hangs may.
        re.match(r"(a+)+$", "a" * 64 + "b")

    def do_slow(self, n: int, pause_s: float) -> Iterator[Reply]:
        for _ in range(n):
            time.sleep(pause_s)
            yield Reply("progress", {}, {})
        yield Reply("item", {"k": n}, {})

    def do_scan(self, size: int, seconds: float) -> Iterator[Reply]:
        """Reads in twenty steps, without a word meanwhile."""
        with open("/dev/zero", "rb", buffering=0) as f:
            for _ in range(20):
                time.sleep(seconds / 20)
                f.read(size // 20)
        yield Reply("item", {"k": size}, {})

    def do_abort(self, after: int) -> Iterator[Reply]:
        yield from self.do_echo(after, 10)
        os.write(2, b"terminate called after throwing an instance of 'std::bad_thing'\n")
        os.abort()

    def do_exit(self) -> Iterator[Reply]:
        os._exit(3)
        yield

    def do_refuse(self) -> Iterator[Reply]:
        raise Refused("holds nothing of use")
        yield

    def do_raise(self) -> Iterator[Reply]:
        raise RuntimeError("/project/src/x.cpp(12): void f()\nthe message\n#0 0xdead in stack()\n")
        yield

    def do_greedy(self) -> Iterator[Reply]:
        yield Reply("item", {}, {"a": np.empty(64 << 30, np.uint8)})

    def do_huge_item(self) -> Iterator[Reply]:
        yield Reply("item", {}, {"a": np.zeros(33 << 20, np.uint8)})

    def do_big_item(self) -> Iterator[Reply]:
        yield Reply("item", {}, {"a": np.resize(np.arange(251, dtype=np.uint8), 20 << 20), "t": np.arange(9)})

    def do_records(self, parts: int, size: int) -> Iterator[Reply]:
        """Ten times two plain arrays and a list of records beside them."""
        kind = np.dtype({"names": ["t", "x"], "formats": ["<i8", "<u2"], "offsets": [0, 10], "itemsize": 16})
        for n in range(10):
            records = []
            for k in range(parts):
                a = np.zeros(size, kind)
                a["t"], a["x"] = np.arange(size) + k * size + n, np.arange(size) % 1000 + k
                records.append(a)
            yield Reply("item", {}, {"a": np.arange(3) + n, "b": np.arange(5, dtype=np.uint8)}, records)

    def do_odd_type(self) -> Iterator[Reply]:
        yield Reply("item", {}, {"a": np.zeros(3, np.complex128)})

    def do_chatter(self) -> Iterator[Reply]:
        for _ in range(4000):
            with contextlib.suppress(BlockingIOError):
                os.write(2, b"noise " * 100 + b"\n")
        yield Reply("item", {"k": 1}, {})


class Hanging(Naughty):
    def do_verify(self) -> Iterator[Reply]:
        yield from self.do_hang(0)


class Crashing(Naughty):
    def do_verify(self) -> Iterator[Reply]:
        yield from self.do_abort(0)
