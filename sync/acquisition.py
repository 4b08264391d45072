"""Finding which trigger edge belongs to which frame, when nothing is known yet.

The frames' device stamps and the edges' event stamps are two recordings of one sequence of exposures, on clocks
of unknown offset (up to seconds or years) and of nearly equal rate (±300 ppm). Each side may lack items and
the edges may contain extra ones. The question is one offset; everything else follows from it.

**Hypotheses.** Every pairing of a few anchor frames with every edge proposes an offset; offsets that agree
are one hypothesis. Each is refined by a straight line through the edges that it explains.

**Evidence**, as natural logarithms of likelihood ratios:

* a frame whose edge should have been seen (its time is covered by the event stream) and was not: so much per
  edge as the loss rate makes it unlikely that the hypothesis itself implies (`_missing`); a whole pulse
  among the frames that no frame explains: `EXTRA`, unless the frame counter says that frames were lost there;
* a frame whose both edges fit speaks for the hypothesis by as much as it would be a coincidence: minus the
  logarithm of the share of all hypotheses under which the same frame fits. In a varying pattern this is
  large; in a periodic one it is nearly zero, as it should be;
* edges that scatter more around their line than under the quietest hypothesis (`_scatter`);
* arrival, live: a frame cannot arrive before its exposure has ended (`CAUSALITY`), and the least latency
  should lie between the bounds that the rig is known for: `1 / LATENCY_SCALE_US` per µs beyond;
  in a recording: the order of the items, known to one packet;
* start-up: where the event stream was seen to be quiet before the first edge, an edge earlier than the
  first frame means that the first frame was lost; with the frame counter at its very first value that is
  most unlikely (`FIRST_FRAME`). A frame earlier than the first pulse is as unlikely (`FIRST_PULSE`).

**Decision.** The best hypothesis is taken when it leads all others, and the possibility that none of the edges
seen belong to these frames, by `DECISION` (1 : 10 000). Otherwise nothing is taken and `Verdict.why` says what
is open. A constant rate with a constant exposure is a purely periodic pattern, which no comparison of
intervals can resolve: there only counters at start-up, arrival times, or one varied exposure or pause decide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
BoolA = NDArray[np.bool_]

EXTRA = 2.5  # a pulse without a frame: the frame was lost in silence, or noise looks like a pulse; 8 %
FIRST_FRAME = {0: 10.0, 1: 3.5}  # by the first frame's counter; counters begin at 0, some at 1
FIRST_PULSE = 8.0  # the very first pulse lost both its edges
CAUSALITY = 14.0
CLOCK_SLACK_US = 2000.0  # an arrival may seem to precede the end of its exposure by the host clock's error
LATENCY_SCALE_US = 1000.0
ORDER_SCALE_US = 300.0
DECISION = math.log(1e4)
CAP = 14.0
TURNED_SHARE, TURNED_LEAST = 0.6, 3  # of the frames, before the polarity is called wrong

MATCH_US = 80.0  # an edge that is farther from where it should be is another one
SCATTERED_US = 1000.0  # or this one all the same, where each frame has one as near as that
SCATTER = "edges scatter"
"""How `Verdict.why` begins then."""
FEW = 0.6  # of the frames with both edges: less is no match

MAX_DRIFT = 300e-6
MAX_FRAMES = 40
MAX_EDGES = 160


@dataclass(frozen=True, slots=True)
class Stamp:
    """What acquisition needs to know of one frame.

    Attributes:
        key: the caller's name for it, increasing.
        start_ns, end_ns: device stamps.
        sequence: the camera's counter.
        arrival_us: its arrival, on the event clock, as far as known.
        since_us: up to where the events had come when it came, None before the first.
    """

    key: int
    start_ns: int
    end_ns: int
    sequence: int
    arrival_us: int | None = None
    since_us: int | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known beside stamps and edges.

    Attributes:
        covered_us: the event stream is complete from … to …
        holes_us: but for these stretches, in which edges may have been lost.
        first_key: key of the very first frame of this stream (None: it is no longer among the frames).
        first_sequence: its counter.
        latency_us: between which bounds the least time from the end of an exposure to the frame's arrival lies,
            as far as the rig is known.
        packet_us: the longest event packet, where `Stamp.arrival_us` comes from the order of the items (a
            recording: by contract a frame is given at the end of its exposure); None where host times tell.
        final: no more will come, so decide with what there is.
    """

    covered_us: tuple[int, int]
    holes_us: tuple[tuple[int, int], ...] = ()
    first_key: int | None = None
    first_sequence: int = 0
    latency_us: tuple[float, float] = (0.0, 40_000.0)
    packet_us: float | None = None
    final: bool = False


@dataclass(slots=True)
class Verdict:
    """What was found.

    Attributes:
        pairs: (device start ns, start edge µs) of the frames whose start edge was found; empty = undecided.
        end_bias_us: by how much pulses are longer than the camera's own exposure times.
        margin: lead over the best rival, natural logarithm.
        how: what decided: "pattern", "arrival", "start-up".
        why: one line, when undecided.
    """

    pairs: list[tuple[int, int]] = field(default_factory=list)
    end_bias_us: float = 0.0
    margin: float = 0.0
    how: str = ""
    why: str = "no edges yet"

    @property
    def decided(self) -> bool:
        """An offset was found."""
        return bool(self.pairs)


@dataclass(slots=True)
class _Fitted:
    """All hypotheses, refined: arrays of H (hypotheses) × N (frames)."""

    offset: F64  # (H,) µs
    start: F64  # predicted start, µs
    end: F64
    residual: F64  # (H,) rms of the edges around the lines, µs
    edges: F64  # (H,) how many those are
    at_start: BoolA  # a start edge is there
    at_end: BoolA
    i_start: NDArray[np.intp]  # index of the nearest start edge
    bias: F64  # (H,) pulses longer than exposures by …


def acquire(frames: list[Stamp], starts_us: I64, ends_us: I64, evidence: Evidence) -> Verdict:
    """Decide which edges belong to which frames, or say why not.

    Args:
        frames: recent frames in order.
        starts_us, ends_us: edges at which the shutter opened and closed, event clock, sorted.
        evidence: see `Evidence`.
    """
    if not len(starts_us) or not len(ends_us):
        return Verdict(why="no edges yet")
    first_edge = int(min(starts_us[0], ends_us[0]))
    frames = frames[-MAX_FRAMES:]
    starts_us, ends_us = starts_us[-MAX_EDGES:], ends_us[-MAX_EDGES:]
    enough = 1 if evidence.final else 3
    if len(frames) < enough:
        return Verdict(why=f"the clock is found from {enough} frames or more, {len(frames)} came so far")
    zero = int(starts_us[0])
    ref = frames[0].start_ns
    d: F64 = np.array([(f.start_ns - ref) / 1e3 for f in frames])
    x: F64 = np.array([(f.end_ns - f.start_ns) / 1e3 for f in frames])
    s: F64 = (starts_us - zero).astype(np.float64)
    e: F64 = (ends_us - zero).astype(np.float64)
    fitted = _hypotheses(d, x, s, e)
    cover = (evidence.covered_us[0] - zero, evidence.covered_us[1] - zero)
    covered = (fitted.start >= cover[0]) & (fitted.end < cover[1] - 500.0)
    for begin, end in evidence.holes_us:
        covered &= (fitted.end < begin - zero - 500.0) | (fitted.start > end - zero + 500.0)
    both = fitted.at_start & fitted.at_end

    # Rivals count in proportion to what they explain: a shared fit is a coincidence.
    chance = (1.0 + both.sum(0)) / (1.0 + np.maximum(covered | both, False).sum(0))
    reward = -np.log(np.minimum(chance, 1.0))
    pattern = (0.5 * fitted.at_start + 0.5 * fitted.at_end) @ reward
    pattern -= _missing(covered, fitted) + _scatter(fitted, both.sum(1))
    sequence = np.array([f.sequence for f in frames], dtype=np.int64)
    pattern -= EXTRA * _unexplained(fitted.start, _pulses(s, e, x), sequence)
    startup = _startup(fitted, float(first_edge - zero), frames, evidence, cover[0])
    arrival, arrival_known = _arrival(fitted, frames, evidence, zero)
    score = pattern + startup + arrival

    # Not a single edge belongs to these frames: free of charge without arrival times, else next to impossible.
    nothing = -CAP if arrival_known else 0.0
    good = both.sum(1) >= enough
    if not good.any():
        return Verdict(why=_why_none(d, x, s, e))
    best = int(np.argmax(np.where(good, score, -np.inf)))
    rival = np.abs(fitted.offset - fitted.offset[best]) > 1000.0
    if len(d) > 1:
        rival = np.abs(fitted.offset - fitted.offset[best]) > min(1000.0, 0.3 * float(np.diff(d).min()))

    def lead(total: F64, null: float) -> float:
        others = total[rival]
        return float(total[best] - max(null, float(others.max()) if len(others) else -np.inf))

    margin = lead(score, nothing)
    n_covered = int(covered[best].sum())
    if n_covered and both[best].sum() < FEW * n_covered:
        return Verdict(margin=margin, why=_why_few(s, e, fitted))
    if margin < DECISION:
        open_ = 1 + int((score[rival] > score[best] - DECISION).sum())
        return Verdict(
            margin=margin,
            why=f"{open_} ways to match {len(frames)} frames with {len(s)} edges are open (constant rate and "
            "exposure); vary the exposure once, or start the frame camera after the event camera",
        )
    how = "pattern"
    if lead(pattern, 0.0) < DECISION:
        how = "arrival" if lead(pattern + arrival, nothing) >= DECISION else "start-up"
    hit = np.flatnonzero(fitted.at_start[best])
    pairs = [(frames[i].start_ns, int(starts_us[fitted.i_start[best, i]])) for i in hit]
    return Verdict(pairs, float(fitted.bias[best]), margin, how, "")


def _why_few(s: F64, e: F64, fitted: _Fitted) -> str:
    """Why few frames have both edges under any hypothesis: these lack, or are not where they should be."""
    near = SCATTERED_US
    if fitted.start.shape[1] > 1:
        near = min(near, 0.1 * float(np.diff(fitted.start[0]).min()))
    errors = np.stack([_nearest(s, fitted.start)[1], _nearest(e, fitted.end)[1]])  # (2, H, N)
    there: BoolA = np.asarray((np.abs(errors) <= near).all(0))
    n = there.sum(1)
    if n.max() < FEW * there.shape[1]:
        return "too few frames have both edges"
    # Of a constant rate several shifts have their edges nearby; the right one has them nearest.
    likely = np.flatnonzero(n >= 0.8 * n.max())
    scatter = 1.48 * min(float(np.median(np.abs(errors[:, h, there[h]]))) for h in likely)
    return (
        f"{SCATTER} by {scatter:.0f} µs about the frames' own stamps, more than can be matched: noise on the "
        "wire, an output with slow edges, or stamps of something else than the exposure"
    )


def _why_none(d: F64, x: F64, s: F64, e: F64) -> str:
    """Why no hypothesis has both edges of enough frames: most often the rig file has the polarity wrong.

    A frame or two may lie between the pulses of another device by chance; those do not tell of polarity.
    """
    turned = _hypotheses(d, x, e, s)
    if (turned.at_start & turned.at_end).sum(1).max() >= max(TURNED_LEAST, TURNED_SHARE * len(d)):
        return (
            "edges fit the frames only with the other polarity: turn active_high round in the rig file, or "
            "calibrate the rig"
        )
    fit = "no edges fit the frames' intervals and exposures so far"
    return f"{fit}: are they of the frame camera's exposure signal?"


def _nearest(edges: F64, at: F64) -> tuple[NDArray[np.intp], F64]:
    """Index of the nearest edge to each time, and the edge minus the time."""
    i = np.clip(np.searchsorted(edges, at), 1, max(1, len(edges) - 1))
    i = np.zeros(at.shape, np.intp) if len(edges) == 1 else i - (at - edges[i - 1] < edges[i] - at)
    return i, edges[i] - at


def _hypotheses(d: F64, x: F64, s: F64, e: F64) -> _Fitted:
    """All distinct offsets that pair an anchor frame with an edge, each refined by a line."""
    span = float(d[-1] - d[0]) + float(x.max())
    coarse = 100.0 + MAX_DRIFT * span
    anchors = sorted({0, len(d) // 4, len(d) // 2, 3 * len(d) // 4, len(d) - 1})
    proposals = np.sort(np.concatenate([s - d[a] for a in anchors] + [e - (d[a] + x[a]) for a in anchors]))
    cluster = np.concatenate([[0], np.cumsum(np.diff(proposals) > coarse / 2)])
    offset: F64 = np.bincount(cluster, proposals) / np.bincount(cluster)
    start = offset[:, None] + d[None, :]
    end = start + x[None, :]
    tol = coarse * 1.5
    for tol_next in (max(200.0, coarse / 3), 120.0, MATCH_US):
        (_, err_s), (_, err_e) = _nearest(s, start), _nearest(e, end)
        ws, we = np.abs(err_s) <= tol, np.abs(err_e) <= tol
        ns, ne = np.maximum(ws.sum(1), 1), np.maximum(we.sum(1), 1)
        mean_s, mean_e = (err_s * ws).sum(1) / ns, (err_e * we).sum(1) / ne
        ts = d[None, :] - ((d * ws).sum(1) / ns)[:, None]
        te = d[None, :] - ((d * we).sum(1) / ne)[:, None]
        top = (ws * ts * (err_s - mean_s[:, None])).sum(1) + (we * te * (err_e - mean_e[:, None])).sum(1)
        bottom = (ws * ts * ts).sum(1) + (we * te * te).sum(1) + (20.0 / 100e-6) ** 2
        slope = np.clip(top / bottom, -MAX_DRIFT, MAX_DRIFT)
        start = start + mean_s[:, None] + slope[:, None] * ts
        end = end + mean_e[:, None] + slope[:, None] * te
        tol = tol_next
    i_s, err_s = _nearest(s, start)
    _, err_e = _nearest(e, end)
    bias = np.median((end - start) - x[None, :], axis=1)
    mid = start[:, len(d) // 2] - d[len(d) // 2]
    at_start, at_end = np.abs(err_s) <= tol, np.abs(err_e) <= tol
    edges = (at_start.sum(1) + at_end.sum(1)).astype(np.float64)
    square = (np.where(at_start, err_s, 0.0) ** 2).sum(1) + (np.where(at_end, err_e, 0.0) ** 2).sum(1)
    residual = np.sqrt(square / np.maximum(edges - 3.0, 1.0))  # offset, slope and bias were fitted
    return _Fitted(mid, start, end, residual, edges, at_start, at_end, i_s, bias)


def _missing(covered: BoolA, h: _Fitted) -> F64:
    """(H,) cost of edges that should be there. Losses are rare (half a loss in 50), but seen ones count."""
    lost = (covered & ~h.at_start).sum(1) + (covered & ~h.at_end).sum(1)
    rate = (0.5 + lost) / (50.0 + 2.0 * covered.sum(1))
    return np.asarray(-lost * np.log(np.minimum(rate, 1.0)))


def _scatter(h: _Fitted, matched: NDArray[np.intp]) -> F64:
    """(H,) cost of edges that scatter more around their line than those of the quietest hypothesis do.

    The Gaussian likelihood, n · ln(σ / σ₀), less what chance alone does to σ (2.5 standard deviations). It
    tells shifts apart by variations of the interval that lie far below the tolerance of a match.
    """
    sound = (matched >= 0.8 * matched.max(initial=1)) & (h.edges >= 10)
    if not sound.any():
        return np.zeros(len(h.offset))
    least = max(2.0, float(h.residual[sound].min()))
    freedom = np.maximum(h.edges - 3.0, 1.0)
    excess = np.log(np.maximum(h.residual, least) / least) - 2.5 / np.sqrt(freedom)
    return np.asarray(np.minimum(freedom * np.maximum(excess, 0.0), 2 * CAP))


def _pulses(s: F64, e: F64, x: F64) -> F64:
    """Start edges that an end edge follows after a plausible exposure; others are noise, bounces or half lost.

    Only a whole pulse without a frame speaks against a hypothesis: noise is as likely between the frames as
    before and after them, so it must not favour those hypotheses that leave it outside.
    """
    first = np.searchsorted(e, s + float(x.min()) - 200.0)
    last = np.searchsorted(e, s + float(x.max()) + 200.0)
    found = s[last > first]
    # Of several starts within 300 µs one is the pulse.
    return found[np.diff(found, prepend=-np.inf) > 300.0]


def _unexplained(predicted: F64, pulses: F64, sequence: I64) -> F64:
    """(H,) how many pulses lie strictly between neighbouring frames, beyond the frames known as lost."""
    if predicted.shape[1] < 2 or not len(pulses):
        return np.zeros(len(predicted))
    step = np.diff(predicted, axis=1)
    slack = np.minimum(300.0, 0.25 * step)
    after = np.searchsorted(pulses, predicted[:, :-1] + slack, side="right")
    before = np.searchsorted(pulses, predicted[:, 1:] - slack, side="left")
    between = np.maximum(before - after, 0)
    known_lost = np.maximum(np.diff(sequence) - 1, 0)
    excess: F64 = np.clip(between - known_lost[None, :], 0, 3).astype(np.float64)
    return np.asarray(excess.sum(1))


def _startup(h: _Fitted, first_edge: float, frames: list[Stamp], evidence: Evidence, since: float) -> F64:
    """(H,) cost by start-up order, where the stream was seen to be quiet before the first edge of either kind.

    Noise before the first frame counts like an edge: then every hypothesis pays and nothing is decided.
    """
    none = np.zeros(len(h.offset))
    if frames[0].key != evidence.first_key or len(frames) < 2:
        return none
    period = float(np.median(np.diff(h.start[0])))
    # Quiet for a period and an exposure: whatever frame came before the first pulse would have been seen.
    if first_edge - since < 1.1 * period + float((h.end - h.start).max()):
        return none
    earlier = first_edge < h.start[:, 0] - 0.25 * period
    before = (h.start < first_edge - 0.5 * period).any(axis=1)
    # Only where edges are seen to be reliable.
    whole = (h.at_start & h.at_end).sum(1) + before >= len(frames)
    before &= whole & (len(frames) >= 6 or evidence.final)
    weight = FIRST_FRAME.get(evidence.first_sequence, 0.0)
    return np.asarray(np.maximum(-weight * earlier - FIRST_PULSE * before, -CAP))


def _arrival(h: _Fitted, frames: list[Stamp], evidence: Evidence, zero: int) -> tuple[F64, bool]:
    """(H,) cost of implausible latencies, and whether the arrival says anything at all."""
    known = [i for i, f in enumerate(frames) if f.arrival_us is not None]
    if not known:
        return np.zeros(len(h.offset)), False
    arrived = np.array([(frames[i].arrival_us or 0) - zero for i in known], dtype=np.float64)
    latency = arrived[None, :] - h.end[:, known]
    if evidence.packet_us is not None:
        # The order of items is known to one packet. Where it is not that even, it says nothing.
        if float(np.ptp(latency[0])) > 2.0 * evidence.packet_us + 1000.0:
            return np.zeros(len(h.offset)), False
        beyond = np.maximum(0.0, np.maximum(-latency.min(1), latency.max(1)) - evidence.packet_us)
        return -np.minimum(beyond / ORDER_SCALE_US, CAP), True
    least = latency.min(1)
    period = float(np.median(np.diff(h.start[0]))) if len(frames) > 1 else 1e5
    low, high = evidence.latency_us
    slack = min(CLOCK_SLACK_US, 0.25 * period)
    cost = np.where(least < -slack, -CAUSALITY, 0.0)
    cost -= np.minimum(np.maximum(0.0, low - slack - least) / LATENCY_SCALE_US, CAP)
    # The least of n latencies that scatter over a width w exceeds the true least by w / n or so; at 1 : 1000 by
    # seven times that. So a few late arrivals cannot point to a later edge.
    n = len(known)
    if n < 4 and not evidence.final:
        return cost, False
    width = np.ptp(latency, axis=1) * (n + 1) / max(1, n - 1)
    surely = least - 7.0 * width / n
    cost = cost - np.minimum(np.maximum(0.0, surely - high) / LATENCY_SCALE_US, CAP)
    return cost, True
