"""The protocols by name: what data they fit, what they measure, and what was published with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capture.errors import UsageError
from capture.validation import did_you_mean
from inference import cards
from inference.representations.coding import Mode
from training import metrics
from training.data.sets.facts import (
    EVENTS,
    EXPOSURE,
    INSTANTS,
    SCER,
    SPIKES,
    STREAM,
    TRUTH,
    VIDEO,
    SequenceFacts,
)
from training.data.windows import FRAMES
from training.metrics import cdvd_tsp, codes, efnet, gem, s_sdm, sc_net

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Measures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Published:
    """A number from a paper or its repository."""

    weights: str
    data: str
    psnr: float | None
    ssim: float | None
    protocol: str


@dataclass(frozen=True, slots=True)
class Protocol:
    """One way to measure.

    Attributes:
        name: of the protocol.
        how: for the report: frames, crop, range, channels, SSIM, rounding.
        measure: of a result (H, W, 3) float32 RGB, 0…1 with overshoot, and the truth in 8 bits. All published
            measures give the same for RGB and BGR.
        lacks: why a sequence does not fit, "" when it does.
        published: numbers of this protocol.
        rows: only so many rows of a frame, from above; None: all.
        multiple: frames are cut, right and below, to a multiple of it.
        inner: so many frames at either end of a video are not counted.
        all_instants: every sharp picture is compared, else the middle of the exposure alone.
        alone: each frame is restored without what came before.
        bgr: LPIPS is handed BGR, as published.
        pictures: nothing is measured and no truth needed: every result is kept as a picture.
    """

    name: str
    how: str
    measure: Callable[[F32, U8], Measures]
    lacks: Callable[[SequenceFacts], str]
    published: tuple[Published, ...] = ()
    rows: int | None = None
    multiple: int = 1
    inner: int = 0
    all_instants: bool = False
    alone: bool = False
    bgr: bool = False
    pictures: bool = False


def protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        UsageError: unknown; lists the known ones.
    """
    if name not in PROTOCOLS:
        near = did_you_mean(name, PROTOCOLS)
        raise UsageError(f"--protocol {name!r}: {near}known are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _without(facts: SequenceFacts, *needs: str) -> str:
    lacking = [n for n in needs if n not in facts.carries]
    return f"no {' and no '.join(lacking)}" if lacking else ""


def _efnet_data(facts: SequenceFacts, exposures: bool) -> str:
    if facts.format not in ("efnet-h5", "efnet-scer"):
        return "not the form of EFNet's HDF5 files"
    if lacking := _without(facts, TRUTH):
        return lacking
    if SCER in facts.carries:
        return ""
    if exposures and EXPOSURE not in facts.carries:
        return f"no {EXPOSURE} (as GoPro: use efnet-gopro)"
    if not exposures and EXPOSURE in facts.carries:
        return f"{EXPOSURE}, so its windows are not GoPro's from midpoint to midpoint (use efnet-reblur)"
    return ""


def _spikes_or_events(facts: SequenceFacts) -> str:
    return _without(facts, TRUTH, *(() if SPIKES in facts.carries else (EVENTS,)))


def _video(facts: SequenceFacts) -> str:
    if lacking := _without(facts, TRUTH, VIDEO):
        return lacking
    return "" if facts.frames >= FRAMES else f"only {facts.frames} frames; a window has {FRAMES}"


def _efnet(result: F32, truth: U8) -> Measures:
    given = codes.rounded(result)
    return {
        "psnr": efnet.psnr(given, truth), "ssim": efnet.ssim(given, truth),
        "ssim_channels": metrics.ssim(given, truth),
    }  # fmt: skip


def _nothing(result: F32, truth: U8) -> Measures:
    codes.rounded(result)  # what is not finite is no picture
    return {}


def _gem(result: F32, truth: U8) -> Measures:
    given = codes.truncated(result)
    return {"psnr": gem.psnr(given, truth), "ssim": gem.ssim(given, truth)}


def _s_sdm(result: F32, truth: U8) -> Measures:
    sharp = truth.astype(np.float32) / 255
    return {
        "psnr": s_sdm.psnr(result, sharp), "ssim": s_sdm.ssim(result, sharp), "mse": s_sdm.mse(result, sharp),
    }  # fmt: skip


def _cdvd(result: F32, truth: U8) -> Measures:
    given = codes.rounded(result)
    return {"psnr": cdvd_tsp.psnr(given, truth), "ssim": cdvd_tsp.ssim(given, truth)}


def _sc_net(result: F32, truth: U8) -> Measures:
    sharp = truth.astype(np.float32) / 255
    return {
        "psnr": sc_net.psnr(result, sharp), "ssim": sc_net.ssim(result, sharp),
        "ssim_range_1": sc_net.ssim(result, sharp, mode=Mode.CORRECTED),
    }  # fmt: skip


def _ours(result: F32, truth: U8) -> Measures:
    given = codes.rounded(result)
    return {"psnr": metrics.psnr(given, truth), "ssim": metrics.ssim(given, truth)}


def _of_card(network: str, data: str) -> tuple[Published, ...]:
    """What the network's card says was published on a data set; each number once."""
    about = cards.card(network)
    rows: dict[Any, Published] = {}
    for weights, found in [("", about.evaluation), *((p.file, p.evaluation) for p in about.published)]:
        for e in found:
            if e.data.startswith(data):
                rows.setdefault(
                    (e.data, e.psnr, e.ssim), Published(weights or network, e.data, e.psnr, e.ssim, e.protocol)
                )
    return tuple(rows.values())


PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        Protocol(
            "efnet-gopro",
            "full frames; the first and the last of a sequence have no window of events; rounded to 8 bit; "
            "SSIM over the picture as a volume (read it beside ssim_channels, the usual one)",
            _efnet, lambda f: _efnet_data(f, exposures=False), _of_card("efnet", "GoPro"),
        ),
        Protocol(
            "efnet-reblur",
            "the first 256 rows of full frames, all of a sequence, windows from the exposures; else as "
            "efnet-gopro",
            _efnet, lambda f: _efnet_data(f, exposures=True), _of_card("efnet", "REBlur"), rows=256,
        ),
        Protocol(
            "gem",
            "every sharp picture of both frames of every file, truncated to 8 bit; SSIM with a uniform window "
            "of 11; no numbers are published with the code",
            _gem, lambda f: _without(f, INSTANTS, EVENTS), all_instants=True,
        ),
        Protocol(
            "s-sdm",
            "middle of the exposure, full frames, floating point on −1…1 (MSE is 4 times the usual one; SSIM "
            "compares with no other; LPIPS of BGR). The published numbers are of a spike camera, whose spikes "
            "are fed as they are; an event camera's are derived from events",
            _s_sdm, _spikes_or_events, _of_card("s-sdm-ldn", ""), multiple=4, bgr=True,
        ),
        Protocol(
            "cdvd-tsp",
            "without the first and the last two frames of a video, cut to multiples of 4, rounded to 8 bit, 4 "
            "pixels left out on every side",
            _cdvd, _video, _of_card("cdvd-tsp", ""), multiple=4, inner=FRAMES // 2,
        ),
        Protocol(
            "sc-net",
            "each frame by itself, without the feature of the one before, clipped, not rounded; SSIM with "
            "range 2 as published (read ssim_range_1 for the true one). The published GoPro crops are random; "
            "here full frames",
            _sc_net, lambda f: _without(f, TRUTH, STREAM), _of_card("sc-net", ""), multiple=4,
            alone=True,
        ),
        Protocol(
            "ours",
            "the middle of every exposure, restored in order as a stream, full frames, rounded to 8 bit; SSIM "
            "with the Gaussian window, per channel",
            _ours, lambda f: _without(f, TRUTH),
        ),
        Protocol(
            "pictures",
            "nothing is measured and no sharp picture needed: the middle of every exposure, restored in order "
            "as a stream, each kept as a picture",
            _nothing, lambda _facts: "", pictures=True,
        ),
    )
}  # fmt: skip
