"""Settings of the synthesis from the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from capture.documents import parse_toml
from capture.errors import UsageError
from capture.validation import did_you_mean
from training.synthesis.config import SynthesisConfig


def synthesis_config(words: Sequence[str], size: int | None = None) -> SynthesisConfig:
    """`key=value` words (values as in TOML) on top of the defaults.

    Raises:
        UsageError: unknown key, or a value that does not fit; one line.
    """
    values: dict[str, Any] = {} if size is None else {"size": size}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--set {word!r}: give key=value, for example blur_px=[2,20]")
        try:
            values[key.strip()] = parse_toml(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError as error:
            raise UsageError(
                f"--set {word!r}: {value!r} is neither a number nor a range like [2,20]"
            ) from error
    config = config_of(values)
    # sRGB comes first, so its share alone may be 1; of linear samples fewer would be drawn than is said.
    if "linear_share" in values and config.srgb_share + config.linear_share > 1 + 1e-9:
        raise UsageError(
            f"synthesis setting linear_share: {config.linear_share:g} and srgb_share {config.srgb_share:g} are "
            f"more than all samples; give srgb_share, too, {1 - config.linear_share:g} or less"
        )
    return config


def config_of(values: Mapping[str, Any]) -> SynthesisConfig:
    """These values on top of the defaults.

    Raises:
        UsageError: unknown key, or a value that does not fit; one line.
    """
    try:
        return SynthesisConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "settings"
        if first["type"] == "extra_forbidden":
            known = list(SynthesisConfig.model_fields)
            raise UsageError(
                f"synthesis setting {key}: there is none; {did_you_mean(key, known)}known: {', '.join(known)}"
            ) from error
        text = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"synthesis setting {key}: {text}") from error
