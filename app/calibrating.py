"""Where a calibration's data come from: the simulated rig, recordings, or a live rig that is recorded first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from app.recorder import RecordRequest
from app.recording import record
from app.sources import SourceRequest, rig_of, serials_of, unplaced
from calibration.geometry.targets import Board
from calibration.nominal import nominal
from calibration.take import Take
from capture.errors import UsageError
from capture.packets import EventPacket, Frame, FrameClock, PixelLayout, TriggerEdges
from capture.passing_folder import PassingFolder
from capture.registry import open_driver
from recordings.open import open_with, require_frames
from recordings.recorder.take import Limits
from recordings.recording import OpenOptions
from sync.rig import Rig

Item = EventPacket | Frame


class Share(Protocol):
    """Progress: what is done, and the share of it; `do`: what the person is to do meanwhile."""

    def __call__(self, what: str, share: float, *, do: str = "") -> None:
        """Tell it."""


def untold(what: str, share: float, *, do: str = "") -> None:
    """Progress that nobody wants to know."""


SCENE_S = 8.0  # of a simulated one
LIVE_S = 40.0  # a dozen views of the board, each held for two swaps, and a movement of the rig
BOARD_SHARE = 0.75  # of a live recording
SHOW_BOARD = "Show the blinking board from all sides; hold still for two swaps each time."
MOVE_RIG = "Now move the rig by hand before something with texture, so that events and frames change."
VIEWS = 12
_PACKET_US = 5_000


@dataclass(frozen=True, slots=True)
class Material:
    """What a calibration begins with.

    Attributes:
        rig: sizes, tone and whatever else is known; its geometry is the starting point.
        takes: both streams of one or more stretches of time.
        truth: the rig as it really is, in simulation.
    """

    rig: Rig
    takes: list[Take]
    truth: Rig | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """How data are taken.

    Attributes:
        board: of the target.
        seconds: of the scene (simulated), or of the one recording that is made (live); None: enough.
        views: of the board, in simulation.
    """

    board: Board = field(default_factory=Board)
    seconds: float | None = None
    views: int = VIEWS


def is_simulated(source: str) -> bool:
    """A camera's name of the simulated rig."""
    return source == "simulated" or source.startswith("simulated:")


@contextmanager
def material_of(
    source: str | Path, recordings: Sequence[Path], wanted: Wanted, share: Share = untold,
    said: OpenOptions | None = None, warn: Callable[[str], None] = lambda line: None,
    place: Path | None = None,
) -> Iterator[Material]:  # fmt: skip
    """The data for a calibration.

    Args:
        source: the rig: `simulated`, `simulated:PRESET`, a rig file, the name of a camera that gives both.
        recordings: calibrate from these instead of from live cameras.
        wanted: see there.
        share: progress.
        said: what the recordings' files do not say.
        warn: takes a line that a person should read while live cameras are recorded.
        place: folder into which they are recorded, gigabytes of fast cameras; nothing stays in it. None: the
            system's folder for temporary files, which in many places is memory.

    Raises:
        UsageError: recordings of different rigs or cameras, or of one camera only; a misspelt name.
        HalfmirrorError: a recording that cannot be read; cameras that do not come.
    """
    if recordings:
        yield of_recordings(recordings, source if Path(source).suffix.lower() == ".toml" else None, said)
    elif isinstance(source, str) and is_simulated(source):
        yield simulated(source, wanted, share)
    else:
        with PassingFolder("halfmirror-calibration-", place) as folder:
            yield _recorded(source, folder / "take", wanted, share, warn)


# -- recordings


def of_recordings(
    paths: Sequence[Path], rig_file: str | Path | None = None, said: OpenOptions | None = None
) -> Material:
    """Recordings of one rig: of the same sizes, and of the same cameras as far as files tell.

    Args:
        paths: at least one.
        rig_file: what is known of the rig; without it the first recording tells.
        said: what a file does not say.

    Raises:
        UsageError: they are of different rigs or cameras, or of one camera only.
        HalfmirrorError: one cannot be read.
    """
    said = said or OpenOptions()
    takes: list[Take] = []
    known: dict[str, tuple[str, Path]] = {}
    rig: Rig | None = None if rig_file is None else Rig.load(Path(rig_file))
    for path in paths:
        with open_with(path, said) as r:
            require_frames(r)
            info = r.info
            if info.event_size is None:
                raise UsageError(f"{path} has no events; a calibration needs both cameras")
            its = rig_of(r, str(path)) or _unknown(str(path), info.event_size, info.image_size)
            serials = serials_of(r)
        if rig is None:
            rig = its
        if _sizes(its) != _sizes(rig):
            raise UsageError(
                f"{path}: {_sizes(its)[0]} events and {_sizes(its)[1]} frames, but {_sizes(rig)[0]} and "
                f"{_sizes(rig)[1]} before: give recordings of one rig"
            )
        for role, serial in serials.items():
            before, where = known.setdefault(role, (serial, path))
            if serial != before:
                word = "event" if role == "events" else "frame"
                raise UsageError(
                    f"{path} is of the {word} camera {serial}, {where} of {before}: give recordings of one rig"
                )
        takes.append(Take(path.name, _reader(path, said), serials, info.by_driver))
    assert rig is not None
    return Material(rig, takes)


def _sizes(rig: Rig) -> tuple[str, str]:
    return f"{rig.events.width}×{rig.events.height}", f"{rig.image.width}×{rig.image.height}"


def _unknown(name: str, events: tuple[int, int], image: tuple[int, int] | None) -> Rig:
    assert image is not None
    return nominal(unplaced(name, events, image).model_copy(update={"note": ""}))


def _reader(path: Path, said: OpenOptions) -> Callable[[], Iterable[Item]]:
    def items() -> Iterator[Item]:
        with open_with(path, said) as r:
            yield from r.items()

    return items


# -- live


def _recorded(
    source: str | Path, folder: Path, wanted: Wanted, share: Share, warn: Callable[[str], None]
) -> Material:
    """Record the rig, then calibrate from that: live and from recordings are one way."""
    request = SourceRequest.of(source)
    one_sensor = _is_one_sensor(request)
    seconds = wanted.seconds or (SCENE_S if one_sensor else LIVE_S)

    def watch(figures: dict[str, Any], waiting: str) -> None:
        if waiting and not figures:
            share(waiting, 0.0)
        else:
            at = min(float(figures.get("elapsed_s", 0.0)), seconds)
            board = not one_sensor and at < BOARD_SHARE * seconds
            do = SHOW_BOARD if board else MOVE_RIG
            share(f"recording, {at:.0f} of {seconds:g} s", at / seconds, do=do)

    # Who stops a calibration wants none of half the views.
    record(
        request,
        RecordRequest(folder, limits=Limits(seconds=seconds)),
        said=warn,
        watch=watch,
        keep=False,
    )
    made = of_recordings([folder])
    return Material(made.rig, [replace(made.takes[0], name=f"{source}, {seconds:g} s live")])


def _is_one_sensor(request: SourceRequest) -> bool:
    """Both streams come from the same pixels, so that no board is needed.

    Raises:
        UsageError: it is a recording, or of one camera only, or of two that nothing relates to one another.
            That is said before anything is recorded.
        CameraError: a stream that has to be asked does not answer.
    """
    if request.is_recording:
        raise UsageError(f"{request.text} is a recording; use: halfmirror calibrate rig --from {request.path}")
    if request.path is not None:
        rig = Rig.load(request.path)
        if rig.has_events and rig.has_frames:
            return rig.clock.relation == "same"
    else:
        driver, config = open_driver(request.text, request.settings)
        facts = driver.rig_facts(config)
        if facts is not None:
            return facts.one_sensor
        if driver.pair(config) is not None:
            raise UsageError(
                f"{request.text} gives events and frames that do not share their pixels, as far as it tells: "
                "give a rig file that names it for both (halfmirror live --rig-page makes one)"
            )
    raise UsageError(
        f"{request.text} is one camera alone; a calibration needs events and frames: give a rig file with both "
        "(halfmirror live --rig-page makes one)"
    )


# -- simulated


def simulated(
    name: str, wanted: Wanted, share: Share = untold
) -> Material:  # fmt: skip
    """A blinking board held before the simulated rig, then its scene; nothing of the truth is used but to
    compare."""
    from calibration.simulated_truth import SimulatedTruth
    from capture.simulated.presets import SimulatedConfig
    from capture.simulated.rig import SimulatedRig

    driver, config = open_driver(name)
    assert isinstance(config, SimulatedConfig)
    rig = SimulatedRig(config)
    truth = Rig.from_facts(name, rig.facts())
    info = driver.event_camera(config).info, driver.frame_camera(config).info
    serials = {"events": info[0].serial, "image": info[1].serial}
    rig.prepare(lambda part: share("preparing the simulated scene", part))
    takes = []
    if not config.one_sensor:
        board = board_items(SimulatedTruth(config), wanted, share)
        takes.append(Take(f"{name}, blinking board", lambda: board, serials))
    scene = list(rig.items(wanted.seconds or SCENE_S))
    takes.append(Take(f"{name}, scene", lambda: scene, serials))
    return Material(nominal(truth), takes, truth)


def board_items(truth: Any, wanted: Wanted, share: Share) -> list[Item]:
    """Shots of the blinking board as both cameras' streams, with trigger edges."""
    from calibration.simulated import board_shots
    from capture.simulated.sources import device_ns

    config = truth.config
    out: list[Item] = []
    number, at = 0, 0
    for k, shot in enumerate(
        board_shots(truth, "blinking", wanted.views, seed=config.seed, board=wanted.board)
    ):
        share(f"showing the board, view {k + 1} of {wanted.views}", k / wanted.views)
        edges = sorted(e for a, b, _ in shot.frames for e in ((a, True), (b, False)))
        waiting = list(shot.frames)
        at = max(at, shot.start_us // _PACKET_US * _PACKET_US)
        while at < shot.end_us:
            until = at + _PACKET_US
            near = [e for e in edges if at <= e[0] < until] if config.triggers else []
            triggers = TriggerEdges(
                np.array([e[0] for e in near], np.int64), np.array([e[1] for e in near], np.bool_)
            )
            out.append(EventPacket(shot.events.between(at, until), triggers, until))
            while waiting and waiting[0][1] <= until:
                a, b, picture = waiting.pop(0)
                layout = PixelLayout.GRAY if picture.ndim == 2 else PixelLayout.RGB
                clock = FrameClock.EVENT if config.one_sensor else FrameClock.DEVICE
                out.append(
                    Frame(picture, layout, number, device_ns(config, a), device_ns(config, b), clock)
                )  # fmt: skip
                number += 1
            at = until
    return out


def checked_take(recording: str, rig: Rig, said: OpenOptions | None = None) -> Take:
    """What a rig is checked on: a recording, or some seconds of a simulated rig.

    Raises:
        UsageError: not there, without events, or of other sizes than the rig.
    """
    if is_simulated(recording) and not Path(recording).exists():
        from capture.simulated.presets import SimulatedConfig
        from capture.simulated.rig import SimulatedRig

        driver, config = open_driver(recording)
        assert isinstance(config, SimulatedConfig)
        made = SimulatedRig(config)
        its = Rig.from_facts(recording, made.facts())
        serials = {
            "events": driver.event_camera(config).info.serial, "image": driver.frame_camera(config).info.serial
        }  # fmt: skip
        take = Take(recording, lambda: made.items(SCENE_S), serials)
    else:
        if not Path(recording).exists():
            raise UsageError(f"{recording} does not exist; give the path of a recording")
        material = of_recordings([Path(recording)], said=said)
        its, take = material.rig, material.takes[0]
    if _sizes(its) != _sizes(rig):
        raise UsageError(
            f"{recording} has {_sizes(its)[0]} events and {_sizes(its)[1]} frames, the rig file says "
            f"{_sizes(rig)[0]} and {_sizes(rig)[1]}: it is of another rig"
        )
    return take
