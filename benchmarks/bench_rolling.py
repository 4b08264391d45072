"""What a rolling shutter does to restoring, known and not known: `python -m benchmarks.bench_rolling`.

    python -m benchmarks.bench_rolling [--seconds 1.2] [--write] [--pictures DIR]

The preset `handheld` at half its size (576×384, events 288×192), 20 ms exposures, its shutter rolling over the
image in so much time. PSNR in dB against the truth, whose rows are each at its own time, mean over all
exposures. Known: the rig file's `image.rolling_us` says it. Not known: it says 0. Calibrated: what
`calibrate rig` finds from six seconds of the scene, ± 95 %. Last: what moving the events of an exposure takes.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from benchmarks.report import markdown
from calibration.time.shutter import with_rolling
from calibration.time.solve import calibrate_time
from capture.cores import usable_cores
from capture.packets import EventPacket, Events
from capture.simulated.presets import configure
from capture.simulated.rig import SimulatedRig
from inference import models
from inference.engine import Engine
from inference.quality import psnr
from inference.restorers.contrast_pairs import MARGIN_US
from inference.restorers.picture import picture_of
from sync.exposure import AlignedExposure
from sync.rig import Rig
from sync.rolling import as_if_global, delays_of
from sync.synchroniser import Synchroniser

RESULTS = Path(__file__).parent / "results" / "rolling.md"
ROLLING_US = (0, 5_000, 10_000, 20_000, 33_000, -20_000)
HEAD = (
    "rolling, ms", "blurred", "EDI, known", "EDI, not known", "glint, known", "glint, not known",
    "calibrated, ms", "ms per exposure (events)",
)  # fmt: skip
SETTINGS = (
    "handheld?image_width=576&image_height=384&event_width=288&event_height=192&scale=2&shift_x=2&shift_y=-2"
    "&exposure_us=20000&speed=390&loop_s=2"
)


def rig_with(rolling_us: int) -> SimulatedRig:
    """The rig, its loops prepared."""
    made = SimulatedRig(configure(f"{SETTINGS}&rolling_us={rolling_us}"))
    made.prepare()
    return made


def aligned(made: SimulatedRig, rig: Rig, seconds: float) -> list[AlignedExposure]:
    """Exposures as live and offline would have them."""
    sync = Synchroniser(rig, margin_before_us=MARGIN_US)
    return [o for o in sync.outcomes(made.items(seconds)) if isinstance(o, AlignedExposure)]


def restored(made: SimulatedRig, rig: Rig, network: str, seconds: float, picture: Path | None) -> float:
    """PSNR at mid exposure."""
    engine = Engine(models.create(network, rig, {}, "cpu"))
    found = []
    for a in aligned(made, rig, seconds):
        truth = made.truth(a.exposure.time_at(0.5))
        (r,) = engine.push(a, (0.5,))
        found.append(psnr(r.images[0], truth))
        if picture is not None and a.ordinal == 8:
            tiles = np.hstack([picture_of(a.frame), r.images[0], truth])
            cv2.imwrite(str(picture), tiles[..., ::-1])
    return float(np.mean(found))


def blurred(made: SimulatedRig, rig: Rig, seconds: float) -> float:
    """PSNR of the frames."""
    shown = aligned(made, rig, seconds)
    return float(np.mean([psnr(picture_of(a.frame), made.truth(a.exposure.time_at(0.5))) for a in shown]))


def cost(made: SimulatedRig, rig: Rig) -> str:
    """Of moving the events of one exposure, 11 of them."""
    delays = delays_of(rig)
    if delays is None:
        return "–"
    every = Events.concatenate([i.events for i in made.items(1.2) if isinstance(i, EventPacket)])
    late, took, counts = round(abs(rig.image.rolling_us)), [], []
    for start in np.linspace(int(every.t[0]), int(every.t[-1]) - 20_000 - late, 11).astype(int):
        begun = time.perf_counter()
        got = as_if_global(every.between(int(start), int(start) + 20_000 + late), delays, start, start + 20_000)
        took.append(1e3 * (time.perf_counter() - begun))
        counts.append(len(got))
    return f"{np.median(took):.2f} ({np.median(counts) / 1e3:.0f} k)"


def row(rolling_us: int, seconds: float, pictures: Path | None) -> tuple[str, ...]:
    """One line of the table."""
    made = rig_with(rolling_us)
    rig = Rig.from_facts("rolling", made.facts())
    unknown = with_rolling(rig, 0.0)
    cells = [f"{rolling_us / 1e3:g}", f"{blurred(made, rig, seconds):.2f}"]
    for network in ("edi", "glint"):
        for name, r in (("known", rig), ("unknown", unknown)):
            picture = None if pictures is None else pictures / f"{network}-{rolling_us}-{name}.png"
            cells.append(f"{restored(made, r, network, seconds, picture):.2f}")
    found = calibrate_time(lambda: made.items(6.0), unknown)
    measured = "–" if found.rolling_us is None else f"{found.rolling_us / 1e3:.2f}"
    cells.append(f"{measured} ± {found.rolling_uncertainty_us / 1e3:.2f}")
    return (*cells, cost(made, rig))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.2)
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS}")
    parser.add_argument("--pictures", type=Path, help="blurred, restored and true pictures go there")
    a = parser.parse_args()
    if a.pictures is not None:
        a.pictures.mkdir(parents=True, exist_ok=True)
    rows = [row(r, a.seconds, a.pictures) for r in ROLLING_US]
    about = f"{usable_cores()} cores, load {psutil.getloadavg()[0]:.1f} at the end"
    text = markdown("Rolling shutters", "python -m benchmarks.bench_rolling", about, __doc__, HEAD, rows)
    print(text)
    if a.write:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
