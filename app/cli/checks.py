"""What `doctor` looks at: each check gives a state, the facts, and one line of advice when it is needed."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from app.cli.probes import Probe, probe
from capture.scratch import NoScratch, scratch_root

# What Qt's xcb plugin needs beyond a bare Debian or Ubuntu; the Makefile installs the same list.
QT_SYSTEM_PACKAGES = (
    "libegl1 libgl1 libxkbcommon0 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-image0 "
    "libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1 "
    "libdbus-1-3 libfontconfig1 libglib2.0-0"
)
MIN_SHM = 512 * 1024**2  # what recording the largest preset takes, with room
_REINSTALL = "reinstall the package: pip install --force-reinstall {0}"


class State(StrEnum):
    """How a check went."""

    OK = "ok"
    NOTE = "note"  # works, but something is worth knowing or a part is not available
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's table.

    Attributes:
        name: what was looked at.
        state: how it went.
        facts: what was found.
        advice: one line, "" when nothing needs doing.
        needed: without it the simulated rig cannot run.
    """

    name: str
    state: State
    facts: str
    advice: str = ""
    needed: bool = False


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def python() -> Check:
    """Python's version and the machine."""
    facts = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if platform.system() != "Linux":
        advice = "written for Linux and tried there only: tell what works here and what does not"
        return Check("Python", State.NOTE, facts, advice, needed=True)
    return Check("Python", State.OK, facts, needed=True)


_TORCH = """
import torch
from inference.device import multiplies_bfloat16
cuda = torch.cuda.is_available()
answer({"version": torch.__version__, "threads": torch.get_num_threads(), "built": torch.version.cuda,
        "bfloat16": multiplies_bfloat16(),
        "cuda": cuda, "names": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda
        else []})
"""
# Apart from torch: a compiler that crashes must not count as no torch.
_KERNELS = """
import torch
from inference.networks.kernels import hindrance
answer({"why": hindrance(torch.device("cuda", 0))})
"""
_KERNELS_ADVICE = (
    "GEM and EFNet use PyTorch's own kernels, several times slower; ours need Triton (pip install triton) and "
    "a C compiler (gcc)"
)


def torch() -> list[Check]:
    """torch, its threads, and the GPUs it can use."""
    p = probe(_TORCH, timeout_s=120)
    if not p.ok:
        advice = "install it: pip install torch (2.6 or newer)"
        return [Check("torch", State.MISSING, p.why, advice, needed=True)]
    f = p.facts
    kind = "bfloat16" if f["bfloat16"] else "float32"
    main = Check(
        "torch", State.OK, f"{f['version']}, {f['threads']} threads; networks on the CPU in {kind}", needed=True
    )
    if f["cuda"]:
        return [main, Check("CUDA", State.OK, f"{', '.join(f['names'])} (CUDA {f['built']})"), _kernels()]
    card = shutil.which("nvidia-smi") is not None or Path("/dev/nvidia0").exists()
    if card and f["built"] is None:
        advice = "torch is a CPU build; for the NVIDIA card install the CUDA build that pytorch.org names"
    elif card:
        advice = f"torch was built for CUDA {f['built']} but sees no device: update the NVIDIA driver"
    else:
        return [
            main,
            Check("CUDA", State.NOTE, "no NVIDIA device", "nothing to do: everything runs on the CPU"),
        ]
    return [main, Check("CUDA", State.NOTE, "not available", advice)]


def _kernels() -> Check:
    """Whether kernels of our own can be built and run on the first GPU."""
    p = probe(_KERNELS, timeout_s=120)
    why = p.facts["why"] if p.ok else p.why
    if why:
        return Check("GPU kernels", State.NOTE, f"none: {why.splitlines()[0]}", _KERNELS_ADVICE)
    return Check("GPU kernels", State.OK, "built and run with Triton")


_QT = """
import os
from PySide6 import QtCore, QtGui
app = QtGui.QGuiApplication([])
s = app.primaryScreen()
answer({"version": QtCore.qVersion(), "platform": app.platformName(),
        "screen": f"{s.size().width()}×{s.size().height()}" if s else ""})
os._exit(0)
"""


def has_display() -> bool:
    """A display server is named in the environment (always true on macOS and Windows)."""
    if platform.system() != "Linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def qt() -> list[Check]:
    """PySide6, its trap on Python 3.11, the platform plugin, the display."""
    v = _installed("PySide6-Essentials") or _installed("PySide6")
    if v is None:
        return [Check("Qt", State.MISSING, "PySide6 is not installed", 'pip install "PySide6-Essentials<6.12"')]
    trap = _qt_trap(v)
    if trap is not None:
        return [trap]
    chosen = os.environ.get("QT_QPA_PLATFORM", "")
    display = has_display()
    p = probe(_QT, environment={} if display or chosen else {"QT_QPA_PLATFORM": "offscreen"})
    if not p.ok:
        return [
            Check(
                "Qt", State.MISSING, f"PySide6 {v}: {_qt_reason(p)}",
                f"on Debian/Ubuntu: apt-get install {QT_SYSTEM_PACKAGES}",
            )
        ]  # fmt: skip
    checks = [Check("Qt", State.OK, f"PySide6 {v}, platform {p.facts['platform']}")]
    if display:
        named = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or platform.system()
        checks.append(Check("display", State.OK, f"{named}, {p.facts['screen']}"))
    else:
        advice = "start it from a desktop, or use: halfmirror live --headless"
        checks.append(Check("display", State.NOTE, "DISPLAY and WAYLAND_DISPLAY are not set", advice))
    return checks


def _qt_trap(v: str) -> Check | None:
    numbers = tuple(int(n) for n in v.split(".")[:2] if n.isdigit())
    if numbers >= (6, 12) and sys.version_info[:2] == (3, 11):
        return Check(
            "Qt", State.MISSING, f"PySide6 {v} aborts on Python 3.11 (it drops references to None)",
            'pip install "PySide6-Essentials>=6.8,<6.12"',
        )  # fmt: skip
    return None


def _qt_reason(p: Probe) -> str:
    for line in p.stderr.splitlines():
        if (
            "cannot open shared object" in line
            or "could not load" in line.lower()
            or "could not connect" in line
        ):
            return line.strip()
    return p.why


def opencv() -> Check:
    """Exactly one OpenCV package, and it can be imported."""
    names = (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    )
    found = [n for n in names if _installed(n)]
    p = probe("import cv2\nanswer({'version': cv2.__version__})")
    if len(found) > 1:
        return Check(
            "OpenCV", State.NOTE if p.ok else State.MISSING, f"{' and '.join(found)} share the folder cv2",
            f"pip uninstall -y {' '.join(found)} && pip install opencv-python-headless", needed=True,
        )  # fmt: skip
    if not p.ok:
        return Check("OpenCV", State.MISSING, p.why, _REINSTALL.format("opencv-python-headless"), needed=True)
    return Check(
        "OpenCV", State.OK, f"{p.facts['version']} ({found[0] if found else 'not from pip'})", needed=True
    )


_NUMBA = """
import numba
import capture.evt_time
from capture.compiled import is_kept
f = numba.njit(lambda a: a + 1)
answer({"version": numba.__version__, "threads": numba.config.NUMBA_NUM_THREADS, "two": int(f(1)),
        "kept": is_kept()})
"""


def numba() -> Check:
    """numba can compile."""
    p = probe(_NUMBA, timeout_s=120)
    if p.ok and p.facts["two"] == 2:
        about = f"{p.facts['version']}, {p.facts['threads']} threads"
        if not p.facts["kept"]:
            return Check(
                "numba", State.NOTE, f"{about}; compiled code cannot be kept: every start takes up to a minute",
                "set NUMBA_CACHE_DIR to a folder of yours that can be written to", needed=True,
            )  # fmt: skip
        return Check("numba", State.OK, about, needed=True)
    return Check("numba", State.MISSING, p.why, _REINSTALL.format("numba"), needed=True)


def dv_processing() -> Check:
    """dv-processing, in a child process, since it may abort."""
    code = "import dv_processing as dv\nanswer({'version': dv.__version__})"
    p = probe(code, timeout_s=30)
    if p.ok:
        return Check("dv-processing", State.OK, p.facts["version"])
    advice = "AEDAT4 files and DAVIS cameras need it: pip install --force-reinstall dv-processing"
    return Check("dv-processing", State.MISSING, p.why, advice)


_AV = """
import av
def has(name):
    try: av.codec.Codec(name, "w")
    except ValueError: return False
    return True
answer({"version": av.__version__, "codecs": [n for n in ("libx264", "mpeg4") if has(n)]})
"""


def pyav() -> Check:
    """PyAV can write video."""
    p = probe(_AV)
    if not p.ok:
        return Check("PyAV", State.MISSING, p.why, _REINSTALL.format("av"), needed=True)
    codecs = p.facts["codecs"]
    if "libx264" in codecs:
        return Check("PyAV", State.OK, f"{p.facts['version']}, writes H.264", needed=True)
    if codecs:
        advice = "videos are written as MPEG-4 part 2; for H.264 install PyAV's wheel: pip install av"
        return Check("PyAV", State.NOTE, f"{p.facts['version']}, no H.264", advice, needed=True)
    return Check("PyAV", State.MISSING, "no video encoder", _REINSTALL.format("av"), needed=True)


def disk() -> Check:
    """Free space where output would go."""
    free = shutil.disk_usage(Path.cwd()).free
    facts = f"{free / 1e9:.1f} GB free in {Path.cwd()}"
    if free < 2e9:
        return Check(
            "disk", State.NOTE, facts, "a minute of video can take 1 GB: free some, or write elsewhere"
        )
    return Check("disk", State.OK, facts)


def scratch() -> Check:
    """The folder for temporary files: sockets of workers, code compiled in passing, exports."""
    try:
        used = scratch_root()
    except NoScratch as e:
        why, _, advice = str(e).partition("; ")
        return Check("temporary files", State.MISSING, why, advice, needed=True)
    facts = f"{shutil.disk_usage(used).free / 1e9:.1f} GB free in {used}"
    for name in ("TMPDIR", "TEMP", "TMP"):  # in Python's order
        named = os.environ.get(name)
        if named and Path(named).absolute() == used:
            break
        if named:
            advice = "free some space there, make it writable, or name another folder"
            facts = f"{name}={named} takes nothing; {facts}"
            return Check("temporary files", State.NOTE, facts, advice, needed=True)
    return Check("temporary files", State.OK, facts, needed=True)


def memory() -> Check:
    """Memory that is free to use."""
    import psutil

    m = psutil.virtual_memory()
    facts = f"{m.available / 1e9:.1f} of {m.total / 1e9:.1f} GB available"
    if m.available < 2e9:
        return Check("memory", State.NOTE, facts, "close other programs: the pipeline takes about 2 GB")
    return Check("memory", State.OK, facts)


def shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Shared memory for the rings."""
    if platform.system() != "Linux":
        return Check("shared memory", State.OK, "by the system", needed=True)
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        advice = f"mount it: mount -t tmpfs -o size=1g tmpfs {folder}"
        return Check("shared memory", State.MISSING, f"{folder} cannot be written to", advice, needed=True)
    free = shutil.disk_usage(folder).free
    facts = f"{free / 1e6:.0f} MB free in {folder}"
    if free < MIN_SHM:
        advice = f"give it at least {MIN_SHM >> 20} MB; in a container: --shm-size=1g"
        return Check("shared memory", State.MISSING, facts, advice, needed=True)
    return Check("shared memory", State.OK, facts, needed=True)


_ARAVIS = """
from capture.errors import CameraError
from capture.genicam import aravis
try:
    aravis.load()
    answer({"why": ""})
except CameraError as e:
    answer({"why": "not installed" if str(e) == aravis.MISSING else str(e)})
"""


def aravis() -> Check:
    """Aravis, through which GigE Vision and USB3 Vision cameras are opened."""
    p = probe(_ARAVIS)
    why = p.facts["why"] if p.ok else p.why
    if not why:
        return Check("Aravis", State.OK, "0.8, for GigE Vision and USB3 Vision cameras (FLIR Blackfly S)")
    advice = "for a FLIR Blackfly S, on Debian/Ubuntu: sudo apt-get install libaravis-0.8-0"
    return Check("Aravis", State.NOTE, why, advice)


_CAMERAS = """
from capture import registry
found, broken = [], []
for n in registry.names():
    try:
        found += [c.name for c in registry.driver(n).discover()]
    except Exception as e:
        broken.append(f"{n}: {e}")
answer({"found": sorted(set(found)), "broken": broken})
"""


def cameras() -> Check:
    """Cameras that could be opened now, asked in a child process, since SDKs may abort."""
    p = probe(_CAMERAS, timeout_s=60)
    if not p.ok:
        return Check("cameras", State.NOTE, p.why, "the simulated rig needs none; see USB above for real ones")
    found, broken = p.facts["found"], p.facts["broken"]
    facts = ", ".join(found) or "none"
    if any(b.startswith("simulated:") for b in broken):
        advice = "the installation is not whole: make clean install, in the folder of its source"
        return Check("cameras", State.MISSING, "; ".join(broken), advice, needed=True)
    if broken:
        return Check("cameras", State.NOTE, facts, "; ".join(broken))
    return Check("cameras", State.OK, facts)


def all_checks() -> list[Callable[[], Check | list[Check]]]:
    """Every check, in the order of the table."""
    from app.cli.camera_checks import connected
    from app.cli.installation import extras, names
    from app.cli.usb import usb
    from app.cli.weights_check import weights

    return [
        python, names, extras, torch, numba, opencv, pyav, qt, dv_processing, aravis, memory, disk,
        scratch, shared_memory, weights, usb, cameras, connected,
    ]  # fmt: skip
