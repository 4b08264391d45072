"""What `bench_all` trains, and how: on a CPU with narrow networks, on a GPU wider ones with larger batches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SIZE = 96
SCENES = (
    "blur_px=[8,20]", "object_px=[8,20]", "noise_8bit=[0.3,2]", "still_share=0", "flat_share=0", "lost_share=0",
    "highlight_share=0.1", "threshold=[0.12,0.3]", "shift_share=0", "colour_share=1", "srgb_share=1",
)  # fmt: skip
COMMON = ("data.workers=1", "schedule.name=cosine", "schedule.warmup_steps=20", "run.log_every=10",
          "run.previews=2", "data.validation=16", "run.validate_every=200")  # fmt: skip
# A GPU makes some ten steps a second: validations and lines are further apart. Samples come from as many
# processes as keep up with that where all train side by side on sixteen cores.
COMMON_CUDA = ("schedule.warmup_steps=100", "run.log_every=50", "run.validate_every=500",
               "run.save_minutes=1.5")  # fmt: skip
VIDEOS = {"cpu": (48, 8), "cuda": (96, 8)}
"""To train on and held out, where nothing else is asked for: a GPU sees each of them more often."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row's training.

    Attributes:
        recipe: of `halfmirror train`; "": none.
        data: which layout it takes.
        settings: of the run.
        network: that the weights are for.
        weights: below the run's folder.
        cuda: further settings on a GPU; they come last, so they win.
    """

    recipe: str
    data: str
    settings: tuple[str, ...]
    network: str
    weights: str = "weights.safetensors"
    cuda: tuple[str, ...] = ()

    def set_on(self, device: str) -> tuple[str, ...]:
        """All settings on "cpu" or "cuda"; of one that is given twice the last."""
        given = (*COMMON, *self.settings, *((*COMMON_CUDA, *self.cuda) if device == "cuda" else ()))
        return tuple({s.partition("=")[0]: s for s in given}.values())


@dataclass(frozen=True, slots=True)
class How:
    """How one entry was trained, kept beside its run as JSON in `NAME.done`.

    Attributes:
        device: its name in words.
        minutes: of training.
        together: trainings that shared the device for the whole time; 1: it was alone.
        settings: that were given.
    """

    device: str
    minutes: float
    together: int = 1
    settings: tuple[str, ...] = field(default=())

    def words(self) -> str:
        """For the table: time, device and company, what narrows the network, size of a batch."""
        values = dict(s.split("=", 1) for s in self.settings)
        beside = f" shared by {self.together}" if self.together > 1 else ""
        on = f" on {self.device}" if self.device else ""
        parts = [f"{self.minutes:g} min{on}{beside}"]
        parts += [values[k] for k in ("network.options",) if k in values]
        parts += [f"batch {values[k]}" for k in ("run.batch",) if k in values]
        return ", ".join(parts)


PUBLISHED = "s-sdm-ldn-published"
ENTRIES: dict[str, Entry] = {
    "edi": Entry("", "", (), "edi"),
    "glint-shipped": Entry("", "", (), "glint"),
    "glint-large-shipped": Entry("", "", (), "glint-large"),
    "glint": Entry("glint", "pool", ("run.batch=6",), "glint", cuda=("run.batch=32",)),
    "efnet": Entry("efnet", "videos", (
        "network.options={wf=16}", "data.options.crop=64", "optimiser.lr=1e-3",
    ), "efnet", cuda=("network.options={wf=32}", "run.batch=16", "data.workers=3")),
    "gem": Entry("gem", "pairs", (
        "data.options.crop=48", "run.batch=2", "run.ema=0.98", "network.start=input",
    ), "gem", cuda=(
        "run.batch=8", "run.ema=0.995", "optimiser.lr=5e-4", "schedule.warmup_steps=200", "data.workers=2",
    )),
    "sc-net": Entry("sc-net", "videos", (
        'network.options={spiking="window",theta_s=1.0,base_channel=16,num_res=2,temporal_attention=false}',
        "data.options.crop=48", "data.options.clip=2", "data.options.steps=8", "optimiser.lr=2e-3",
        "run.ema=0.98", "network.start=input",
    ), "sc-net", cuda=(
        'network.options={spiking="window",theta_s=1.0,base_channel=32,num_res=2,temporal_attention=false}',
        "run.batch=8", "run.ema=0.995", "data.workers=3",
    )),
    "stra": Entry("stra", "videos", (
        "network.options={theta_s=1.0,base_channel=16,num_res=2}", "data.options.crop=48",
        "data.options.clip=2", "optimiser.lr=2e-3", "run.ema=0.98", "network.start=input",
    ), "stra", cuda=(
        "network.options={theta_s=1.0,base_channel=32,num_res=2}", "run.batch=8", "run.ema=0.995",
        "data.workers=3",
    )),
    "cdvd-tsp": Entry("cdvd-tsp", "videos", (
        "network.options={n_feat=8,n_resblock=1}", 'optimiser.groups=[{prefix="flow_net.",lr=0}]',
        "data.options.crop=64", "optimiser.lr=5e-4", "run.batch=2", "run.validate_every=60",
        "network.start=input",
    ), "cdvd-tsp", cuda=(
        "network.options={n_feat=16,n_resblock=2}", "run.batch=8", "run.validate_every=250",
    )),
    "s-sdm-ldn": Entry("s-sdm", "spikes", (
        "data.options.crop=64", "run.batch=2", "optimiser.lr=1e-3", "ldn.loss.name=ssim-reblur",
        "ldn.optimiser.lr=2e-3", "network.start=input",
    ), "s-sdm-ldn", "ldn/weights.safetensors", cuda=("run.batch=16",)),
    PUBLISHED: Entry("", "", (), "s-sdm-ldn"),
}  # fmt: skip
STAGES = {"bsn": 0.25, "edsr": 0.25, "ldn": 0.5}
"""Of s-sdm's time, the share of each of its recipes."""


def settings_with_time(entry: Entry, device: str, minutes: float) -> tuple[tuple[str, ...], list[Any]]:
    """Settings of a run on "cpu" or "cuda", and the arguments that end it."""
    if entry.recipe != "s-sdm":
        return entry.set_on(device), ["--max-minutes", minutes]
    return (
        *entry.set_on(device), *(f"{s}.run.max_minutes={minutes * share}" for s, share in STAGES.items()),
    ), []  # fmt: skip
