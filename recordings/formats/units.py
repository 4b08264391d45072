"""Units of time, as the headings of text files name them."""

from __future__ import annotations

import re

UNITS = {"µs": 1.0, "s": 1e6, "ns": 1e-3, "ms": 1e3}
"""µs of one unit."""

_WORDS = (
    ("µs", re.compile(r"(?<![a-z])(us|µs|μs|usec|micro\w*)(?![a-z])")),
    ("ns", re.compile(r"(?<![a-z])(ns|nsec|nano\w*)(?![a-z])")),
    ("ms", re.compile(r"(?<![a-z])(ms|msec|milli\w*)(?![a-z])")),
    ("s", re.compile(r"(?<![a-z'’])(s|sec|secs|seconds?)(?![a-z])")),  # nor the camera's
)


def unit_in(text: str) -> str:
    """The unit that a text names, one of `UNITS`; "" where it names none."""
    plain = text.lower().replace("_", " ")
    return next((u for u, pattern in _WORDS if pattern.search(plain)), "")


def is_unit(word: str) -> bool:
    """The word is a unit and nothing else, in brackets or not, such as `us` or `[s]`."""
    bare = word.lower().strip("()[]{}.:,")
    return any(pattern.fullmatch(bare) for _, pattern in _WORDS)


def words_in(heading: str) -> list[str]:
    """Words of a column's heading in lower case, without units: `exposureStart_us` → exposure, start."""
    plain = re.sub(r"[\[({].*?[\])}]", " ", heading)
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain)
    return [w for w in re.findall(r"[^\W\d_]+|\d+", plain.lower()) if not is_unit(w)]
