"""The GPU benchmark runs through every network and every number type, here on the CPU at tiny sizes."""

from __future__ import annotations

import pytest

from benchmarks import bench_networks_gpu as bench

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_whole_benchmark_runs_on_a_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--device", "cpu", "--small", "--repeats", "1"])
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    # CDVD-TSP does not bear bfloat16.
    assert len(lines) == len(bench.ROWS) * len(bench.DTYPES) - 1
    assert {line[0].split()[0] for line in lines} == {row.name for row in bench.ROWS}
    for line in lines:
        assert len(line) == len(bench.HEAD)
        assert float(line[4]) == pytest.approx(1e3 / float(line[5]), rel=0.1)
        assert 0 < float(line[5]) <= float(line[6])


def test_a_stream_is_timed_from_where_it_runs_evenly() -> None:
    """CDVD-TSP's first windows are computed whole; only those that reuse what is known count."""
    row = next(r for r in bench.ROWS if r.name == "cdvd-tsp").at(small=True)
    assert len(bench.measure(row, "float32", False, "cpu", 2).seconds) == 2


def test_figures_are_written_for_a_gpu_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--device", "cpu", "--small", "--write"])
    assert "--write is for figures of a GPU at full size" in capsys.readouterr().err
