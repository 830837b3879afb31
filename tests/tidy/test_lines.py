"""A line is read once: no nested ternary, no tuple assignment of unlike things, no row by key."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

import pytest

from tests.tidy.sources import MODULES, TESTS, Source, name_of

#: Rows are typed classes; only the store, which reads them, may meet one by key.
ROW_BY_KEY = re.compile(r"\b(?:row|r)\[[\"']")


def nested_ternaries(source: Source) -> Iterator[int]:
    """Yield the lines of conditional expressions that stand in another one."""
    for node in source.nodes:
        if isinstance(node, ast.IfExp):
            inner = (part for part in ast.walk(node) if part is not node)
            if any(isinstance(part, ast.IfExp) for part in inner):
                yield node.lineno


def unlike_assignments(source: Source) -> Iterator[int]:
    """Yield the lines that give several names their values at once, swaps excepted."""
    for node in source.nodes:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        for target in node.targets:
            if isinstance(target, ast.Tuple) and not _is_swap(target, node.value):
                yield node.lineno


def _is_swap(target: ast.Tuple, value: ast.Tuple) -> bool:
    return {ast.unparse(part) for part in target.elts} == {ast.unparse(part) for part in value.elts}


def rows_by_key(source: Source) -> Iterator[int]:
    """Yield the lines outside the store that read a row by key."""
    if source.package == "store":
        return
    for number, line in enumerate(source.text.splitlines(), 1):
        if ROW_BY_KEY.search(line):
            yield number


LAWS: dict[str, tuple[Callable[[Source], Iterator[int]], str]] = {
    "nested ternary": (nested_ternaries, "use `if` statements, or a function that returns early"),
    "several values in one assignment": (unlike_assignments, "write one statement a value"),
    "row by key": (rows_by_key, "let the store return a typed class"),
}


@pytest.mark.parametrize("source", MODULES, ids=name_of)
def test_a_line_is_read_once(source: Source) -> None:
    for law, (find, mend) in LAWS.items():
        found = [f"{source.name}:{number}" for number in find(source)]
        assert not found, f"{law}: {mend}\n" + "\n".join(found)


def test_only_tables_keep_their_own_layout() -> None:
    """`# fmt: skip` stands at the end of a top-level table of constants, and nowhere else."""
    for source in (*MODULES, *TESTS):
        lines = enumerate(source.text.splitlines(), 1)
        marked = {number for number, line in lines if line.endswith("# fmt: skip")}
        tables = {
            node.end_lineno
            for node in source.tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
        }
        assert marked <= tables, f"{source.name}: lines {sorted(marked - tables)}"


@pytest.mark.parametrize(
    ("text", "law"),
    [
        ("a = 1 if b else 2 if c else 3", "nested ternary"),
        ("a, b = list(x), False", "several values in one assignment"),
        ("print(row['ended_at'])", "row by key"),
    ],
)
def test_the_laws_find_what_they_forbid(text: str, law: str) -> None:
    source = Source(MODULES[0].path)
    source.__dict__["text"] = text
    source.__dict__["tree"] = ast.parse(text)
    assert list(LAWS[law][0](source)) == [1]
