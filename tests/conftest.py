"""Fixtures that all tests share."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# How fast an example is drawn says something of the machine, which tests share, and nothing of the program.
hypothesis.settings.register_profile(
    "shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared")

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. Two of them with two threads each wait for each other, spinning: twice the work.
    # Before torch is imported, and for the processes that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same pictures on every machine that tests: networks in float32 where the CPU has more to offer. Read once,
# by PyTorch's library. What the other way does is tested in tests/inference/restorers/test_bfloat16.py.
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"

# A search for cameras is a broadcast; in tests none leaves this machine, their processes' neither.
os.environ["HALFMIRROR_GIGE_INTERFACES"] = "lo"


# What was started behind a shell's back, or with nohup, ignores these, and so would all that tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# They share one rig, drawn and calibrated (tests/calibration/small.py): half a minute of one core a process.
SIDE_BY_SIDE = ("test_run.py", "test_calibrate.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of what is dear to make lie in a row: workers are dealt rows of tests, so one of them makes it."""
    first, second = ([i for i in items if i.path.name == name] for name in SIDE_BY_SIDE)
    if first and second:
        rest = [i for i in items if i.path.name != SIDE_BY_SIDE[1]]
        behind = rest.index(first[-1]) + 1
        items[:] = rest[:behind] + second + rest[behind:]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that are marked `gpu` skip where there is none; only they import torch for it."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture
def shared_data() -> Path:
    """The folder with real recordings; a test that wants it skips, with the reason, where it is absent."""
    root = Path(os.environ.get("HALFMIRROR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    data = root / "data"
    if not data.is_dir():
        pytest.skip(f"real recordings are not at {data}; set HALFMIRROR_SHARED to the folder that holds data/")
    return data


@contextlib.contextmanager
def disk_of(folder: Path, size: int, file_limit: int) -> Iterator[Path]:
    """A disk of so many bytes: a small tmpfs when this user may mount one, else a limit on file size."""
    folder.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
            capture_output=True, check=False,
        ).returncode
        == 0
    )  # fmt: skip
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    print("a tmpfs of its own" if mounted else "RLIMIT_FSIZE in place of a full disk (mount not allowed)")
    if not mounted:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, old[1]))
    try:
        yield folder
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 300 kB."""
    with disk_of(tmp_path / "disk", 300_000, 20_000) as folder:
        yield folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread while a test runs: small work is slower on several, and the cores are shared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the tests that did not run for want of the real recordings."""
    n = sum(
        "real recordings are not at" in str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    )
    terminalreporter.write_line(f"tests skipped because the real recordings are absent: {n}")
