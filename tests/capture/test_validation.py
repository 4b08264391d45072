"""What cameras' settings have in common: `true` is no number, and is one thing only where it has a meaning."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from capture import registry
from capture.errors import UsageError
from capture.genicam.config import GenicamConfig
from capture.inivation.config import DavisConfig
from capture.prophesee.config import PropheseeConfig, Region
from capture.validation import first_error


@pytest.mark.parametrize(
    ("model", "given", "key"),
    [
        (DavisConfig, {"exposure_us": True}, "exposure_us"),
        (DavisConfig, {"biases": {"DiffBn": [True, 4]}}, "biases.DiffBn"),
        (PropheseeConfig, {"driver": "evk4", "biases": {"bias_fo": True}}, "biases.bias_fo"),
        (PropheseeConfig, {"driver": "evk4", "trigger_channel": True}, "trigger_channel"),
        (Region, {"x": True, "y": 0, "width": 9, "height": 9}, "x"),
    ],
)
def test_true_is_no_number(model: type[BaseModel], given: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as e:
        model.model_validate(given)
    assert first_error(e.value, model).startswith(f"key '{key.partition('.')[0]}")


def test_true_stays_true() -> None:
    assert DavisConfig(auto_exposure=True, imu=False).auto_exposure is True
    assert GenicamConfig.model_config["extra"] == "forbid"


@pytest.mark.parametrize(
    ("camera", "settings", "told"),
    [
        ("webcam:0", {"rate": 30}, "webcam:0: unknown setting 'rate'; did you mean 'rate_hz'?"),
        ("webcam:0", {"rate_hz": True}, "webcam:0: rate_hz: true and false have no meaning here"),
        ("flir-spinnaker:123", {"exposure": 5000}, "unknown setting 'exposure'; did you mean 'exposure_us'?"),
        ("flir-spinnaker", {"gain_db": True}, "gain_db: true and false have no meaning here"),
        ("genicam:127.0.0.1", {"targets": 1}, "unknown setting 'targets'; known: serial, exposure_us"),
        ("evk4", {"roi": {"x": 0, "y": 0, "width": 9, "hight": 9}}, "'roi.hight'; did you mean 'height'?"),
        ("aedat4-tcp:127.0.0.1:7777", {"triggers": "x"}, "triggers: 'x' is no HOST:PORT"),
        # What the name tells and a setting says again: one of both would be passed over without a word.
        ("webcam:0", {"index": 1}, "webcam:0: 'index' is told by the camera's name"),
        ("flir-spinnaker:123", {"serial": "456"}, "'serial' is told by the camera's name"),
        ("davis346", {"serial": "00000123"}, "davis346: 'serial' is told by the camera's name"),
        ("evk4", {"serial": "00000123"}, "evk4: 'serial' is told by the camera's name"),
        ("genicam:127.0.0.1", {"target": "127.0.0.2"}, "'target' is told by the camera's name"),
        ("aedat4-tcp:127.0.0.1:7777", {"events": "7778"}, "'events' is told by the camera's name"),
    ],
)
def test_settings_are_refused_in_one_line(camera: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as e:
        registry.open_driver(camera, settings)
    assert told in str(e.value)
    assert "\n" not in str(e.value)
