"""TOML and JSON, read so that everything that is wrong with them is one kind of error.

Apart from `capture.validation`: pydantic takes a tenth of a second of a program's start.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML document.

    Raises:
        tomllib.TOMLDecodeError: it is none; also where Python's reader gives up in ways of its own, on brackets
            nested too deep and on whole numbers of thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as error:
        raise tomllib.TOMLDecodeError("its brackets are nested too deep") from error
    except ValueError as error:
        raise tomllib.TOMLDecodeError("a number in it is too long") from error


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file, with or without the mark that some editors put before UTF-8.

    Raises:
        OSError: it cannot be read, or is not UTF-8.
        tomllib.TOMLDecodeError: it is none (see `parse_toml`).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError("it is not UTF-8; save it as UTF-8") from error
    return parse_toml(text)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON document.

    Raises:
        ValueError: it is none, or its brackets are nested too deep for Python's reader.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error
