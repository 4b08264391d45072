"""Videos as folders of pictures, blurred and sharp: DVD and GoPro as CDVD-TSP reads them.

`blur/VIDEO/FRAME.png` and `gt/VIDEO/FRAME.png` (or `sharp`), or the sets' own order `VIDEO/blur`,
`VIDEO/sharp` (GoPro) and `VIDEO/input`, `VIDEO/GT` (DVD). Frames go by the numbers in their names. As many
sharp ones as blurred ones are **paired by place**, as published, and must be named or numbered alike
(`frame_names`): of a video that lost a frame on either side no other pair would be right.
"""

from __future__ import annotations

from pathlib import Path

from recordings.sandbox_child import Refused
from training.data.sets.facts import TRUTH, U8, VIDEO, SequenceFacts, Unread, reads, sized
from training.data.sets.frame_names import in_a_row, told_gaps, unlike
from training.data.sets.hdf5 import digest
from training.data.sets.pictures import listed, png_size, read_rgb, refuse_dark

BLURRED = ("blur", "input", "blurred")
SHARP = ("gt", "sharp", "GT")


class FramesReader(Unread):
    """One video; `facts.files` are both folders. See `SequenceReader`."""

    @reads
    def __init__(self, facts: SequenceFacts) -> None:
        self.facts = facts
        self._lists = [listed(Path(folder)) for folder in facts.files]

    @reads
    def blurred(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(read_rgb(self._lists[0][index]), self.facts)

    @reads
    def truth(self, index: int) -> U8:
        """See `SequenceReader`."""
        return sized(read_rgb(self._lists[1][index]), self.facts)


def videos(folder: Path) -> list[tuple[str, Path, Path | None]]:
    """Name, blurred and sharp folder of each video below a folder; sharp is None where it is missing."""
    for blur in BLURRED:
        if (folder / blur).is_dir():
            sharp = next((folder / s for s in SHARP if (folder / s).is_dir()), None)
            found = []
            for own in _visible(folder / blur):
                other = sharp / own.name if sharp is not None and (sharp / own.name).is_dir() else None
                found.append((own.name, own, other))
            if found:
                return found
    out = []
    for own in _visible(folder):
        blurred = next((own / b for b in BLURRED if (own / b).is_dir()), None)
        if blurred is not None and listed(blurred):
            out.append((own.name, blurred, next((own / s for s in SHARP if (own / s).is_dir()), None)))
    return out


def _visible(folder: Path) -> list[Path]:
    """Folders below; what begins with a dot is not finished, or no part of the set."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")


def probe(blurred: str, sharp: str, name: str, split: str) -> SequenceFacts:
    """What a video holds.

    Raises:
        Refused: no video; says why.
    """
    frames = listed(Path(blurred))
    truth = listed(Path(sharp)) if sharp else []
    if not frames:
        raise Refused("holds no pictures")
    if sharp and len(frames) != len(truth):
        raise Refused(f"has {len(frames)} blurred and {len(truth)} sharp frames")
    if sharp and (k := unlike([p.stem for p in frames], [p.stem for p in truth])) is not None:
        raise Refused(
            f"its blurred frame {frames[k].name} would be paired with the sharp one {truth[k].name}; name both "
            "alike, and take away those of which the other is missing"
        )
    size = png_size(frames[0])
    for path in [*frames, *truth]:
        own = png_size(path)
        if own != size:
            raise Refused(
                f"{path.parent.name}/{path.name} is {own[0]}×{own[1]}, {frames[0].name} {size[0]}×{size[1]}"
            )
    for pictures in (frames, truth):
        if pictures:
            refuse_dark(pictures)
    row = in_a_row([p.stem for p in frames])
    return SequenceFacts(
        "frames", (blurred, sharp) if sharp else (blurred,), name, split, size, None, (None,) * len(frames),
        frozenset({VIDEO} | ({TRUTH} if sharp else set())), digest(*frames, *truth), row,
        told_gaps(name, [p.name for p in frames], row),
    )  # fmt: skip
