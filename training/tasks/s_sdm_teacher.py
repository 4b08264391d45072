"""S-SDM's teacher: BSN, EDSR and the physical model give LDN its pictures to learn from.

long  = clip01(EDSR(average of the exposure))
short = clip01(EDSR(clip01(BSN(average of 9 frames around the instant))))
picture = clip01(blurred / long · short)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from capture.errors import UsageError
from inference import networks, store
from inference.representations.spikes import CENTRE
from inference.representations.spikes_torch import sdm, tfp
from training.recipe import NetworkEntry
from training.tasks.s_sdm import LONG, SHORT, nearest
from training.weights import initialise

PARTS = ("bsn", "edsr")


class Teacher(nn.Module):
    """The chain, with weights that do not change.

    Args:
        bsn, edsr: its networks; None: the noise stays, each value becomes a block of 4×4.
    """

    def __init__(self, bsn: nn.Module | None = None, edsr: nn.Module | None = None) -> None:
        super().__init__()
        self.bsn, self.edsr = bsn, edsr
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, blurred: Tensor, spikes: Tensor, instants: Sequence[int]) -> list[Tensor]:
        """Pictures at the instants, (N, 3, H, W) in 0…1 each.

        Args:
            blurred: (N, 3, H, W) in 0…1.
            spikes: (N, 137, H/4, W/4) of 0 and 1.
            instants: spike frames.
        """
        long = self._large(tfp(spikes, CENTRE, LONG))
        out = []
        for at in instants:
            short = tfp(spikes, at, SHORT)
            if self.bsn is not None:
                short = self.bsn(short).clamp(0, 1)
            out.append(sdm(blurred, long, self._large(short)).clamp(0, 1))
        return out

    def _large(self, average: Tensor) -> Tensor:
        out: Tensor = nearest(average) if self.edsr is None else self.edsr(average)
        return out.clamp(0, 1)


def files_of(bsn: str, edsr: str) -> dict[str, Path]:
    """The weights of both networks: the files that are named, else those that are installed.

    Raises:
        UsageError: one is missing, with how to come by it, or may not be looked at.
    """
    out = {}
    for part, named in zip(PARTS, (bsn, edsr), strict=True):
        path = Path(named) if named else store.path_of(f"s-sdm-{part}")
        try:
            there = path.is_file()
        except OSError as error:
            raise UsageError(
                f"s-sdm-ldn learns from a teacher, and {path} cannot be read: {error.strerror or error}; name "
                f"another file: --set data.options.{part}=FILE"
            ) from error
        if not there:
            what = f"{path} does not exist" if named else f"no weights of s-sdm-{part} are installed"
            raise UsageError(
                f"s-sdm-ldn learns from a teacher, and {what}: train it (halfmirror train s-sdm-{part}), then "
                f"--set data.options.{part}=RUN/weights.safetensors, or train all three: halfmirror train s-sdm"
            )
        out[part] = path
    return out


def digest_of(files: dict[str, Path]) -> str:
    """Changes when the weights do."""
    return " ".join(f"{n}:{hashlib.sha256(p.read_bytes()).hexdigest()[:16]}" for n, p in files.items())


def load(files: dict[str, Path]) -> Teacher:
    """The teacher with its weights.

    Raises:
        WeightsError: a file is damaged, or of another network.
    """
    made = {}
    for part, path in files.items():
        name = f"s-sdm-{part}"
        made[part] = networks.build(name)
        initialise(made[part], path, NetworkEntry(name=name))
    return Teacher(made["bsn"], made["edsr"])
