"""Bags of ROS 1 (`.bag`) and ROS 2 (a folder with `metadata.yaml`, or one `.mcap` or `.db3`), by rosbags.

What is in a message: `ros_messages`. Times are those in the messages' headers, on the recording
machine's clock; when a message was written into the bag only puts them in order. One topic of events and one of
pictures are read: of several the first by name, pictures that stand beside the events first. Of one size and
one driver's topics they count as one sensor's.

How long a picture was exposed is told by `…/exposure` (`std_msgs/Int32`, µs, right behind each picture: the DVS
packages' DAVIS driver) or by `…/meta` (`ImageMetaData` of the same stamp: FLIR drivers). libcaer's stamp of a
DAVIS's picture is the middle of its exposure; other drivers' stamps are taken for the same, and that is said.
"""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recordings.formats import ros_messages as ros
from recordings.formats.dataset_source import (
    MAX_PICTURE_BYTES,
    Found,
    FrameRefused,
    FrameTime,
    Ignored,
    SourceFacts,
    in_order,
    remark,
    scaled,
    side,
)
from recordings.formats.pictures import remark_if_low
from recordings.formats.ros_events import EventStream
from recordings.formats.ros_magic import BAG_1
from recordings.formats.ros_pictures import largest_in, picture_in
from recordings.recording import MAX_EXPOSURE_US
from recordings.sandbox_child import Refused

MAX_FRAMES = 1_000_000
_PICTURES = (ros.IMAGE, ros.COMPRESSED)
_EVENTS = (*ros.EVENT_ARRAYS, ros.EVENT_PACKET)


class Bag:
    """One reader of a bag; its messages in the order in which they were written."""

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.rosbag1 import Reader as Reader1
            from rosbags.rosbag2 import Reader as Reader2
        except ImportError as e:
            raise Refused("is a bag of ROS, which needs: pip install 'halfmirror[ros]'") from e
        self.is_1 = path.is_file() and path.open("rb").read(len(BAG_1)) == BAG_1
        packed = next(path.glob("*.zst"), None) if path.is_dir() else None
        if packed is not None:  # rosbags would unpack it into a temporary folder, which a killed child leaves
            raise Refused(
                f"is packed as a whole; unpack it (zstd -d {packed.name}) and open {packed.stem} instead"
            )
        self._reader: Any = None
        with self._sound():
            self._reader = Reader1(path) if self.is_1 else Reader2(path)
            self._reader.open()
        self.topics: dict[str, str] = {c.topic: c.msgtype for c in self._reader.connections}
        self.end_ns: int = self._reader.end_time
        self.count: dict[str, int] = {}
        for c in self._reader.connections:
            self.count[c.topic] = self.count.get(c.topic, 0) + c.msgcount
        self.definitions: dict[str, str] = {
            c.msgtype: c.msgdef.data for c in self._reader.connections if c.msgdef.format.name == "MSG"
        }

    @contextlib.contextmanager
    def _sound(self) -> Iterator[None]:
        """rosbags' own errors, and what it stumbles over in damaged bags, in one line."""
        try:
            yield
        except (Refused, MemoryError):
            raise
        except Exception as e:
            text = " ".join(str(e).split())[:160] or type(e).__name__
            if "not indexed" in text:
                text = "it was not closed in order; mend it with: rosbag reindex"
            raise Refused(f"is a bag that cannot be read: {text}") from e

    def messages(self, topics: Sequence[str], start_ns: int | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(topic, time of writing in ns, the message) of some topics, from a time of writing on."""
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:
            return
        with self._sound():
            for connection, at, data in self._reader.messages(connections, start=start_ns):
                yield connection.topic, at, data


def _of_one_driver(events: str, pictures: str) -> bool:
    """Whether two topics lie in one name space, or one of them in a name space of the other's."""
    a, b = (f"{topic.rpartition('/')[0]}/" for topic in (events, pictures))
    return a == b or (min(len(a), len(b)) > 1 and (a.startswith(b) or b.startswith(a)))


class RosBagSource:
    """One bag; see `Source`.

    Args:
        path: the file or folder.
        stated: size of the event sensor where the person gave it.
    """

    frames: list[FrameTime]

    def __init__(self, path: Path, stated: tuple[int, int] | None) -> None:
        self._path = path
        bag = Bag(path)
        self._cdr = not bag.is_1
        self._problems: list[str] = []
        self._others = {t: n for t, n in bag.count.items() if n}
        events = self._chosen(bag, _EVENTS, "events", beside="")
        self._topic = self._chosen(bag, _PICTURES, "pictures", beside=events)
        if not events and not self._topic:
            there = ", ".join(sorted(set(bag.topics.values()))[:8]) or "nothing"
            raise Refused(f"holds neither events nor pictures that are known; in it: {there}")
        self._at: list[int] = []  # when each picture was written, in that order
        self._shown: Bag | None = None
        self._running: tuple[int, Iterator[tuple[str, int, bytes]]] | None = None
        self._stream = None
        if events:
            self._stream = EventStream(bag, events, self._cdr, stated, self._problems)
        times = self._pictures(bag)
        image = self._first_size(bag) if times else None
        size = None if self._stream is None else self._stream.size
        alike = size is not None and size == image
        one = alike and _of_one_driver(events, self._topic)
        unplaced = (
            f"events of {events} and pictures of {self._topic} count as two cameras', since their topics do "
            "not lie beside each other"
        )
        spans = [int(v) for t in times for v in t]
        if self._stream is not None:
            spans += [self._stream.start_us, self._stream.end_us]
        self.facts = SourceFacts(
            format="ROS 1 bag" if bag.is_1 else "ROS 2 bag", event_size=size, image_size=image,
            start_us=min(spans), end_us=max(spans), camera=events or self._topic, problems=self._problems,
            image_from_event=scaled(size, image) if one and size is not None and image is not None else None,
            note=f"{events} and {self._topic} have the same size", assumed=one, stamp_in_middle=True,
            unplaced=unplaced if alike and not one else "",
            has_triggers=self._stream is not None and self._stream.has_edges,
        )  # fmt: skip
        self._places = in_order(times, self.facts)
        self.frames = [times[i] for i in self._places]

    def _chosen(self, bag: Bag, kinds: Sequence[str], what: str, beside: str) -> str:
        """The topic of these kinds that is read, "" for none; that there are others is said."""
        found = [t for t, kind in bag.topics.items() if kind in kinds and bag.count[t]]

        def rank(topic: str) -> tuple[int, bool, str]:
            same = len([1 for a, b in zip(topic.split("/"), beside.split("/"), strict=False) if a == b])
            return -same, bag.topics[topic] == ros.COMPRESSED, topic

        found.sort(key=rank)
        if len(found) > 1:
            others = ", ".join(found[1:5])
            remark(self._problems, f"{len(found)} topics have {what}; {found[0]} is read, not {others}")
        for topic in found[:1]:
            self._others.pop(topic)
            try:
                ros.require_layout(bag.topics[topic], bag.definitions.get(bag.topics[topic], ""))
            except ros.Malformed as e:
                raise Refused(f"{topic}: {bag.topics[topic]} {e}, which is not read") from e
        return found[0] if found else ""

    # --- pictures -------------------------------------------------------------------------------------

    def _pictures(self, bag: Bag) -> list[FrameTime]:
        """When each picture was exposed, as far as the bag tells; where each lies goes into `_at`."""
        if not self._topic:
            return []
        space = self._topic.rsplit("/", 1)[0]
        exposure = f"{space}/exposure" if bag.topics.get(f"{space}/exposure") == ros.INT32 else ""
        told_by = (t for t, kind in bag.topics.items() if kind in ros.META_DATA)
        meta = next((t for t in told_by if t.rsplit("/", 1)[0] == space), "")
        stamps: list[int] = []
        after: dict[int, int] = {}  # exposure told behind the picture of this index
        by_stamp: dict[int, int] = {}
        bad = 0
        for topic, at, data in bag.messages([t for t in (self._topic, exposure, meta) if t]):
            if topic == self._topic:
                self._at.append(at)
            try:
                w = ros.Wire(data, self._cdr)
                if topic == self._topic:
                    stamps.append(w.header())
                elif topic == exposure:
                    after.setdefault(len(stamps) - 1, w.i32())
                else:
                    stamp = w.header()
                    w.u64()
                    w.i16()
                    by_stamp[stamp] = w.u32()
            except ros.Malformed:
                bad += 1
                if topic == self._topic:
                    stamps.append(at)
            if len(stamps) > MAX_FRAMES:
                raise Refused(f"holds more than {MAX_FRAMES} pictures, which is more than are read")
        if bad:
            self._problems.append(f"{bad} messages of pictures and exposures are damaged")
        for topic in (exposure, meta):
            self._others.pop(topic, None)
        told = [by_stamp.get(s) or after.get(k, 0) for k, s in enumerate(stamps)]
        told = [us if 0 < us <= MAX_EXPOSURE_US else 0 for us in told]
        if any(told):
            remark(
                self._problems,
                f"exposures are those of {meta if by_stamp else exposure}, around the pictures' stamps",
            )
        starts = [s // 1000 - us // 2 for s, us in zip(stamps, told, strict=True)]
        return [FrameTime(a, a + us) for a, us in zip(starts, told, strict=True)]

    def _first_size(self, bag: Bag) -> tuple[int, int]:
        """(width, height) of the first picture that can be read."""
        why = ""
        for n, (_, _, data) in enumerate(bag.messages([self._topic])):
            if n >= 20:
                break
            try:
                about = data, bag.topics[self._topic], self._cdr
                image = picture_in(*about)
                remark_if_low(image, partial(largest_in, *about), self._problems)
            except FrameRefused as e:
                why = why or str(e)
                continue
            return side(image.shape[1], "a picture's width"), side(image.shape[0], "a picture's height")
        raise Refused(f"none of its pictures can be read; the first {why}")

    def image(self, index: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        if self._shown is None:
            self._shown = Bag(self._path)  # of its own: the events are read at another place
        place = self._places[index]
        at = self._at[place]
        running, self._running = self._running, None
        if running is not None and running[0] == place:
            messages = running[1]
        else:
            messages = self._shown.messages([self._topic], at)
            for _ in range(place - bisect_left(self._at, at)):  # written at the same time, before it
                next(messages, None)
        _, found, data = next(messages, ("", -1, b""))
        if found != at:
            raise FrameRefused("is not where the bag's index says")
        self._running = place + 1, messages
        if len(data) > MAX_PICTURE_BYTES:
            raise FrameRefused(f"has {len(data)} bytes; at most {MAX_PICTURE_BYTES} are read")
        return picture_in(data, self._shown.topics[self._topic], self._cdr)

    # --- events ---------------------------------------------------------------------------------------

    def events(self, start_us: int | None) -> Iterator[Found]:
        """See `Source.events`."""
        if self._stream is not None:
            yield from self._stream.read(Bag(self._path), start_us)
        if self._others:
            yield Ignored({f"messages of {t}": n for t, n in sorted(self._others.items())[:20]})
