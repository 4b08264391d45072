"""A wire that gives nothing, on its way from the synchroniser to the figures of a session."""

from __future__ import annotations

from app.figures import Figures
from app.offline import deblur
from app.offline_input import OfflineInput
from capture.packets import EventPacket
from inference.outcomes import Result
from inference.restore_stage import RestoreStage
from sync.exposure_sources import ExposureSources
from tests.app.offline_source import Plain, Recorder
from tests.inference.stage.toys import until
from tests.sync.exposures_sim import Setup, simulate, small_rig


def test_pictures_and_figures_say_that_no_edge_has_come() -> None:
    results: list[Result] = []
    stage = RestoreStage(small_rig(), "none", results.append, every_item=True, live=False)
    stage.start()
    try:
        for item in simulate(Setup(frames=30, edge_loss=1.0, vary_exposure=0.2)).items:
            stage.feed_events(item) if isinstance(item, EventPacket) else stage.feed_frame(item)
            stage.tick(None)
        stage.end()
        until(stage.drained, "all pictures")
        until(lambda: len(results) >= 29, "all pictures")
    finally:
        stage.stop()
    flags = [r.restored.flags for r in results if r.restored is not None]
    assert all(f[0].startswith("no trigger edges: exposure estimated ±") for f in flags)
    figures = Figures()
    figures.take_report(stage.status())
    status = figures.status(())
    assert (status.unmatched, status.unmatched_why) == (len(results), "no edges yet")


def test_an_offline_run_counts_exposures_by_their_source() -> None:
    sim = simulate(Setup(frames=30, edge_loss=1.0, vary_exposure=0.2))
    result = deblur(OfflineInput("loose", small_rig(), iter(sim.items), 1), Plain(), (0.5,), Recorder())
    assert list(result.sources.report()) == ["estimated"]
    told = result.sources.report()["estimated"]
    assert told["exposures"] == result.restored
    assert 20_000 < told["worst_uncertainty_us"] < 30_000
    (note,) = result.sources.notes()
    assert note.startswith(f"{result.restored} of {result.restored} exposures are only estimated from arrival")
    assert result.flags["no trigger edges: exposure estimated ±… ms"] == result.restored


def test_exposures_of_other_sources_need_no_note() -> None:
    s = ExposureSources()
    s.add("trigger", 4.0)
    s.add("trigger", 6.04)
    s.add("unknown", None)
    assert s.notes() == []
    assert s.report() == {
        "trigger": {"exposures": 2, "worst_uncertainty_us": 6.0},
        "unknown": {"exposures": 1, "worst_uncertainty_us": None},
    }
