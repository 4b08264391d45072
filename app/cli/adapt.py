"""`halfmirror train adapt`: fine-tune a network on one's own rig, from recordings without sharp pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import console

if TYPE_CHECKING:
    from recordings.recording import OpenOptions

SECONDS = 20.0
LEAST_SIDE = 32
"""Of the parts that are cut out, pixels: smaller than what the networks look at makes no sense."""
_CURVES = {"linear": "proportional to light", "srgb": "sRGB"}


def adapt(
    network: str | None, data: Sequence[str], init: Path | None, output: Path | None, device: str,
    given: Mapping[str, Any], said: OpenOptions | None = None,
) -> int:  # fmt: skip
    """Learn from the recordings and write weights for `halfmirror models add`.

    Args:
        network: which; None: not given.
        data: recordings, or `simulated:PRESET`.
        init: weights to begin with; None: the installed ones.
        output: folder; None: runs/adapt-NETWORK-TIME.
        device: auto, cpu or cuda.
        given: settings (`training.adapt.tune.Settings`), `seconds` and `side` by name, and the network's own
            options as `network.KEY`.
        said: what the recordings' files do not say, of all of them.

    Raises:
        UsageError: something that cannot be meant; nothing is left behind.
    """
    from pydantic import ValidationError

    from app.adapting import pairs, rig_of_all
    from app.cli.progress import bar
    from app.output.atomic import staged_folder
    from app.version import version
    from capture.errors import UsageError
    from training.adapt.camera import TooLittle
    from training.adapt.pairs import Collector, kind_of
    from training.adapt.run import WEIGHTS, start
    from training.adapt.run import adapt as run
    from training.adapt.tones import samples_for
    from training.adapt.tune import Settings

    if network is None or not data:
        raise UsageError(
            "train adapt takes a network and recordings: --network glint --data RECORDING "
            "(make one: halfmirror record)"
        )
    kind = kind_of(network)
    values = dict(given)
    seconds = _number(values.pop("seconds", SECONDS), "seconds", 86_400.0)
    side = int(_number(values.pop("side", 96), "side", 4096, whole=True))
    options = {k.partition(".")[2]: values.pop(k) for k in list(values) if k.startswith("network.")}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        known = ", ".join((*Settings.model_fields, "seconds", "side", "network.OPTION"))
        raise UsageError(f"--set {first['loc'][0]}: {first['msg']}; known: {known}") from error
    if side < LEAST_SIDE:
        raise UsageError(f"--set side: give {LEAST_SIDE} or more, the pixels of a part that is cut out")
    begun = start(network, init)
    rig = rig_of_all(data, said)
    folder = output or Path("runs") / f"adapt-{network}-{time.strftime('%Y%m%d-%H%M%S')}"
    with (
        staged_folder(folder, overwrite=None) as staged,
        bar() as show,
    ):
        tones: set[str] = set()
        gave: list[int] = []
        cut: dict[str, None] = {}

        def collect(collector: Collector) -> None:
            tones.add(tone := collector.restorer.rig.image.tone)
            if len(tones) > 1:
                console.say(f"the frames look {_CURVES[tone]}: once more, the network being told so")
            gave.clear()
            for k, text in enumerate(data):
                show(f"reading {text}", 0)
                collector.begin(len(data) - k)
                before = collector.count
                read = pairs(text, seconds, collector.add, said)
                cut.update({text: None} if read.cut else {})
                gave.append(collector.count - before)
                console.say(f"{text}: {read.pairs} pairs of {read.frames} frames, {gave[-1]} samples of them")

        def told(step: int, value: float) -> None:
            console.say(f"step {step}  disagreement {value:.5f}")
            show("learning", step / settings.steps if settings.steps else 0)

        given_options = begun.options | options
        try:
            samples = samples_for(network, rig, given_options, kind, collect, side, begun.card, device)
            about = {
                "recordings": list(data), "samples_of": list(gave), "command": sys.argv, "program": version(),
                "options": options,
            }  # fmt: skip
            show("judging", 0)
            done = run(begun, samples, settings, staged, about, device, told)
        except TooLittle as e:
            if not cut:
                raise
            # Whoever has recorded enough need not do it again.
            more = (
                f"or let more be read: of {', '.join(cut)} only the first {seconds:g} s were (--set seconds=…)"
            )
            raise TooLittle(f"{e}; {more}") from e
    c = done.camera
    console.say(
        f"an event changes stored values by {c.on:+.1%} or {-c.off:+.1%} (contrast {c.contrast:g}, power of "
        f"the tone {c.power:.2f}); {c.explained:.0%} of what differs between neighbours is explained"
    )
    if done.tone:
        console.say(
            f"frames are {_CURVES[done.tone]}, which the rig file does not say: the weights note it; for other "
            f'networks set tone = "{done.tone}" under [image] in the rig file'
        )
    if done.changed:
        console.say(f"held-out neighbours: disagreement {done.before:.5f} → {done.after:.5f}")
    else:
        console.say("nothing to gain on held-out neighbours: the weights are as they came")
    console.out().print(str(folder / WEIGHTS), markup=False, soft_wrap=True)
    return 0


def _number(value: Any, name: str, most: float, *, whole: bool = False) -> float:
    """A positive number of `--set`.

    Raises:
        UsageError: it is none, or beyond `most`.
    """
    from capture.errors import UsageError

    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not 0 < value <= most or (whole and value != int(value)):
        kind = "whole number" if whole else "number"
        raise UsageError(f"--set {name}={value}: give a {kind} above 0, at most {most:g}")
    return float(value)
