"""SQL stands in the store, as text that is whole: never elsewhere, and never put together."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.tidy.sources import MODULES, Source, name_of

STATEMENT = re.compile(
    r"\b(?:SELECT\b.+?\bFROM\b|INSERT\s+INTO\b|UPDATE\s+\w+(?:\s+\w+)?\s+SET\b|DELETE\s+FROM\b"
    r"|(?:CREATE|ALTER|DROP)\s+(?:TABLE|INDEX|VIEW|FUNCTION|DATABASE|ROLE)\b)",
    re.S,
)
#: The edge cannot reach the server's store; its files are SQLite, and all of their SQL stands here.
EDGE_FILES = {"gateway/outbox.py", "gateway/outbox_file.py", "gateway/faces/template_store.py"}


def sql_texts(source: Source) -> Iterator[ast.expr]:
    """Yield every string, f-strings too, that holds a statement; docstrings are prose."""
    prose = {id(node) for node in source.docstrings()}
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            if STATEMENT.search(node.value):
                yield node
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(getattr(part, "value", "x")) for part in node.values)
            if STATEMENT.search(text):
                yield node


def assembled_sql(source: Source) -> Iterator[int]:
    """Yield the lines where a statement is put together: f-string, `+`, `%`, or `str.format`.

    `sql.SQL(…).format(…)` quotes what it is given, so it is the one way that is left.
    """
    texts = {id(node) for node in sql_texts(source)}
    for node in source.nodes:
        if isinstance(node, ast.JoinedStr) and id(node) in texts:
            yield node.lineno
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
            if id(node.left) in texts or id(node.right) in texts:
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # noqa: SIM102
            if node.func.attr in ("format", "join", "replace") and id(node.func.value) in texts:
                yield node.lineno


@pytest.mark.parametrize("source", [s for s in MODULES if s.package != "store"], ids=name_of)
def test_sql_stands_in_the_store_only(source: Source) -> None:
    if source.name in EDGE_FILES:
        return
    found = [f"{source.name}:{node.lineno}" for node in sql_texts(source)]
    assert not found, "SQL belongs into store/:\n" + "\n".join(found)


@pytest.mark.parametrize("source", [s for s in MODULES if s.package == "store"], ids=name_of)
def test_sql_is_never_put_together_from_text(source: Source) -> None:
    found = [f"{source.name}:{line}" for line in assembled_sql(source)]
    assert not found, "use sql.SQL(…).format(…) or parameters:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        'x = f"SELECT a FROM {table}"',
        'x = "SELECT a FROM " + table',
        'x = "SELECT a FROM %s" % table',
        'x = "SELECT a FROM {}".format(table)',
    ],
)
def test_the_law_finds_sql_that_is_put_together(text: str) -> None:
    source = Source(MODULES[0].path)
    source.__dict__["tree"] = ast.parse(text)
    assert list(assembled_sql(source)) == [1]
