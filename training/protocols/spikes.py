"""LDN on a spike camera's own spikes, as it was published: whole frames, the middle of the exposure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from capture.errors import UsageError
from inference import networks, store
from inference.device import choose_device
from inference.representations.spikes import CENTRE
from inference.representations.spikes_torch import ldn_windows
from training.data.s_sdm import SdmMaker, SdmOptions
from training.data.sets.facts import Damaged, SequenceFacts, SequenceReader
from training.protocols.compared import Compared, Outcome


def spike_pictures(
    facts: SequenceFacts, reader: SequenceReader, device: str, options: Mapping[str, Any],
    weights: Path | None = None, truth: bool = True,
) -> Iterator[Outcome]:  # fmt: skip
    """Every exposure of a video with spikes. `weights`: see `restored`; `truth`: sharp pictures are read, too.

    Raises:
        UsageError: an option; LDN has none here, where nothing is derived, padded or tiled.
    """
    if options:
        raise UsageError(f"--option s-sdm-ldn.{sorted(options)[0]}: on a spike camera's data there are none")
    maker = SdmMaker(SdmOptions(), pictured=True)
    maker.judged = truth
    entries, card = store.load("s-sdm-ldn", representation="spikes", channel_order="bgr", file=weights)
    net = networks.build("s-sdm-ldn", **card.options)
    net.load_state_dict(entries, strict=True)
    where = choose_device(device)
    net = net.eval().requires_grad_(False).to(where)
    half = int(card.options.get("spike_dim", 21)) // 2
    for frame in facts.items:
        try:
            sample = maker.whole(reader, facts, frame)
        except Damaged as error:
            yield str(error)
            continue
        image, spikes = (torch.from_numpy(sample[k])[None].to(where).float() for k in ("image", "spikes"))
        with torch.inference_mode():
            out = net(image / 255, ldn_windows(spikes, (CENTRE,), half))[0]
        planes = (out.float().cpu().numpy(), sample["image"], sample["truth" if truth else "image"])
        result, picture, sharp = (_rgb(x) for x in planes)
        yield Compared(f"{frame:05d}", result, picture, sharp)


def _rgb(planes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(planes[::-1].transpose(1, 2, 0))
