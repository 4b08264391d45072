"""The board in true scale as SVG or PDF, written by hand: rectangles, a line to measure, a word of advice."""

from __future__ import annotations

from pathlib import Path

from calibration.geometry.targets import Board
from capture.errors import UsageError

PAPERS_MM: dict[str, tuple[float, float]] = {
    "a4": (297.0, 210.0), "a3": (420.0, 297.0), "letter": (279.4, 215.9), "tabloid": (431.8, 279.4),
}  # fmt: skip
"""(width, height), landscape."""

_RULER_MM = 100.0
_POINT_MM = 25.4 / 72.0
_MARGIN_MM = 12.0
_FOOT_MM = 14.0


def write_target(board: Board, path: Path, paper: str = "a4") -> None:
    """Write the board to a file in true scale, whole or not at all.

    Args:
        board: to draw; `square_mm` is what a ruler will find on the paper.
        path: ending in .svg or .pdf.
        paper: one of `PAPERS_MM`.

    Raises:
        UsageError: another ending, unknown paper, a board that does not fit, a place that cannot be written.
    """
    if paper not in PAPERS_MM:
        raise UsageError(f"paper {paper!r} is not known; give one of {', '.join(PAPERS_MM)}")
    kind = path.suffix.lower()
    if kind not in (".svg", ".pdf"):
        raise UsageError(f"{path}: a target is written as .svg or .pdf")
    page, size = PAPERS_MM[paper], board.size_mm
    room = (page[0] - 2 * _MARGIN_MM, page[1] - 2 * _MARGIN_MM - _FOOT_MM)
    if size[0] > room[0] or size[1] > room[1]:
        most = min(room[0] / board.columns, room[1] / board.rows)
        raise UsageError(
            f"a board of {size[0]:.0f}×{size[1]:.0f} mm does not fit on {paper}; give squares of "
            f"{most:.0f} mm or "
            "less, or a larger paper"
        )
    data = svg(board, page).encode() if kind == ".svg" else pdf(board, page)
    tmp = path.with_name(path.name + ".part")
    try:
        tmp.write_bytes(data)
        tmp.replace(path)
    except OSError as e:
        raise UsageError(f"{path} cannot be written ({e.strerror or e})") from e
    finally:
        tmp.unlink(missing_ok=True)


def _placed(board: Board, page: tuple[float, float]) -> list[tuple[float, float, float, float, bool]]:
    x0 = (page[0] - board.size_mm[0]) / 2
    y0 = (page[1] - _FOOT_MM - board.size_mm[1]) / 2
    return [(x0 + x, y0 + y, w, h, black) for x, y, w, h, black in board.rectangles_mm()]


def _caption(board: Board) -> str:
    return (
        f"Halfmirror ChArUco {board.columns}x{board.rows}, squares {board.square_mm:g} mm, 4X4_50. "
        f"Print at 100 %: the line is {_RULER_MM:.0f} mm long. Glue it to something flat."
    )


def svg(board: Board, page: tuple[float, float]) -> str:
    """SVG 1.1, units of mm."""
    w, h = page
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:g}mm" height="{h:g}mm" viewBox="0 0 {w:g} {h:g}" '
        'shape-rendering="crispEdges">',
        f'<rect width="{w:g}" height="{h:g}" fill="#fff"/>',
    ]
    for x, y, rw, rh, black in _placed(board, page):
        fill = "#000" if black else "#fff"
        lines.append(f'<rect x="{x:.4f}" y="{y:.4f}" width="{rw:.4f}" height="{rh:.4f}" fill="{fill}"/>')
    foot = h - _MARGIN_MM
    lines += [
        f'<rect x="{_MARGIN_MM:g}" y="{foot - 4:g}" width="{_RULER_MM:g}" height="0.4" fill="#000"/>',
        f'<text x="{_MARGIN_MM:g}" y="{foot + 1:g}" font-family="sans-serif" font-size="3.5">'
        f"{_caption(board)}</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def pdf(board: Board, page: tuple[float, float]) -> bytes:
    """PDF 1.4 of one page (ISO 32000-1): points of 1/72 inch, y upwards."""
    w, h = (v / _POINT_MM for v in page)
    k = 1 / _POINT_MM
    draw = ["1 g", f"0 0 {w:.4f} {h:.4f} re f"]
    for x, y, rw, rh, black in _placed(board, page):
        draw.append(f"{0 if black else 1} g {x * k:.4f} {h - (y + rh) * k:.4f} {rw * k:.4f} {rh * k:.4f} re f")
    foot = _MARGIN_MM * k
    draw += [
        f"0 g {foot:.4f} {foot + 4 * k:.4f} {_RULER_MM * k:.4f} {0.4 * k:.4f} re f",
        f"BT /F1 10 Tf {foot:.4f} {foot - 1 * k:.4f} Td ({_caption(board)}) Tj ET",
    ]
    content = "\n".join(draw).encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {w:.4f} {h:.4f}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>".encode(),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for n, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (n, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
