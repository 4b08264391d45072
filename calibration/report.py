"""The report of a calibration: one HTML file that opens anywhere and loads nothing, and the same as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from calibration import report_figures as figures
from calibration.check import UNCHECKED
from calibration.overlay import Overlay, overlay
from calibration.run import Calibration
from calibration.time.result import Verdict
from sync.rig import Rig

_WORDS = {
    Verdict.PASS: ("Pass", "This calibration can be used."),
    Verdict.WARN: ("Usable, with warnings", "It can be used; see below what is not as it should be."),
    Verdict.FAIL: ("Fail", "Do not use this calibration."),
}
_STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.5 system-ui, sans-serif; color: #22262b; background: #fff; margin: 0 auto;
  padding: 28px 24px; max-width: 980px; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 16px; margin: 34px 0 8px; }
p { margin: 6px 0; max-width: 72ch; } .quiet { color: #676d75; }
.verdict { border-left: 6px solid; padding: 8px 14px; margin: 16px 0; background: #f6f7f8; }
.pass { border-color: #3f8a55; } .warn { border-color: #d98200; } .fail { border-color: #c93a3f; }
.verdict strong { font-size: 17px; }
table { border-collapse: collapse; margin: 8px 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 3px 16px 3px 0; border-bottom: 1px solid #e6e8ea; vertical-align: top; }
th { font-weight: 600; } td.n { text-align: right; }
figure { margin: 10px 22px 10px 0; display: inline-block; vertical-align: top; }
figcaption { color: #676d75; font-size: 12px; max-width: 460px; }
img { max-width: 100%; height: auto; display: block; } svg { max-width: 100%; height: auto; }
code { background: #f1f2f4; padding: 1px 5px; border-radius: 3px; overflow-wrap: anywhere; }
pre { background: #f1f2f4; padding: 10px 14px; overflow-x: auto; } pre code { padding: 0; }
ul { margin: 6px 0; padding-left: 20px; }
.pair { display: flex; flex-wrap: wrap; gap: 14px; } .pair figure { flex: 1 1 320px; margin: 0; }
@media print { body { max-width: none; } }
"""


def report_json(c: Calibration) -> str:
    """report.json."""
    return json.dumps(c.to_json(), indent=1, allow_nan=False) + "\n"


def report_html(c: Calibration) -> str:
    """report.html, self-contained."""
    word, meaning = _WORDS[c.verdict]
    parts = [
        f"<h1>Calibration of {escape(c.rig.name)}</h1>",
        f'<p class="quiet">{escape(_when(c.started))} · report <code>{c.report}</code> · '
        f"{escape(c.program)}</p>",
        f'<div class="verdict {c.verdict}"><strong>{word}</strong><br>{meaning}{_problems(c)}</div>',
        "<h2>In short</h2>", _short(c),
        "<h2>What was measured</h2>", _what(c),
        "<h2>Geometry</h2>", _geometry(c),
        "<h2>Time</h2>", _time(c),
        "<h2>Check on the scene</h2>", _check(c),
        "<h2>The rig file</h2>", _rig(c.rig),
    ]  # fmt: skip
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Calibration of {escape(c.rig.name)}</title><style>{_STYLE}</style></head>\n<body>\n{body}\n"
        "</body></html>\n"
    )


def pictures(c: Calibration) -> Overlay | None:
    """Events on the image, before and after; None when nothing moved."""
    best = None if c.check is None else c.check.best
    return None if best is None else overlay(best, c.before, c.rig)


def _when(iso: str) -> str:
    return iso.replace("T", " ").replace("+00:00", " UTC")


def _problems(c: Calibration) -> str:
    shown = [(s, t, v) for s, t, v in c.problems() if v is not Verdict.PASS]
    if not shown:
        return ""
    return "<ul>" + "".join(f"<li><b>{escape(s)}:</b> {escape(t)}</li>" for s, t, _ in shown) + "</ul>"


def table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...] = ()) -> str:
    """Rows of plain text as a table; figures to the right where there is a head."""
    top = "<tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>" if head else ""
    lines = "".join(
        "<tr>" + "".join(
            f"<td{' class=n' if head and i and _figure(v) else ''}>{escape(v)}</td>" for i, v in enumerate(r)
        ) + "</tr>"
        for r in rows
    )  # fmt: skip
    return f"<table>{top}{lines}</table>"


def _figure(v: str) -> bool:
    return v[:1].isdigit() or v[:1] in "+-–"


def _px(v: float | None) -> str:
    return "–" if v is None or not np.isfinite(v) else f"{v:.3f} px"


def _us(v: float) -> str:
    return "–" if not np.isfinite(v) else f"{v:.1f} µs" if v < 1000 else f"{v / 1000:.2f} ms"


def _short(c: Calibration) -> str:
    rows: list[tuple[str, ...]] = []
    if c.geometry is not None:
        rows.append(("Geometry, on views that were held out", f"{_px(c.geometry.rms_px)} RMS, "
                     f"{_px(c.geometry.p95_px)} at the 95th percentile (event pixels)"))  # fmt: skip
    else:
        rows.append(("Geometry", c.geometry_by))
    rows.append(("Time", c.time.summary()))
    if c.time.rolling_us is not None:
        rows.append(("Shutter", c.time.shutter()))
    if c.check is not None and c.check.shift is not None:
        s = c.check.shift
        rows.append(("Edges of the scene", f"{s.rms_px:.2f} event pixels apart (RMS over the field, {s.frames} "
                     "frames; the method itself is good for some 0.3)"))  # fmt: skip
    return table(rows)


def _what(c: Calibration) -> str:
    rig = c.rig
    rows: list[tuple[str, ...]] = [
        (
            word, entry.camera, entry.serial or "not known", f"{entry.width}×{entry.height}",
        )
        for word, entry in (("event camera", rig.events), ("frame camera", rig.image))
    ]  # fmt: skip
    out = table(rows, ("", "name", "serial", "pixels"))
    out += "<p>From: " + ", ".join(f"<code>{escape(t)}</code>" for t in c.takes) + "</p>"
    if c.command:
        out += f"<p>Command: <code>{escape(c.command)}</code></p>"
    took = ", ".join(f"{k} {v:.1f} s" for k, v in c.seconds.items())
    return out + f'<p class="quiet">Time taken: {escape(took)}</p>'


def _geometry(c: Calibration) -> str:
    g = c.geometry
    m = c.rig.image_from_event
    matrix = (
        "<p><code>image_from_event</code>, event pixel → image pixel, pixel centres at integers:</p>"
        + table([tuple(f"{v:+.6g}" for v in row) for row in m])
    )
    if g is None:
        return f"<p>Not measured: {escape(c.geometry_by)}.</p>" + matrix + _missed(c)
    ratio = c.rig.events.height / c.rig.events.width
    rows: list[tuple[str, ...]] = [
        ("from", c.geometry_by),
        ("held-out error, RMS", _px(g.rms_px)), ("held-out error, 95th percentile", _px(g.p95_px)),
        ("error on the views it was made from", _px(g.training_rms_px)),
        (
            "expected error of the map, field / worst corner",
            f"{_px(g.field_error_px)} / {_px(g.corner_error_px)}",
        ),
        ("mirror", "one camera sees the mirror image" if g.flip else "no"),
        ("scale", f"{g.scale:.4f} image pixels per event pixel"),
    ]  # fmt: skip
    v = c.rig.geometry.validity
    if v.note or v.plane_mm:
        rows.append(("holds", v.note or f"at {v.plane_mm:.0f} mm"))
    out = table(rows) + matrix + "<div>"
    out += (
        f"<figure>{figures.residual_map(g.residual_map, ratio)}<figcaption>Held-out residual by place on "
        "the event sensor, event pixels (RMS). Arrows: what is systematic, 60 times enlarged.</figcaption>"
        "</figure>"
        f"<figure>{figures.coverage(g.coverage, ratio)}<figcaption>Points of the target by place; red where "
        "more are needed, grey where the frame camera sees nothing.</figcaption></figure></div>"
    )
    views: list[tuple[str, ...]] = [
        (w.name, w.source.value, str(w.points), _px(w.held_out_px), _px(w.rms_px), "" if w.used else w.why)
        for w in g.per_view
    ]
    out += table(views, ("view", "from", "points", "held out", "with all", "left out because"))
    return out + _missed(c)


def _missed(c: Calibration) -> str:
    if not c.missed:
        return ""
    lost = "".join(f"<li>{m.into_s:.1f} s, {escape(m.camera)}: {escape(m.why)}</li>" for m in c.missed[:12])
    return f"<p>{len(c.missed)} did not become views:</p><ul>{lost}</ul>"


def _time(c: Calibration) -> str:
    t = c.time
    if t.relation == "same":
        return f"<p>{escape(t.summary())}</p>"
    rows: list[tuple[str, ...]] = [
        ("from", "trigger edges" if t.relation == "trigger" else "arrival, then content")
    ]
    if t.clock is not None:
        rows += [
            ("start of exposure", f"±{_us(t.uncertainty_us)} (about 95 %)"),
            (
                f"each {t.what} around the clock",
                f"{_us(t.residual_us)} standard deviation, {_us(t.p95_us)} at the 95th percentile",
            ),
            ("the last third of them, foretold by the rest", f"{_us(t.held_out_us)} at the 95th percentile"),
            (
                "drift, event clock against frame clock",
                f"{t.drift_ppm:+.2f} ± {t.drift_uncertainty_ppm:.2f} ppm",
            ),
        ]  # fmt: skip
    if t.relation == "trigger":
        rows += [
            ("frames with both edges", f"{t.frames_matched} of {t.frames}"),
            ("edges that found a frame", f"{t.edges_matched} of {t.edges}"),
            ("shutter open while the signal is", "high" if t.active_high else "low"),
            ("pulses longer than exposures by", f"{t.exposure_bias_us:+.1f} µs"),
            ("strobe delay in the rig file", f"{c.rig.clock.delay_us:+.1f} µs"),
        ]  # fmt: skip
    if t.shift_us is not None:
        rows.append(
            (
                f"exposures by {t.shift_by}",
                f"{t.shift_us:+.0f} ± {t.shift_uncertainty_us:.0f} µs from where {t.shift_from} put them",
            )
        )
    if t.content_residual is not None:
        rows.append(("change of light that the events explain", f"{100 * (1 - t.content_residual):.0f} %"))
    if t.latency_ms is not None:
        rows.append(
            ("least time from exposure to arrival", f"{t.latency_ms:.2f} ± {t.latency_spread_ms or 0:.2f} ms")
        )
    out = table(rows)
    plot = figures.clock_plot(t)
    if plot:
        out += (
            f"<figure>{plot}<figcaption>How far each {escape(t.what)} lies from the clock, over the recording."
            "</figcaption></figure>"
        )
    if t.unmatched:
        some = [
            ("–" if u.at_us is None else f"{u.at_us / 1e6:.4f} s", u.what, u.why) for u in t.unmatched[:20]
        ]  # fmt: skip
        out += f"<p>Left over, the first {len(some)} of {len(t.unmatched)}:</p>" + table(
            some, ("at", "what", "why")
        )
    return out


def _check(c: Calibration) -> str:
    if c.check is None:
        one = c.time.relation == "same" and c.rig.identity
        grid = (
            "Events and pictures lie on one pixel grid."
            if c.time.by_driver
            else "One sensor gives both streams."
        )
        return f"<p>{grid if one else 'Not possible without a clock.'}</p>"
    if c.check.shift is None:
        named = [t for t in c.check.troubles if t.name in UNCHECKED]
        why = named[0].text if named else "edges of events and frames were not compared"
        return f"<p>{escape(why[0].upper() + why[1:])}.</p>"
    s = c.check.shift
    ratio = c.rig.events.height / c.rig.events.width
    made_from = "the scene that the geometry was made from" if c.by_scene else (
        "a scene that the geometry was not made from"
    )  # fmt: skip
    out = (
        f"<p>Edges that the events drew against edges of the frames, in {made_from}: {s.rms_px:.2f} event "
        f"pixels RMS over the field, {s.worst_px:.2f} in the worst cell.</p>"
        f"<figure>{figures.field_map(s, ratio)}<figcaption>Shift of the frames' edges against the "
        "events' by place, event pixels. Arrows 25 times enlarged; – where nothing moved.</figcaption></figure>"
    )
    shown = pictures(c)
    if shown is not None:
        out += '<div class="pair">' + "".join(
            f'<figure><img alt="{alt}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
            f"<figcaption>{caption}</figcaption></figure>"
            for data, alt, caption in (
                (shown.before, "events over the picture before", f"Before: events around the middle of frame "
                 f"{shown.sequence} on its sharp picture, by the rig as it was."),
                (shown.after, "events over the picture after", "After: the same events by the calibrated rig. "
                 "Amber: brighter, blue: darker."),
            )
        ) + "</div>"  # fmt: skip
    return out


def _rig(rig: Rig) -> str:
    import tomli_w

    values: dict[str, Any] = rig.model_dump(mode="json", exclude_none=True)
    return f"<pre><code>{escape(tomli_w.dumps(values))}</code></pre>"
