"""A recording in which a clock began anew: one axis for seeking, and the pictures of the live run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.export import ExportRequest, ExportResult, exposures
from app.sources import rig_of
from capture.packets import EventPacket, Frame
from capture.registry import open_driver
from capture.simulated.presets import SimulatedConfig
from recordings import timeline
from recordings.checking.findings import Grade
from recordings.checking.repair_own import repair_own
from recordings.checking.verify import verify
from recordings.open import open_recording
from recordings.survey import survey
from sync.exposure import AlignedExposure
from sync.rig import Rig
from sync.synchroniser import Synchroniser
from tests.capture.simulated_small import small, small_davis
from tests.recordings.own_sample import Item, items_of, rig_of_config, same, write_own

CONFIGS = {"two cameras": small(paced=False), "one sensor": small_davis(paced=False)}


@pytest.fixture(scope="module", params=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> SimulatedConfig:
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def halves(config: SimulatedConfig) -> tuple[list[Item], list[Item]]:
    """The second one's clocks begin at 0 again."""
    return items_of(config, 1.5), [replace(i, epoch=1) for i in items_of(config, 1.1)]


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, config: SimulatedConfig, halves: tuple[list[Item], list[Item]]
) -> Path:
    path = tmp_path_factory.mktemp("epochs") / "r"
    write_own(path, rig_of_config(config), [*halves[0], *halves[1]])
    return path


def ends(items: Iterable[Item]) -> list[int]:
    return [i.complete_until_us for i in items if isinstance(i, EventPacket)]


def test_both_stretches_lie_on_one_axis(folder: Path, halves: tuple[list[Item], list[Item]]) -> None:
    first, second = halves
    with open_recording(folder) as r:
        items = list(r.items())
        info = r.info
        times = r.frame_times_us()
    assert len(items) == len(first) + len(second)
    assert all(same(a, b) for a, b in zip(items, first, strict=False))
    assert ends(items) == sorted(ends(items))
    assert [i.epoch for i in items] == [i.epoch for i in (*first, *second)]
    shift = ends(items)[-1] - ends(second)[-1]
    assert ends(items[len(first) :]) == [t + shift for t in ends(second)]
    assert info.end_us - info.start_us == pytest.approx(2_600_000, abs=60_000)
    assert any("began anew once" in p for p in info.problems)
    assert times == sorted(times)
    assert times[-1][0] > 2_000_000


def test_a_seek_leads_into_the_second_stretch(folder: Path) -> None:
    with open_recording(folder) as r:
        got = list(r.items(2_000_000))
        whole = list(r.items())
    assert got
    assert {i.epoch for i in got} == {1}
    assert same(got[-1], whole[-1])
    assert min(ends(got)) > 2_000_000


def test_info_verify_timeline_and_repair_take_it(
    folder: Path, tmp_path: Path, halves: tuple[list[Item], list[Item]]
) -> None:
    events = sum(len(i.events) for half in halves for i in half if isinstance(i, EventPacket))
    with open_recording(folder) as r:
        s = survey(r)
    assert s.report.events == events
    assert (s.last_event_us or 0) - (s.first_event_us or 0) == pytest.approx(2_600_000, abs=60_000)
    rate = timeline.build(folder, bins=26).event_rate_hz
    assert np.count_nonzero(rate) >= 24
    v = verify(folder)
    assert v.grade == Grade.NOTE, v.findings
    assert v.counts["epochs"] == 2
    assert any("2 stretches of time" in f.text for f in v.findings)
    (tmp_path / "out").mkdir()
    report = repair_own(folder, tmp_path / "out")
    assert (report.verdict, report.events) == ("complete", events)


def aligned(rig: Rig, items: Iterable[Item]) -> list[AlignedExposure]:
    s, out = Synchroniser(rig), []
    for i in items:
        s.push_events(i) if isinstance(i, EventPacket) else s.push_frame(i)
        out += s.take()
    out += s.finish()
    return [o for o in out if isinstance(o, AlignedExposure)]


def replayed(folder: Path) -> list[Item]:
    """All items as a worker reads them from the replayed pair, in the order of the file."""
    from capture.camera import EndOfStream

    driver, config = open_driver(f"replay:{folder}", {"speed": 0})
    pair = driver.pair(config)
    assert pair is not None
    out: dict[bool, list[Item]] = {True: [], False: []}
    for c in pair:
        c.open()
    for c in pair:
        c.start(0)
    live = list(pair)
    while live:
        for c in list(live):
            try:
                item = c.read(0.005)
            except EndOfStream:
                live.remove(c)
                continue
            if item is not None:
                out[isinstance(item, Frame)].append(item)
    for c in pair:
        c.close()
    with open_recording(folder) as r:
        # Read here as they came, not when they were due: arrivals say nothing.
        return [replace(out[isinstance(i, Frame)].pop(0), host_ns=0) for i in r.items()]


@pytest.mark.parametrize("how", ["read", "replayed"])
def test_the_exposures_are_those_of_the_live_run(
    folder: Path, config: SimulatedConfig, halves: tuple[list[Item], list[Item]], how: str
) -> None:
    live = aligned(rig_of_config(config), [*halves[0], *halves[1]])
    with open_recording(folder) as r:
        items: list[Item] = list(r.items()) if how == "read" else replayed(folder)
        got = aligned(rig_of(r, "x"), items)
    assert len(got) == len(live) > 50
    assert {e.frame.epoch for e in got} == {0, 1}
    for a, b in zip(got, live, strict=True):
        shift = a.exposure.start_us - b.exposure.start_us
        assert (shift == 0) == (b.frame.epoch == 0)
        assert a.exposure.duration_us == b.exposure.duration_us
        assert np.array_equal(a.events.t - shift, b.events.t)
        assert np.array_equal(a.frame.image, b.frame.image)


def test_an_export_accounts_for_frames_between_two_clocks(
    config: SimulatedConfig, halves: tuple[list[Item], list[Item]]
) -> None:
    """Cut off behind frames whose events have not come, which belong to a clock that is gone."""
    first, second = halves
    packets = [k for k, i in enumerate(first) if isinstance(i, EventPacket)]
    cut = [i for k, i in enumerate(first) if k < packets[-20] or isinstance(i, Frame)]
    result = ExportResult()
    rig, request = rig_of_config(config), ExportRequest(Path("unused"), "unused", zero_us=0)
    found = exposures(iter([*cut, *second]), rig, request, result)
    written = sum(isinstance(e, AlignedExposure) for e in found)
    assert result.refused["a clock began anew"] >= 1
    assert result.frames_in == written + result.skipped + sum(result.refused.values())
