"""Events by pixel: counts as counted one by one, and what a GPU is asked to do stays little and never waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from capture.packets import Events
from inference.representations import edi_stack_torch, eger_torch, spikes_derived_torch
from inference.representations.double_integral import Contrast
from inference.representations.double_integral_torch import DoubleIntegral
from inference.representations.edi_stack import KNOWN
from inference.representations.eger import Spans
from inference.representations.pixel_runs_torch import counts_between, counts_until, place
from inference.restorers import edi_pictures_torch
from sync.rig import EventEntry, ImageEntry, Rig
from tests.inference.representations.scenes import START, random_events

CPU = torch.device("cpu")
END = START + 40_000
CONTRAST = Contrast(0.2, 0.25)


def scene(seed: int, count: int = 600) -> Events:
    return random_events(seed, count, (START, END), 12, 9)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 600), min_size=1, max_size=40), st.integers(0, 50))
def test_counts_are_those_that_are_counted(marks: list[int], seed: int) -> None:
    events, bounds = scene(seed), np.sort(np.array(marks))
    placed = place(events, CPU)
    until = torch.cat(list(counts_until(placed, torch.tensor([0, *bounds]))))
    between = counts_between(placed, torch.from_numpy(bounds))
    assert (len(until), len(between)) == (len(bounds), len(bounds) - 1)
    pixel = events.y.astype(int) * 12 + events.x
    for k, n in enumerate(bounds):
        for p in (0, 1):
            expected = np.bincount(pixel[:n][events.p[:n] == p], minlength=108)
            assert (until[k, p].numpy() == expected).all()
    assert torch.equal(between, until.diff(dim=0))


def test_events_beside_the_sensor_have_no_pixel() -> None:
    e = scene(3, 50)
    beside = Events(e.t, np.where(e.t % 5 == 0, 12, e.x).astype(np.uint16), e.y, e.p, 12, 9)
    placed = place(beside, CPU)
    assert placed.seen.sum() == int((beside.x < 12).sum()) < len(beside)
    assert counts_between(placed, torch.tensor([0, 50])).sum() == (beside.x < 12).sum()


class Watched(TorchDispatchMode):
    """Counts what a device would be asked to do, and what would wait for its answer."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked = 0
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        self.asked += not func.is_view
        if name in ("nonzero", "_local_scalar_dense", "bincount", "masked_select", "unique2", "equal"):
            self.waits[name] += 1
        if name in ("index", "index_put_", "index_put"):
            self.waits[f"{name} by truth values"] += any(
                i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
            )
        if name == "repeat_interleave" and "output_size" not in (kwargs or {}):
            self.waits["repeat_interleave"] += 1
        return func(*args, **(kwargs or {}))


def watched(work: Callable[[], object]) -> Watched:
    work()  # tables that are made once are not counted
    with Watched() as seen, torch.inference_mode():
        work()
    return seen


def stacks(instants: int, halfway: bool = False) -> torch.Tensor:
    times = np.linspace(START, END - 1, instants).astype(int).tolist()
    return edi_stack_torch.stacks(scene(1), START, END, times, CONTRAST, halfway=halfway)


def edi(instants: int, halfway: bool = False) -> torch.Tensor:
    times = np.linspace(START, END - 1, instants).astype(int).tolist()
    return DoubleIntegral(CPU).tensor(scene(1), START, END, times, CONTRAST, halfway)


def spikes(frames: int) -> object:
    level = torch.full((9, 12), 0.4)
    return spikes_derived_torch.derived_spikes(
        level, scene(1), START, END, CONTRAST, frames=range(48 - frames, 48 + frames), tone="srgb"
    )


def pictures() -> torch.Tensor:
    rig = Rig(
        events=EventEntry(camera="simulated", width=12, height=9),
        image=ImageEntry(camera="simulated", width=12, height=9, tone="srgb"),
    )
    stack, image = stacks(1), torch.full((9, 12, 3), 90, dtype=torch.uint8)
    counts = edi_stack_torch.event_counts(stack[0])
    return edi_pictures_torch.pictures(image, stack[:, KNOWN], counts, CONTRAST, rig)


def egers() -> torch.Tensor:
    return eger_torch.egers(scene(1), [Spans((START, END), (START + 9000, START + 9000), 16)])


@pytest.mark.parametrize(
    ("work", "most"),
    [
        (lambda: stacks(1), 100),
        (lambda: stacks(1, halfway=True), 130),
        (lambda: edi(1), 90),
        (lambda: edi(1, halfway=True), 120),
        (lambda: spikes(10), 180),
        (pictures, 190),
        (egers, 70),
    ],
)
def test_a_gpu_is_asked_for_little_and_nothing_waits_for_it(work: Callable[[], object], most: int) -> None:
    """Each operation takes the host some 10 µs to ask for, as long as it takes a GPU to do it."""
    seen = watched(work)
    assert not +seen.waits
    assert 20 < seen.asked <= most


def test_more_instants_are_no_more_work_to_ask_for() -> None:
    assert watched(lambda: edi(24)).asked == watched(lambda: edi(2)).asked
    assert watched(lambda: spikes(8)).asked == watched(lambda: spikes(3)).asked
