"""What the time half of a calibration found: the clock, how sure it is, what did not fit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class Verdict(StrEnum):
    """How good it is."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"

    @staticmethod
    def worst(verdicts: list[Verdict]) -> Verdict:
        """The worst of some; `PASS` of none."""
        order = [Verdict.PASS, Verdict.WARN, Verdict.FAIL]
        return max(verdicts, key=order.index, default=Verdict.PASS)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not as it should be.

    Attributes:
        name: short and fixed, for tests and scripts: "wrong wire", "clock jumped", "no motion", …
        text: one sentence with the figures of this case and what to do.
        verdict: how bad it is.
    """

    name: str
    text: str
    verdict: Verdict = Verdict.WARN


@dataclass(frozen=True, slots=True)
class AffineClock:
    """Frame camera's clock → event clock.

    event time (µs) = ref_us + (device time (ns) − ref_ns) / 1000 · (1 + drift_ppm · 1e-6).

    Attributes:
        ref_ns: a device time in the middle of what was measured.
        ref_us: the event time then.
        drift_ppm: how much faster the event clock runs.
        frames: (first, end) places in the stream of frames, end excluded, between which it holds; None: all
            over it. A camera's clock that jumped has a relation before and another one after.
    """

    ref_ns: int
    ref_us: float
    drift_ppm: float
    frames: tuple[int, int] | None = None

    def event_us(self, device_ns: int) -> float:
        """Event time (µs) of a device time (ns)."""
        return self.ref_us + (device_ns - self.ref_ns) / 1e3 * (1.0 + self.drift_ppm * 1e-6)

    def shifted(self, by_us: float) -> AffineClock:
        """The same clock, `by_us` later on the event clock."""
        return replace(self, ref_us=self.ref_us + by_us)

    def holds(self, place: int) -> bool:
        """Whether it is the clock of the frame at a place (0, 1, 2 …) in the stream of frames."""
        return self.frames is None or self.frames[0] <= place < self.frames[1]


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A frame without edges, or an edge without a frame.

    Attributes:
        at_us: where, event clock; None when a frame could not be placed at all.
        what: "frame 812", "rising edge".
        why: one line, may be empty.
    """

    at_us: int | None
    what: str
    why: str = ""


@dataclass(slots=True)
class TimeResult:
    """The clock of a rig. Times in µs on the event clock.

    Attributes:
        relation: as `sync.rig.Clock`: "trigger" (edges), "host" (arrival times, refined by content), "same".
        clock: the affine relation; None when there is none to be had, or none is needed ("same").
        uncertainty_us: of the start of an exposure by `clock`, about 95 %.
        residual_us, p95_us: of the single edges (or of the blocks of pictures) around the clock: robust
            standard deviation, 95th percentile of the size.
        drift_uncertainty_ppm: about 95 %.
        held_out_us: 95th percentile of how far the last third of the edges lies from a clock that was fitted
            to the first two thirds; nan when there are too few.
        at_us, residuals_us: (N,) each measurement and how far it lies from the clock.
        what: what a measurement is: "edge" or "block of frames".
        active_high: the shutter is open while the signal is high.
        longer_us: see `sync.rig.Clock`.
        frames, frames_matched: frames that should have edges, and those that have at least one.
        edges, edges_matched: edges of the exposure signal.
        unmatched: the first hundred of both kinds, in order of time.
        exposure_bias_us: pulses are longer than the camera's own exposure times by so much.
        latency_ms, latency_spread_ms: least time from exposure to arrival, and how well that is known; None
            without arrival times.
        shift_us, shift_uncertainty_us: what the pictures say by how much exposures lie later than the clock
            has them (the strobe delay, when triggers gave the clock); None when they do not tell.
        assumed_us: with "same", what stamps were moved by already; `shift_us` comes on top.
        by_driver: with "same", stamps may be off either way (`recordings.recording.RecordingInfo`).
        shift_by: what told it: "content" or "blinking light".
        content_residual: share of the change of light that the events do not explain, 0…1.
        rolling_us, rolling_uncertainty_us: how much later the last row is exposed than the first, 0 with a
            global shutter, and about 95 %; None when the pictures do not tell.
        troubles: what is not as it should be.
    """

    relation: str
    clock: AffineClock | None = None
    uncertainty_us: float = math.inf
    residual_us: float = math.nan
    p95_us: float = math.nan
    drift_uncertainty_ppm: float = math.inf
    held_out_us: float = math.nan
    at_us: F64 = field(default_factory=lambda: np.empty(0))
    residuals_us: F64 = field(default_factory=lambda: np.empty(0))
    what: str = "edge"
    active_high: bool = True
    longer_us: float = 0.0
    frames: int = 0
    frames_matched: int = 0
    edges: int = 0
    edges_matched: int = 0
    unmatched: list[Unmatched] = field(default_factory=list)
    exposure_bias_us: float = 0.0
    latency_ms: float | None = None
    latency_spread_ms: float | None = None
    shift_us: float | None = None
    shift_uncertainty_us: float = math.inf
    assumed_us: float = 0.0
    by_driver: bool = False
    shift_by: str = ""
    content_residual: float | None = None
    rolling_us: float | None = None
    rolling_uncertainty_us: float = math.inf
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def drift_ppm(self) -> float:
        """Of the clock; 0 without one."""
        return 0.0 if self.clock is None else self.clock.drift_ppm

    @property
    def verdict(self) -> Verdict:
        """The worst of the troubles."""
        return Verdict.worst([t.verdict for t in self.troubles])

    @property
    def shift_from(self) -> str:
        """What put the exposures where `shift_us` counts from, in words."""
        if self.relation == "same":
            return "stamps and delay_us"
        return "the edges" if self.relation == "trigger" else "motion"

    def summary(self) -> str:
        """One line for a person."""
        if self.relation == "same" and self.shift_us is None:
            # What passes is told nowhere else.
            unmeasured = "".join(f"; {t.text}" for t in self.troubles if t.verdict is Verdict.PASS)
            shutter = f"; {self.shutter()}" if self.rolling_us else ""
            return f"frames are stamped on the event clock{unmeasured}{shutter}"
        if self.relation == "same":
            found = self.assumed_us + (self.shift_us or 0.0)
            return (
                "frames are stamped on the event clock; by the pictures, exposures lie "
                f"{found:+.0f} ± {self.shift_uncertainty_us:.0f} µs from their stamps"
            ) + (f"; {self.shutter()}" if self.rolling_us else "")
        if self.clock is None:
            return self.troubles[0].text if self.troubles else "no clock relation found"
        how = "trigger edges" if self.relation == "trigger" else "what both cameras saw"
        return (
            f"by {how}: start of exposure ±{self.uncertainty_us:.0f} µs, residual {self.residual_us:.1f} µs, "
            f"drift {self.drift_ppm:+.1f} ppm"
        ) + (f"; {self.shutter()}" if self.rolling_us else "")

    def shutter(self) -> str:
        """Global or rolling, a few words; "" when not known."""
        if self.rolling_us is None:
            return ""
        unsure = f" (±{self.rolling_uncertainty_us / 1e3:.1f} ms)"
        if not self.rolling_us:
            return "global shutter" + unsure
        which = "after" if self.rolling_us > 0 else "before"
        return f"rolling shutter: the last row {abs(self.rolling_us) / 1e3:.1f} ms {which} the first{unsure}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for a report; numbers that are not finite become None."""

        def plain(v: float | None) -> float | None:
            return None if v is None or not math.isfinite(v) else round(float(v), 4)

        c = self.clock
        return {
            "relation": self.relation,
            "clock": None if c is None else {
                "device_ns": c.ref_ns, "event_us": round(c.ref_us, 3), "drift_ppm": round(c.drift_ppm, 4)},
            "uncertainty_us": plain(self.uncertainty_us), "residual_us": plain(self.residual_us),
            "p95_us": plain(self.p95_us), "drift_uncertainty_ppm": plain(self.drift_uncertainty_ppm),
            "held_out_us": plain(self.held_out_us), "measurements": len(self.residuals_us),
            "active_high": self.active_high, "longer_us": plain(self.longer_us),
            "frames": self.frames, "frames_matched": self.frames_matched, "edges": self.edges,
            "edges_matched": self.edges_matched,
            "unmatched": [{"at_us": u.at_us, "what": u.what, "why": u.why} for u in self.unmatched],
            "exposure_bias_us": plain(self.exposure_bias_us), "latency_ms": plain(self.latency_ms),
            "latency_spread_ms": plain(self.latency_spread_ms), "shift_us": plain(self.shift_us),
            "shift_uncertainty_us": plain(self.shift_uncertainty_us), "shift_by": self.shift_by,
            "assumed_us": plain(self.assumed_us), "by_driver": self.by_driver,
            "content_residual": plain(self.content_residual), "rolling_us": plain(self.rolling_us),
            "rolling_uncertainty_us": plain(self.rolling_uncertainty_us),
            "verdict": str(self.verdict),
            "troubles": [{"name": t.name, "text": t.text, "verdict": str(t.verdict)} for t in self.troubles],
        }  # fmt: skip
