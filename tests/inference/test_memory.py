"""What glibc is told about freed memory holds, in the main thread and in others."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading
from inference.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        [bytearray(b'x') * (size << 20) for size in (17, 40, 70)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "keep":
    if not keep_freed_memory():
        sys.exit("not glibc")
found = []
def work():
    faults()
    found.append(faults())
if sys.argv[2] == "thread":
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
else:
    work()
print(found[0])
"""


@pytest.mark.parametrize("where", ["main", "thread"])
def test_pages_are_not_cleared_again_for_every_frame(where: str) -> None:
    def faults(how: str) -> int:
        run = subprocess.run([sys.executable, "-c", PROGRAM, how, where], capture_output=True, text=True)
        if run.stderr.strip() == "not glibc":
            pytest.skip("only glibc on Linux knows these settings")
        return int(run.stdout)

    kept = faults("keep")
    assert kept < 500
    assert faults("leave") > 10 * max(kept, 1000)
