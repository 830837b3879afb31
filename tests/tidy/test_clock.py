"""No test's verdict hangs on the time of day: clocks are simulated, and none is read at import.

A test with a real server must speak of the present, since the server does. It then reads the clock
when it runs: a `NOW` that was taken at import is old by the time the test begins.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.tidy.sources import TESTS, Source, name_of

CLOCKS = {
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "date.today",
    "time.time",
    "time.time_ns",
}
#: Tests that are peers themselves, on sockets of their own, and must speak of the present.
OWN_PEERS = {
    "tests/gateway/test_bus.py",
    "tests/gateway/test_commands.py",
    "tests/gateway/test_fire.py",
    "tests/gateway/test_pushes.py",
    "tests/gateway/vision/test_fetch.py",
    "tests/gateway/vision/test_worker.py",
    "tests/store/gateways/test_identities.py",
}
#: Their parameters need the present day at import; an age of minutes changes no verdict of theirs.
PRESENT_DAY = {"tests/api/test_visits.py", "tests/store/people/test_face_consents.py"}
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def clock_reads(node: ast.AST, *, into_functions: bool) -> Iterator[int]:
    """Yield the lines that read the wall clock; defaults and decorators run at import."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCKS:
        yield node.lineno
    for field, value in ast.iter_fields(node):
        if isinstance(node, Function) and field == "body" and not into_functions:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from clock_reads(child, into_functions=into_functions)


@pytest.mark.parametrize("source", TESTS, ids=name_of)
def test_no_clock_is_read_at_import(source: Source) -> None:
    found = list(clock_reads(source.tree, into_functions=False))
    assert not found or source.name in PRESENT_DAY, (
        f"{source.name}: lines {found}: read the clock in a fixture or in the test"
    )


@pytest.mark.parametrize(
    "source", [s for s in TESTS if s.path.name.startswith("test_")], ids=name_of
)
def test_only_tests_of_real_servers_read_the_clock(source: Source) -> None:
    found = list(clock_reads(source.tree, into_functions=True))
    real = "pytest.mark.real" in source.text or source.name in OWN_PEERS
    assert real or not found, (
        f"{source.name}: lines {found}: give the code a clock, or mark it real"
    )


@pytest.mark.parametrize(
    "text",
    [
        "NOW = datetime.now(UTC)",
        "class A:\n    at = time.time()",
        "def f(at=time.time()): ...",
    ],
)
def test_the_law_finds_a_clock_read_at_import(text: str) -> None:
    assert list(clock_reads(ast.parse(text), into_functions=False))
    assert not list(clock_reads(ast.parse("def f(): return time.time()"), into_functions=False))
