"""LDN with given weights on spikes simulated from held-out photos: what its 21 channels may and may not hold.

    python -m benchmarks.bench_s_sdm DeblurNet_100.pth --videos 24 --size 256

PSNR in dB over the five instants of each exposure, of a moving scene made as `synthesise --format spikes` makes
it (sRGB's tone curve), of photos that no training of ours uses: every eighth. Rows: what is fed in place of the
spikes. Then the same by how much the picture is blurred, and the middle alone after the protocol `s-sdm`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference import networks
from inference.representations import spikes
from inference.representations.spikes import CENTRE, FIRST, LAST, LATENTS, RADIUS, SPIKES_PER_FRAME
from inference.representations.spikes_torch import ldn_windows
from inference.weights import read_weights
from training.metrics import s_sdm
from training.photos import open_photos
from training.synthesis.config import SynthesisConfig
from training.synthesis.photo_cache import PhotoCache
from training.synthesis.spikes import SpikeShot, make_shots
from training.tasks.s_sdm_teacher import Teacher
from training.tasks.supervised import decibels

EVERY = 8
BANDS = (0.0, 18.0, 22.0, 26.0, 100.0)
Volume = NDArray[np.float32]


def edi(shot: SpikeShot, contrast: float) -> Volume:
    """The light that the double integral finds out of noise-free events of the true light."""
    light = np.log(shot.light.astype(np.float64) + 1e-3)
    at, count = light[0].copy(), np.zeros_like(light[0])
    counts = np.empty_like(light)
    for t, now in enumerate(light):
        crossed = np.trunc((now - at) / contrast)
        at, count = at + crossed * contrast, count + crossed
        counts[t] = count
    ratio = np.exp(contrast * counts)
    level = spikes.gray(spikes.quarter(shot.blurred[:, :, ::-1].astype(np.float32) / np.float32(255)))
    found = (level * ratio / ratio[FIRST : LAST + 1].mean(0)).clip(0, 1)
    return np.asarray(found * SPIKES_PER_FRAME, np.float32)


def repeated(volume: Volume) -> Volume:
    """Every frame the mean of the 21 around it: no order is left in a window that is made of one."""
    out = volume.copy()
    for at in LATENTS:
        out[at - RADIUS : at + RADIUS + 1] = volume[at - RADIUS : at + RADIUS + 1].mean(0)
    return out


ROWS: dict[str, Callable[[SpikeShot], Volume]] = {
    "simulated spikes": lambda s: s.frames.astype(np.float32),
    "mean of the 21 frames, 21 times": lambda s: repeated(s.frames.astype(np.float32)),
    "true light": lambda s: s.light * np.float32(SPIKES_PER_FRAME),
    "EDI, contrast 0.1": lambda s: edi(s, 0.1),
    "EDI, contrast 0.2": lambda s: edi(s, 0.2),
    "EDI, contrast 0.3": lambda s: edi(s, 0.3),
    "true light × 0.75": lambda s: s.light * np.float32(SPIKES_PER_FRAME * 0.75),
    "true light × 0.5": lambda s: s.light * np.float32(SPIKES_PER_FRAME * 0.5),
    "true light to the power 2.2": lambda s: s.light ** np.float32(2.2) * np.float32(SPIKES_PER_FRAME),
    "spikes 3 pixels to the right": lambda s: np.roll(s.frames, 3, axis=2).astype(np.float32),
    "spikes upside down": lambda s: s.frames[:, ::-1].astype(np.float32),
}
BLURRED, MODEL, RGB = "(blurred picture itself)", "(physical model, no network)", "spikes, picture as R, G, B"


def planes(picture: NDArray[np.uint8]) -> Tensor:
    """(…, H, W, 3) RGB → (…, 3, H, W) BGR in 0…1."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(picture[..., ::-1], -1, -3))).float() / 255


@torch.inference_mode()
def measured(net: nn.Module, shot: SpikeShot) -> dict[str, NDArray[np.float64]]:
    """PSNR at the five instants by row, and `middle`: PSNR and SSIM after the protocol."""
    image, sharp = planes(shot.blurred)[None], planes(shot.sharp)
    out = {BLURRED: decibels(image.expand_as(sharp), sharp)}
    volume = torch.from_numpy(shot.frames)[None].float()
    out[MODEL] = decibels(torch.cat(Teacher()(image, volume, LATENTS)), sharp)
    middle = LATENTS.index(CENTRE)
    after = []
    for name, made in ROWS.items():
        windows = ldn_windows(torch.from_numpy(np.ascontiguousarray(made(shot)))[None], LATENTS)
        found = net(image.expand(len(LATENTS), -1, -1, -1), windows)
        out[name] = decibels(found, sharp)
        if name == "simulated spikes":
            for x in (image[0], found[middle]):
                after += [s_sdm.psnr(x, sharp[middle]), s_sdm.ssim(x, sharp[middle])]
            swapped = net(image.flip(1).expand(len(LATENTS), -1, -1, -1), windows).flip(1)
    out[RGB] = decibels(swapped, sharp)
    return {n: v.double().numpy() for n, v in out.items()} | {"middle": np.array(after)}


def shots_of(arguments: argparse.Namespace) -> Iterator[SpikeShot]:
    photos = open_photos(arguments.photos, say=lambda line: print(line, file=sys.stderr))
    held = list(range(EVERY - 1, len(photos), EVERY))
    cache = PhotoCache(photos, held, 64)
    config = SynthesisConfig(
        size=arguments.size, srgb_share=1.0, linear_share=0.0, still_share=0.0, flat_share=0.0,
        highlight_share=0.0, blur_px=tuple(arguments.blur), object_px=tuple(arguments.blur),
    )  # fmt: skip
    for index in range(arguments.videos):
        yield from make_shots(config, 1, cache.load, len(cache), arguments.seed, index)


def line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="of s-sdm-ldn")
    parser.add_argument("--photos", default="package:all")
    parser.add_argument("--videos", type=int, default=24, help="moving scenes, one exposure each")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures")
    parser.add_argument("--blur", type=float, nargs=2, default=(3.0, 60.0), help="path in an exposure, pixels")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    net = networks.build("s-sdm-ldn")
    net.load_state_dict(read_weights(arguments.weights).entries)
    net.eval()
    found = []
    for k, shot in enumerate(shots_of(arguments), 1):
        found.append(measured(net, shot))
        print(f"{k} of {arguments.videos}", file=sys.stderr, flush=True)
    print(line("in the 21 channels", "PSNR, dB"))
    print(line("---", "---"))
    for name in (BLURRED, MODEL, *ROWS, RGB):
        print(line(name, f"{np.mean([f[name] for f in found]):.2f}"))
    print("\n" + line("PSNR of the blurred picture", "instants", "blurred", "LDN", "gain"))
    print(line(*["---"] * 5))
    blurred, restored = (np.concatenate([f[n] for f in found]) for n in (BLURRED, "simulated spikes"))
    for low, high in pairwise(BANDS):
        own = (blurred >= low) & (blurred < high)
        if own.any():
            a, b = blurred[own].mean(), restored[own].mean()
            print(line(f"{low:g} to {high:g}", str(own.sum()), f"{a:.2f}", f"{b:.2f}", f"{b - a:+.2f}"))
    middle = np.mean([f["middle"] for f in found], axis=0)
    print("\n" + line("protocol s-sdm, the middle", "PSNR, dB", "SSIM"))
    print(line(*["---"] * 3))
    print(line("blurred", f"{middle[0]:.2f}", f"{middle[1]:.3f}"))
    print(line("LDN", f"{middle[2]:.2f}", f"{middle[3]:.3f}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
