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

_MARKS = {"[", "(", "{", ",", ";"}
# What may stand between a heading and its unit.
_FILLING = {
    "all", "are", "as", "columns", "each", "float", "format", "given", "in", "int", "integer", "is", "the",
    "unit", "units", "values",
}  # fmt: skip


def unit_in(text: str) -> str:
    """The unit that a text names, one of `UNITS`; "" where it names none."""
    plain = text.lower().replace("_", " ")
    return next((u for u, pattern in _WORDS if pattern.search(plain)), "")


def unit_told(line: str, headings: set[str]) -> str:
    """The unit in which a line says that times are; "" where it does not.

    It must stand behind a heading (`time_us`, `t [ns]`, `times of the frames in ms`), or the line names nothing
    but headings and units. An amount (`exposure 5 ms`) and a word in prose (`the second camera`) are none.

    Args:
        line: of text, or a file's name without its ending.
        headings: words in lower case of which times are a column.
    """
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", re.sub(r"['’]s\b", "", line))
    found = re.findall(r"[^\W\d_]+|\d[\d.:]*|[\[({,;]", plain.lower())
    words = [w for w in found if w not in _MARKS]
    if all(w in headings or w in _FILLING or is_unit(w) for w in words):
        return next((unit_in(w) for w in words if is_unit(w)), "")
    for k, word in enumerate(found):
        if not is_unit(word):
            continue
        near = k
        while near and (found[near - 1] in _FILLING or found[near - 1] in "[({"):
            near -= 1
        told = near and found[near - 1] in headings
        if not told and k and found[k - 1] in {"in", "[", "(", "{"}:
            cell = max((i for i in range(near) if found[i] in ",;"), default=-1)
            told = not headings.isdisjoint(found[cell + 1 : k])
        if told:
            return unit_in(word)
    return ""


def is_unit(word: str) -> bool:
    """The word is a unit and nothing else, in brackets or not, such as `us` or `[s]`."""
    bare = word.lower().strip("()[]{}.:,")
    return any(pattern.fullmatch(bare) for _, pattern in _WORDS)


def words_in(heading: str) -> list[str]:
    """Words of a column's heading in lower case, without units: `exposureStart_us` → exposure, start."""
    plain = re.sub(r"[\[({].*?[\])}]", " ", heading)
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain)
    return [w for w in re.findall(r"[^\W\d_]+|\d+", plain.lower()) if not is_unit(w)]
