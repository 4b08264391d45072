"""Words that may hold the name of a file which is no text, as files and messages hold them."""

from __future__ import annotations


def escaped(words: str) -> str:
    """Valid UTF-8: bytes of a name that are none, which Python keeps as surrogates, become escapes."""
    return words.encode(errors="backslashreplace").decode()
