"""Text files of events as people write them: order and unit by their headings; another order is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.formats.event_text import TextEvents
from recordings.open import open_recording
from recordings.sandbox_child import Refused
from tests.recordings.make_folders import write_exposures, write_pictures
from tests.recordings.reading import events_and_frames, same_events
from tests.recordings.test_picture_folders import full

EVENTS = full(2000)
ROWS = list(zip(*(c.tolist() for c in (EVENTS.t, EVENTS.x, EVENTS.y, EVENTS.p)), strict=True))


def text(form: str, heading: str = "") -> str:
    lines = [form.format(t=t, x=x, y=y, p=int(p), q=int(p) + 1, s=t / 1e6) for t, x, y, p in ROWS]
    return "\n".join([*([heading] if heading else []), *lines]) + "\n"


@pytest.mark.parametrize(("content", "unit"), [
    (text("{t} {y} {x} {p}", "timestamp_us y x p"), "µs"),
    (text("{x},{y},{p},{t}", "x,y,polarity,timestamp_us"), "µs"),
    (text("{x},{y},{p},{t}", '"x","y","pol.","t [us]"'), "µs"),
    (text("{t}000 {x} {y} {p}", "# timestamp_ns x y p"), "ns"),
    (text("{s:.6f} {x} {y} {p}", "# time in s, x, y, polarity"), "s"),
    (text("{t} {x} {y} {p}", "# us"), "µs"),
    (text("{t}000 {x} {y} {p}", "# one\n# a recording of my rig\n# t x y p, t in ns"), "ns"),
    (text("{t}000 {x} {y} {p}", "# time since the start in ns\n# t x y p"), "ns"),
    (text("{t} {x} {y} {p}", "# t x y p [us]\n# times of the second camera are in ms"), "µs"),
    (text("{s:.6f} {x} {y} {p}", "# Format is time (float s), x, y, polarity (0=off, 1=on)"), "s"),
    (text("{t},{y},{x},{p}", "t_us,y_pos,x_pos,pol"), "µs"),
    (text("{t},{y},{x},{p}", "event_t,event_y,event_x,event_p"), ""),
    (text("{t},{y},{x},{p}", "timestamp,y coordinate,x coordinate,polarity"), ""),
    (text("{t} {x} {y} {p}", "recorded by our rig"), ""),
    ("\ufeff" + text("{t} {x} {y} {p}"), ""),
    # Amounts and words of prose are no unit of times; events were a thousand times too far apart.
    (text("{t} {x} {y} {p}", "# recording time 10 s"), ""),
    (text("{t} {x} {y} {p}", "# start time: 12:00, exposure 5 ms\n# t x y p"), ""),
    (text("{t} {x} {y} {p}", "# timestamps of the second camera, of a Jetson Nano"), ""),
    (text("{t} {x} {y} {p}", "# t x y p, recorded with an exposure of 5 ms"), ""),
    (text("{t} {x} {y} {p}", "# columns: t column row p"), ""),
])  # fmt: skip
def test_order_and_unit_by_the_heading(tmp_path: Path, content: str, unit: str) -> None:
    (tmp_path / "events.csv").write_text(content, encoding="utf-8")
    write_pictures(tmp_path / "frames")
    write_exposures(tmp_path / "exposures.txt")
    with open_recording(tmp_path) as r:
        assert same_events(events_and_frames(r)[0], EVENTS)
        assert any("events.csv does not say its unit" in p for p in r.info.problems) == (not unit)


@pytest.mark.parametrize(("content", "said"), [
    (text("{x},{y},{p},{t}"), "column 1 should be the time and runs back, column 4 does not; write a first"),
    (text("{x} {y} {t} {p}"), "column 1 should be the time and runs back, column 3 does not"),
    (text("{x} {y} {s:.6f} {p}"), "column 1 should be the time and runs back, column 3 does not"),
    (text("{t} {x} {p} {y}"), "column 4 should be the polarity and holds 47; write a first line"),
    (text("{t} {x} {y} {q}"), "column 4 should be the polarity and holds 2"),
    (text("{t} {x} {y} {p}", "stamp u v sign"), "its heading 'stamp u v sign' is not known; name the columns"),
    (text("{t} {x} {y} {p}", "# t u v p"), "its heading 't u v p' is not known"),
    (text("{t} {y} {x} {p}", "zeit zeile spalte vorzeichen"), "its heading 'zeit zeile spalte vorzeichen' is"),
    (text("{t} {x} {y} {p}", "t x y on"), "its heading 't x y on' is not known"),
])  # fmt: skip
def test_another_order_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "events.txt"
    path.write_text(content)
    with pytest.raises(Refused) as e:
        TextEvents(path)
    assert said in str(e.value)
