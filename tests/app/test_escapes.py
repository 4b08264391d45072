"""Names of files that are no text."""

from __future__ import annotations

import os

from app.escapes import escaped


def test_bytes_that_are_no_text_become_escapes() -> None:
    assert escaped("Tässä/a b") == "Tässä/a b"
    assert escaped(os.fsdecode(b"caf\xe9.aedat4")) == "caf\\udce9.aedat4"
    escaped(os.fsdecode(bytes(range(1, 256)))).encode()
