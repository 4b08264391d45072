"""What cameras' settings have in common: `true` is no number, and is one thing only where it has a meaning."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

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
