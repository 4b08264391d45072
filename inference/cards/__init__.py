"""Model cards: what a network's weights were trained on and must be fed with, one TOML file each."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import Field, model_validator

from capture.errors import UsageError
from capture.validation import Strict, did_you_mean

ChannelOrder = Literal["rgb", "bgr", "gray"]
Recognised = Literal["checksum", "name", ""]
# What stands beside the picture, or in its place, at a network's input; see `inference.representations`.
Representation = Literal[
    "scer", "voxel", "eger", "event-counts", "spikes", "none", "edi-stack", "edi-stack-halfway"
]

NAMES = (
    "glint", "glint-large", "efnet", "gem", "sc-net", "stra", "cdvd-tsp",
    "s-sdm-ldn", "s-sdm-bsn", "s-sdm-edsr",
)  # fmt: skip
WITHOUT_WEIGHTS = ("edi", "none")
_FED: Mapping[str, tuple[str, ...]] = {
    "efnet": ("mask", "normalise", "mode"), "sc-net": ("steps", "window_ms"), "stra": ("window_ms",),
}  # fmt: skip
"""Which of `Feed` mean something to a network."""


class Evaluation(Strict):
    """A result that the weights should reproduce.

    Attributes:
        data: the test set.
        psnr: in dB, as its authors measured it.
        ssim: as its authors measured it.
        protocol: how they measured; the same pictures give other numbers under other protocols.
    """

    data: str
    psnr: float | None = None
    ssim: float | None = None
    protocol: str = ""


class Published(Strict):
    """A file that the authors publish.

    Attributes:
        file: its name, without the folder; "*" stands for any text.
        trained_on: data set and, where known, length.
        sha256: of the file; "" where no copy could be examined.
        evaluation: what it should reproduce.
    """

    file: str
    trained_on: str
    sha256: str = ""
    evaluation: tuple[Evaluation, ...] = ()


class Precision(Strict):
    """What a narrower number type costs, measured by `benchmarks.bench_precision`.

    Attributes:
        dtype: of the network; the rest is as in float32.
        device: what it was measured on; "CPU" sums in float32 as a GPU does, see `inference.half`.
        weights: with which. A network without weights at hand is measured with random ones.
        data: exposures.
        loss_db: PSNR against the truth lost to float32, mean over the exposures; None with random weights.
        difference: from float32's result before it is rounded to 8 bits, rms in grey levels of 255.
        largest: the same, the largest.
    """

    dtype: Literal["float16", "bfloat16"]
    device: str
    weights: str
    data: str
    loss_db: float | None = None
    difference: float
    largest: float

    @property
    def cost_db(self) -> float:
        """`loss_db`; without it what a picture of 35 dB would lose to an error of this size of its own."""
        if self.loss_db is not None:
            return self.loss_db
        error = 255 / 10 ** (35 / 20)
        return 10 * math.log10(1 + (self.difference / error) ** 2)


class Feed(Strict):
    """Options of the restorer that weights were trained with: its defaults when they run. None: not stated.

    Attributes:
        mask: the event mask is fed beside SCER (EFNet).
        normalise: of SCER (EFNet).
        mode: of the representation's times (EFNet).
        steps: parts of time of a window (SC-Net).
        window_ms: the longest neighbouring window (SC-Net, STRA).
    """

    mask: bool | None = None
    normalise: Literal["maximum", "percentile"] | None = None
    mode: Literal["relative", "corrected"] | None = None
    steps: int | None = Field(default=None, ge=2, le=64)
    window_ms: int | None = Field(default=None, ge=1, le=1000)

    @property
    def stated(self) -> dict[str, Any]:
        """Those that are stated, by the names of the restorer's options."""
        return self.model_dump(exclude_none=True)


class Origin(Strict):
    """Where installed weights come from.

    Attributes:
        file: name of the file that was added.
        sha256: of that file.
        recognised: "checksum": it is the published file; "name": it is called like one; "": neither.
        content_sha256: over names, types, shapes and values as installed (`weights.content_digest`).
        added: date, ISO 8601.
    """

    file: str = ""
    sha256: str = ""
    recognised: Recognised = ""
    content_sha256: str = ""
    added: str = ""


class Card(Strict):
    """What to know of a network's weights.

    Attributes:
        network: the name that `inference.networks.build` takes.
        title: one line for a list.
        paper: citation.
        options: to build the network with; empty: its defaults.
        takes: its inputs, in words.
        representation: of the events (or spikes) at its input; "none": takes none.
        channel_order: of the picture at its input and output.
        feed: what the restorer gives them unless a person says otherwise.
        trained_on: training data; "" where several files are published and none is chosen.
        camera_tone: tone curve of the frames of the rig that they were adapted to; "": what the rig file says.
        licence: of the code and the weights, as far as stated.
        published_at: address; "" where nobody publishes weights.
        published: the files.
        evaluation: what the weights should reproduce.
        cautions: what misleads.
        precision: what narrower number types cost.
        origin: of installed weights; None on a network's own card.
    """

    network: str
    title: str
    paper: str
    options: dict[str, Any] = Field(default_factory=dict)
    takes: str
    representation: Representation
    channel_order: ChannelOrder
    feed: Feed = Feed()
    trained_on: str = ""
    camera_tone: Literal["", "linear", "srgb"] = ""
    licence: str
    published_at: str = ""
    published: tuple[Published, ...] = ()
    evaluation: tuple[Evaluation, ...] = ()
    cautions: tuple[str, ...] = ()
    precision: tuple[Precision, ...] = ()
    origin: Origin | None = None

    @model_validator(mode="after")
    def _fed_what_it_knows(self) -> Card:
        known = _FED.get(self.network, ())
        if foreign := next((name for name in self.feed.stated if name not in known), None):
            raise ValueError(f"{self.network} has no option {foreign} to be fed with")
        return self


@cache
def card(network: str) -> Card:
    """The card of a network as published.

    Raises:
        UsageError: unknown network.
    """
    if network in WITHOUT_WEIGHTS:
        raise UsageError(f"{network} works without weights; those with weights: {', '.join(NAMES)}")
    if network not in NAMES:
        near = did_you_mean(network, NAMES)
        raise UsageError(f"no network with weights is called {network!r}; {near}known: {', '.join(NAMES)}")
    text = resources.files(__name__).joinpath(f"{network}.toml").read_text(encoding="utf-8")
    return Card.model_validate(tomllib.loads(text))
