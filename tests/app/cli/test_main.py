"""The console entry: exit codes, one-line errors, speed of help, interrupts, closed pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import console, main
from capture.errors import CameraError, UsageError

RUN = [sys.executable, "-m", "app.cli.main"]


def _raise(error: BaseException):  # type: ignore[no-untyped-def]
    def verb(*_a: object, **_k: object) -> None:
        raise error

    return verb


@pytest.fixture
def broken_doctor(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def use(error: BaseException) -> None:
        monkeypatch.setattr("app.cli.doctor.run_checks", _raise(error))

    return use


@pytest.mark.parametrize("verb", ["live", "replay", "deblur", "doctor"])
def test_every_help_has_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"halfmirror {verb}" in out.split("Example:")[1]


def test_where_it_cannot_run_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(signal, "SIGHUP")  # Windows has none
    assert main.run(["doctor"]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert "WSL 2" in told.err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from app.cli.main import run; run(['deblur', '--help'])\n"
        "print([m for m in ('torch', 'PySide6', 'numba', 'cv2', 'av', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_no_verb_costs_the_others_a_slow_start() -> None:
    code = "import sys, app.cli.program; print([m for m in ('numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("halfmirror ")


@pytest.mark.parametrize(("error", "code"), [(UsageError("no\nsuch thing"), 2), (CameraError("gone"), 1)])
def test_known_error_is_one_line_with_the_class_code(
    error: BaseException, code: int, broken_doctor, capsys: pytest.CaptureFixture[str]  # type: ignore[no-untyped-def]
) -> None:  # fmt: skip
    broken_doctor(error)
    assert main.run(["doctor"]) == code
    err = capsys.readouterr().err
    assert err.strip() == "halfmirror: " + " ".join(str(error).split())


def test_unexpected_error_names_a_log_with_the_traceback(
    broken_doctor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # type: ignore[no-untyped-def]
) -> None:  # fmt: skip
    monkeypatch.setattr("platformdirs.user_log_dir", lambda *_a, **_k: str(tmp_path / "logs"))
    broken_doctor(ZeroDivisionError("seven"))
    assert main.run(["doctor"]) == console.UNEXPECTED
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "seven" in lines[0]
    log = Path(lines[0].rsplit(" ", 1)[1])
    assert log.parent == tmp_path / "logs"
    assert "Traceback" in log.read_text()


def test_log_goes_elsewhere_when_its_folder_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("platformdirs.user_log_dir", lambda *_a, **_k: str(tmp_path / "file" / "logs"))
    log = console.write_crash_log(ValueError("x"), [])
    assert log is not None
    assert log.is_file()
    log.unlink()


def test_a_log_takes_names_that_are_no_utf_8(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platformdirs.user_log_dir", lambda *_a, **_k: str(tmp_path))
    log = console.write_crash_log(ValueError("x"), ["replay", "\udcff"])
    assert log is not None
    assert "replay \\udcff" in log.read_text()


def test_debug_shows_the_traceback(broken_doctor) -> None:  # type: ignore[no-untyped-def]
    broken_doctor(ZeroDivisionError("seven"))
    with pytest.raises(ZeroDivisionError):
        main.run(["doctor", "--debug"])


@pytest.mark.parametrize(("value", "shown"), [("1", True), ("0", False), ("", False)])
def test_the_variable_does_as_debug(value: str, shown: bool, broken_doctor, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HALFMIRROR_DEBUG", value)
    broken_doctor(ZeroDivisionError("seven"))
    if shown:
        with pytest.raises(ZeroDivisionError):
            main.run(["doctor"])
    else:
        assert main.run(["doctor"]) == 70


def test_interrupt_is_130(broken_doctor) -> None:  # type: ignore[no-untyped-def]
    broken_doctor(KeyboardInterrupt())
    assert main.run(["doctor"]) == console.INTERRUPTED


@pytest.mark.parametrize(
    "line", [["no-such-verb"], ["deblur"], ["deblur", "x", "--nothing"], ["replay", "x", "--speed", "quick"]]
)
def test_wrong_line_is_2_and_one_line(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(line) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert "--help" in err[0]


@pytest.mark.parametrize(
    "line",
    [
        ["replay", "NAME"], ["deblur", "NAME", "-o", "x"], ["recordings", "info", "NAME"],
        ["models", "convert", "NAME.pth"], ["photos", "check", "NAME"], ["bench", "NAME"],
    ],
)  # fmt: skip
def test_a_name_that_no_file_can_have_is_a_wrong_request(
    line: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run([word.replace("NAME", "n" * 300) for word in line]) == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert "File name too long" in err[0]


def test_a_path_that_was_not_given_is_a_fault_of_the_program(
    broken_doctor, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path  # type: ignore[no-untyped-def]
) -> None:  # fmt: skip
    monkeypatch.setattr("platformdirs.user_log_dir", lambda *_a, **_k: str(tmp_path))
    broken_doctor(PermissionError(13, "Permission denied", "/own/cache"))
    assert main.run(["doctor"]) == console.UNEXPECTED
    assert "/own/cache" in capsys.readouterr().err


IN_A_VERB = """
import time, app.cli.doctor as d
def wait():
    print("there", flush=True)
    try:
        time.sleep(60)
    except BaseException as e:  # a library may turn the interrupt into an error of its own
        raise RuntimeError from e
d.run_checks = wait
"""
WHILE_IMPORTING = """
import time, sys
class Slow:
    def find_spec(self, name, *_):
        if name == "typer":
            print("there", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
"""


@pytest.mark.parametrize(
    ("number", "code", "where"),
    [
        (signal.SIGINT, 130, IN_A_VERB), (signal.SIGINT, 130, WHILE_IMPORTING),
        (signal.SIGTERM, 143, WHILE_IMPORTING), (signal.SIGHUP, 129, IN_A_VERB),
    ],
)  # fmt: skip
def test_signals_end_it_quietly(number: int, code: int, where: str) -> None:
    rest = "import sys; sys.argv = ['halfmirror', 'doctor']; from app.cli.main import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", where + rest], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "there"
    os.kill(child.pid, number)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (code, "")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_nohup_outlives_its_terminal(number: int) -> None:
    """A hangup that was ignored stays so; an interrupt, which shells ignore for what runs behind, does not."""
    verb = (
        "import app.cli.doctor as d; d.run_checks = lambda *_: (print('there', flush=True), input(), [])[-1]\n"
    )
    rest = "import sys; sys.argv = ['halfmirror', 'doctor']; from app.cli.main import main; main()"
    child = subprocess.Popen(
        [sys.executable, "-c", verb + rest], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "there"
    os.kill(child.pid, number)
    _, err = child.communicate("\n", timeout=30)
    assert (child.returncode, err) == (0 if number == signal.SIGHUP else 130, "")


def test_exit_handlers_run_after_an_interrupt() -> None:
    code = (
        "import atexit; atexit.register(print, 'tidied', flush=True)\n"
        "import app.cli.main as m; m.run = lambda _: 130; m.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "tidied\n")


def test_closed_pipe_is_quiet() -> None:
    line = f"{sys.executable} -m app.cli.main deblur --help | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "1")


def test_no_stdout_at_all_is_quiet() -> None:
    line = f"{sys.executable} -m app.cli.main --version >&-"
    done = subprocess.run(["bash", "-c", line], stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == ""


def test_stdout_that_is_closed_from_the_start_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*RUN, "deblur", "--help"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 1


def test_a_terminal_of_few_letters_gets_question_marks() -> None:
    """Not a fault of the program with a traceback in the log."""
    script = "import app.cli.main as m; m.run = lambda _: print('346×260 → 1152×768'); m.main()"
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=env, check=True)
    assert done.stdout == b"346?260 ? 1152?768\n"
    assert not done.stderr


def test_the_c_locale_of_old_gets_question_marks_too() -> None:
    """Its streams let surrogates pass ("surrogateescape"), and no letter beyond ASCII."""
    script = "import app.cli.main as m; m.run = lambda _: print('346\\xd7260'); m.main()"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    env.pop("PYTHONIOENCODING", None)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=env, check=False)
    assert (done.stdout, done.stderr) == (b"346?260\n", b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_stdout_on_a_full_disk_is_one_line(unbuffered: str) -> None:
    """Not a fault of the program with a traceback in the log."""
    done = subprocess.run(
        ["bash", "-c", f"{' '.join(RUN)} --version > /dev/full"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, check=False,
    )  # fmt: skip
    assert done.stderr == "halfmirror: standard output cannot be written: No space left on device\n"
    assert done.returncode == 1


def test_no_file_takes_the_place_of_a_closed_stderr() -> None:
    """What a library says on stderr would be written into it, a recording perhaps; workers inherit the same."""
    script = (
        "import app.cli.main as m, os, subprocess, sys\n"
        "m.run = lambda _: print(os.open('/', os.O_RDONLY) > 2, os.readlink('/proc/self/fd/2'), flush=True) or"
        " subprocess.call([sys.executable, '-c', 'import os; print(os.readlink(\"/proc/self/fd/2\"))'])\n"
        "m.main()"
    )
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" 2>&-', sys.executable, script],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.stdout == "True /dev/null\n/dev/null\n"


def test_a_working_directory_that_was_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main.run(["record", "-o", "cups"]) == 2
    assert capsys.readouterr().err.startswith("halfmirror: the folder this was started in has been removed")


@pytest.mark.parametrize("verb", ["train", "evaluate", "synthesise", "export"])
def test_help_has_one_example_a_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([verb, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.strip().startswith("Example: halfmirror") for line in lines) >= 2
    assert not any(line.count("halfmirror") > 1 for line in lines)
