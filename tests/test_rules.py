"""The four promises that can be held by reading the source."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "calibration", "capture", "halfmirror", "inference", "recordings", "sync", "training")

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


PIPE = "unpickles what comes through a pipe"
# Between two processes of this program, nothing of a file in what is said: arrays that a child is to write,
# figures that it has measured. So many places a file, and no more.
OWN_PIPES = {"recordings/export/remote.py": 1, "benchmarks/bench_publish.py": 1}


def sources() -> Iterator[Path]:
    for package in (*PACKAGES, "benchmarks"):
        yield from sorted((ROOT / package).rglob("*.py"))


def test_cores_are_counted_in_one_place() -> None:
    """Under `taskset`, Slurm or a container a process may use fewer than there are; the doctor tells those."""
    own = {"capture/cores.py", "app/cli/checks.py"}
    there = {
        str(p.relative_to(ROOT)) for p in sources() if re.search(r"cpu_count|sched_getaffinity", p.read_text())
    }
    assert there <= own


def faults(tree: ast.AST, where: str) -> list[str]:
    """Places in which something from outside could be unpickled or evaluated."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"imports {a.name}" for a in node.names if a.name.split(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN_MODULES:
            found.append(f"imports from {node.module}")
        elif isinstance(node, ast.Call):
            found += _call_faults(node)
    return [f"{where}: {f}" for f in found]


def _call_faults(node: ast.Call) -> list[str]:
    name = ast.unparse(node.func)
    keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
    out = []
    if name in FORBIDDEN_CALLS:
        out.append(f"line {node.lineno} calls {name}")
    if name.endswith("torch.load") and keywords.get("weights_only") != "True":
        out.append(f"line {node.lineno} calls torch.load without weights_only=True")
    if keywords.get("allow_pickle") == "True":
        out.append(f"line {node.lineno} allows pickle")
    if keywords.get("shell") == "True":
        out.append(f"line {node.lineno} runs a shell")
    if name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load"}:
        out.append(f"line {node.lineno} calls {name}")
    if name.split(".")[-1] == "QSettings":
        out.append(f"line {node.lineno} reads settings that PySide may unpickle")
    if name.endswith(("recv_pyobj", "send_pyobj")):
        out.append(f"line {node.lineno} pickles a message")
    if name.endswith(".recv") and not node.args and not node.keywords:  # a socket's takes a length
        out.append(f"line {node.lineno} {PIPE}")
    return out


def test_nothing_from_outside_is_unpickled_or_evaluated() -> None:
    found = [f for p in sources() for f in faults(ast.parse(p.read_text()), str(p.relative_to(ROOT)))]
    pipes = Counter(f.split(":")[0] for f in found if f.endswith(PIPE))
    found = [f for f in found if not (f.endswith(PIPE) and OWN_PIPES.get(f.split(":")[0], 0))]
    assert not found, "\n".join(found)
    assert pipes == OWN_PIPES


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "eval(s)",
        "subprocess.run(c, shell=True)",
        "sock.recv_pyobj()",
        "pipe.recv()",
        "yaml.load(s)",
        "QSettings(path, QSettings.Format.IniFormat)",
    ],
)
def test_the_walk_sees_each_fault(code: str) -> None:
    assert faults(ast.parse(code), "x.py")


def test_files_stay_within_one_idea() -> None:
    """About 400 lines is the habit; 450 is where a file has to be split."""
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > 450}
    assert not long, f"split these files: {long}"


def test_no_file_is_called_utils() -> None:
    assert not [p for p in sources() if p.stem in {"utils", "util", "helpers", "misc"}]


def test_type_checkers_of_other_programs_see_our_types() -> None:
    """They pass over a package that is not marked (PEP 561)."""
    assert [p for p in PACKAGES if not (ROOT / p / "py.typed").exists()] == []
