"""What the cameras' drivers count, as a recording keeps it."""

from __future__ import annotations

import json
from pathlib import Path

from recordings.checking.findings import Verification
from recordings.checking.verify_own import verify_own
from recordings.formats.own_health import read_health
from recordings.recorder.camera_counts import CameraCounts
from recordings.recorder.take import Limits, Take
from tests.capture.simulated_small import small_davis
from tests.recordings.own_sample import about_of, items_of, rig_of_config, write_own


def test_only_what_came_since_the_beginning_counts() -> None:
    c = CameraCounts({"events": {"overflows": 5}}, from_zero=False)
    assert c.report() == {}
    c.told({"events": {"overflows": 5}, "frames": {"missing": 100}})
    c.told({"events": {"overflows": 7}, "frames": {"missing": 101, "timeout": 1}})
    assert c.report() == {"events": {"overflows": 2}, "frames": {"missing": 1, "timeout": 1}}
    c.told({"events": {"overflows": 3}})  # its process began anew
    assert c.report()["events"] == {"overflows": 5}


def test_a_recorder_that_was_there_before_the_cameras_counts_all() -> None:
    c = CameraCounts({}, from_zero=True)
    c.told({"events": {"limited_tenths_of_s": 4}})
    assert c.report() == {"events": {"limited_tenths_of_s": 4}}


def test_they_stand_in_health_and_a_limited_rate_is_a_loss(tmp_path: Path) -> None:
    config = small_davis(paced=False)
    rig = rig_of_config(config)
    take = Take(tmp_path / "a", about_of(rig), Limits(reserve=0))
    take.counts.told({"events": {"limited_tenths_of_s": 12}})
    assert take.finish()["cameras"] == {"events": {"limited_tenths_of_s": 12}}
    write_own(tmp_path / "b", rig, items_of(config, 0.3))
    told = json.loads((tmp_path / "b" / "health.json").read_text())
    assert told["cameras"] == {}
    (tmp_path / "b" / "health.json").write_text(
        json.dumps({**told, "cameras": {"events": {"limited_tenths_of_s": 12}}})
    )
    v = Verification("b")
    for _ in verify_own(tmp_path / "b", v):
        pass
    assert any("limited its rate for 1.2 s" in str(f) for f in v.findings)


def test_counts_of_another_kind_are_no_health(tmp_path: Path) -> None:
    for cameras in ("x", {"events": 3}, {"events": {"overflows": "many"}}):
        (tmp_path / "health.json").write_text(
            json.dumps({"state": "finished", "losses": {}, "cameras": cameras})
        )
        assert read_health(tmp_path) is None
    (tmp_path / "health.json").write_text(json.dumps({"state": "finished", "losses": {}}))
    found = read_health(tmp_path)
    assert found is not None
    assert found["cameras"] == {}
