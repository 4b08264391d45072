"""Every name that tests and benchmarks import from the program is there, also where no GPU runs them.

The type checker does not read them, and an import within a test for a GPU is seen by nothing else here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.test_rules import PACKAGES, ROOT

OWN = (*PACKAGES, "tests", "benchmarks")


def top_level(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those within functions and classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from top_level(child)


@cache
def names_of(module: str) -> frozenset[str] | None:
    """What a module defines at its top level; None: there is no such module."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not file.exists():
        return frozenset(p.stem for p in place.glob("*.py")) if place.is_dir() else None
    found = {p.stem for p in place.iterdir()} if place.is_dir() else set()
    for node in top_level(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(a.asname or a.name).split(".")[0] for a in node.names}
    if "__getattr__" in found:  # names that come when they are asked for
        found |= {n.value for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Constant)}
    return frozenset(found)


def missing(tree: ast.AST, where: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.level or (node.module or "").split(".")[0] not in OWN:
            continue
        there = names_of(node.module or "")
        for alias in node.names:
            if there is None or alias.name not in there:
                yield f"{where}:{node.lineno}: {node.module} has no {alias.name}"


def test_what_tests_and_benchmarks_import_is_there() -> None:
    found = [
        fault
        for folder in ("tests", "benchmarks")
        for p in sorted((ROOT / folder).rglob("*.py"))
        for fault in missing(ast.parse(p.read_text()), str(p.relative_to(ROOT)))
    ]
    assert not found, "\n".join(found)


def test_the_walk_sees_a_name_that_is_gone() -> None:
    code = "def test():\n    from inference.networks.kernels.layer_norm import layer_norm, serves\n"
    assert list(missing(ast.parse(code), "a.py")) == [
        "a.py:2: inference.networks.kernels.layer_norm has no serves"
    ]
    code = "from sync.matching import begin"
    assert list(missing(ast.parse(code), "a.py")) == ["a.py:1: sync.matching has no begin"]
    assert list(missing(ast.parse("from capture.nothing import x"), "a.py")) == [
        "a.py:1: capture.nothing has no x"
    ]
