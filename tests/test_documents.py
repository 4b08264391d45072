"""What is written for people is so: commands parse, links lead somewhere, papers are those of the cards.

Commands are read from README, docs, recipes, and from every string of the source (examples, errors, advice).
They are parsed, not run: names of verbs and options and how many values they take, not the values.
"""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from app.cli.program import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "benchmarks" / "results").glob("*.md"))
RECIPES = sorted((ROOT / "training" / "recipes").glob("*.toml"))
PACKAGES = ("app", "calibration", "capture", "inference", "recordings", "sync", "training")
CARDS = sorted((ROOT / "inference" / "cards").glob("*.toml"))

COMMAND = typer.main.get_command(app)
# An ellipsis, or the grey words of a usage line, stands for more of the same: nothing to parse.
_LOOSE = re.compile(r"…|\.\.\.|[\[{|}]")


def lines_of(text: str) -> list[str]:
    """Lines, those that end in a backslash joined with what follows."""
    return re.sub(r"\\\n\s*#?", " ", text).splitlines()


def commands_in(text: str) -> Iterator[str]:
    """Command lines of the program: whole lines of a block, and those between backticks."""
    for line in lines_of(text):
        line = line.strip().removeprefix("# ")
        if re.match(r"halfmirror [a-z]", line):
            yield re.split(r" {2,}|\s#\s", line)[0]
        else:
            yield from re.findall(r"`(halfmirror [a-z][^`]*)`", line)


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words lead to, and those that are left."""
    command: Any = COMMAND
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def fault(line: str) -> str:
    """What is wrong with a command line, "" when nothing is."""
    command, words = leaf(shlex.split(line)[1:])
    if hasattr(command, "commands"):  # a group told of in a sentence has nothing behind it
        return f"no command {words[0]!r}" if words else ""
    try:
        command.make_parser(typer.Context(command)).parse_args(words)
    except Exception as e:
        return str(e) or type(e).__name__
    return ""


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", [*PAGES, *RECIPES], ids=named)
def test_commands_on_paper(page: Path) -> None:
    wrong = {line: fault(line) for line in commands_in(page.read_text()) if not _LOOSE.search(line)}
    assert not {line: why for line, why in wrong.items() if why}


def test_there_are_commands_to_look_at() -> None:
    """And the look at them finds what is wrong."""
    assert sum(1 for _ in commands_in((ROOT / "README.md").read_text())) > 40
    assert "no command" in fault("halfmirror leave")
    assert "--tarnish" in fault("halfmirror live simulated --tarnish 3")
    assert "--seconds" in fault("halfmirror live --seconds")
    assert fault("halfmirror live simulated:night --network edi --seconds 3") == ""


def strings() -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path, node.value


def test_commands_in_the_source() -> None:
    """Examples of the help, and what errors advise to run: a sentence may go on behind."""
    found = 0
    wrong = []
    for path, text in strings():
        for line in re.findall(r"halfmirror [a-z][-a-z]* [^;,()`\n]*", text):
            found += 1
            command, words = leaf(line.split()[1:])
            options = {o for p in command.params for o in p.opts} | {"--help", "--debug"}
            if hasattr(command, "commands") and words:
                wrong.append(f"{named(path)}: {line!r}: no command {words[0]!r}")
            wrong += [
                f"{named(path)}: {line!r}: no option {w}"
                for w in words
                if w.startswith("--") and w not in options
            ]
    assert found > 50
    assert not wrong


def targets(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    assert not [t for t in targets(page) if "://" not in t and not (page.parent / t).exists()]


def test_benchmarks_named_on_paper_are_there() -> None:
    named_modules = {m for p in PAGES for m in re.findall(r"python -m (benchmarks\.\w+)", p.read_text())}
    assert len(named_modules) > 5
    assert not [m for m in named_modules if not (ROOT / f"{m.replace('.', '/')}.py").exists()]


@pytest.mark.parametrize("card", CARDS, ids=lambda p: p.stem)
def test_readme_names_the_paper_of_each_network(card: Path) -> None:
    entry = tomllib.loads(card.read_text())
    rows = [r for r in (ROOT / "README.md").read_text().splitlines() if f"`{card.stem}`" in r]
    assert rows
    if not entry["paper"].startswith("none"):
        assert any(entry["paper"] in r for r in rows)


def test_the_citation_is_of_this_version() -> None:
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    citation = dict(line.split(": ", 1) for line in lines if re.match(r"\w[-\w]*: ", line))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["title"].lower() == project["name"]
