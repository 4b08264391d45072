"""Looking at a library in a child process, which may crash or hang without harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Probe:
    """What a child process reported.

    Attributes:
        ok: it printed its answer and left with 0.
        facts: the answer.
        why: one line when it did not.
        stderr: all it said there.
    """

    ok: bool
    facts: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    stderr: str = ""


def probe(code: str, *, timeout_s: float = 60.0, environment: dict[str, str] | None = None) -> Probe:
    """Run Python `code`, which calls `answer({...})`, in a child of this interpreter.

    Never raises: a crash, a hang and an exception come back as `why`.
    """
    prelude = "import json, sys\ndef answer(d): print('\\n@@' + json.dumps(d), flush=True)\n"
    # A source tree that was never installed works too.
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", prelude + code],  # -P: not what lies in the present folder
            capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False,
            errors="replace", env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Probe(False, why=f"no answer within {timeout_s:.0f} s")
    except OSError as e:
        return Probe(False, why=f"a child process cannot be started ({e})")
    lines = [line for line in done.stdout.splitlines() if line.startswith("@@")]
    if lines and done.returncode == 0:
        return Probe(True, json.loads(lines[-1][2:]), stderr=done.stderr)
    last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
    if done.returncode < 0:
        return Probe(
            False, why=f"crashed with signal {-done.returncode}: {last}".rstrip(": "), stderr=done.stderr
        )
    return Probe(False, why=last or f"left with exit code {done.returncode}", stderr=done.stderr)
