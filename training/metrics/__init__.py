"""How near a picture is to the truth: plain PSNR and SSIM, and those of each published evaluation.

`psnr` and `ssim` here are this project's own and what its tables report; they are `inference.quality`'s, for
any type. A published figure is only met by its own evaluation: `efnet`, `gem`, `s_sdm`, `sc_net`, `cdvd_tsp`.

| module | pictures | PSNR | SSIM |
| --- | --- | --- | --- |
| plain | as given | peak 255 or 1 | Gaussian 11×11, σ 1.5, whole windows, per channel |
| `efnet` | rounded to 8 bit, BGR | peak by the largest value | the Gaussian over a volume, edges repeated |
| `gem` | truncated to 8 bit, BGR | peak 255 | uniform 11×11, whole windows, population variances |
| `s_sdm` | float in −1…1, BGR | range 2, for a bright result 1 | uniform 7×7, sample variances, range 2 |
| `sc_net` | clipped float, RGB | peak 1 | uniform 7×7, sample variances, range 2 |
| `cdvd_tsp` | rounded to 8 bit, RGB, 4 pixels cut off | peak 255 | as plain |

All compute in float64, take numpy pictures or torch tensors (`pairs` says in which layout) and give a float.
"""

from __future__ import annotations

from training.metrics.plain import psnr, ssim

__all__ = ["psnr", "ssim"]
