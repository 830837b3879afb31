"""The product's and the tests' sources, parsed once: what the laws of this folder look at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = (
    "domain",
    "devices",
    "crypto",
    "store",
    "gateway",
    "ingest",
    "analytics",
    "casework",
    "notices",
    "privacy",
    "api",
    "console",
    "simulators",
    "anju",
)

#: Rooms that are still being put in order.
PENDING = {"analytics", "api", "devices", "domain", "ingest", "privacy", "store"}


@dataclass(frozen=True)
class Source:
    """One file of Python."""

    path: Path

    @property
    def name(self) -> str:
        """Return the path below the root, for messages."""
        return str(self.path.relative_to(ROOT))

    @property
    def module(self) -> str:
        """Return the dotted name."""
        return ".".join(self.path.relative_to(ROOT).with_suffix("").parts)

    @property
    def package(self) -> str:
        """Return the top-level package."""
        return self.path.relative_to(ROOT).parts[0]

    @cached_property
    def text(self) -> str:
        """Read the file."""
        return self.path.read_text("utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Parse the file."""
        return ast.parse(self.text, self.name)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """List every node of the syntax tree."""
        return tuple(ast.walk(self.tree))

    def docstrings(self) -> Iterator[ast.Constant]:
        """Yield the docstrings, as nodes."""
        for node in self.nodes:
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0] if node.body else None
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    yield first.value


MODULES = tuple(
    Source(path) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
)
TESTS = tuple(Source(path) for path in sorted((ROOT / "tests").rglob("*.py")))


def name_of(source: Source) -> str:
    """Name a parameter of a test."""
    return source.name
