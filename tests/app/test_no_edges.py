"""A wire that gives nothing, on its way from the synchroniser to the figures of a session."""

from __future__ import annotations

from app.figures import Figures
from capture.packets import EventPacket
from inference.outcomes import Result
from inference.restore_stage import RestoreStage
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
