"""The house in order: what no linter checks. A rule that stands here is a promise to the next
reader.
"""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from analytics.detectors import DETECTORS
from tests.conftest import ROOT
from tests.tidy.sources import MODULES as SOURCES

MODULES = tuple(source.path for source in SOURCES)
FORBIDDEN_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "manager",
    "base",
    "misc",
    "core",
}
MAX_MODULE = 500
MAX_FUNCTION = 70


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_module_opens_with_a_paragraph_and_stays_small(path: Path) -> None:
    text = path.read_text("utf-8")
    doc = ast.get_docstring(ast.parse(text))
    assert doc, f"{name(path)}: say in a paragraph at the top what it is for"
    assert len(text.splitlines()) <= MAX_MODULE, f"{name(path)}: over {MAX_MODULE} lines; split it"
    assert path.stem not in FORBIDDEN_NAMES, f"{name(path)}: the name says nothing"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_functions_stay_small(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION, (
                f"{name(path)}:{node.lineno} {node.name}: {length} lines; split it"
            )


@pytest.mark.parametrize(
    "path", [p for p in MODULES if p.name not in ("__init__.py", "__main__.py")], ids=name
)
def test_every_module_has_its_test(path: Path) -> None:
    """A module's test is `tests/<package>/test_<module>.py`, a test of that folder which imports
    it, or a golden folder.
    """
    folder = ROOT / "tests" / path.parent.relative_to(ROOT)
    if (folder / f"test_{path.stem}.py").exists():
        return
    if path.parent.parent.name == "devices" and list(
        (ROOT / "tests" / "devices" / "golden").glob(f"*/{path.stem}*/*.toml")
    ):
        return
    detectors = [
        d
        for d in DETECTORS
        if getattr(d.detect, "func", d.detect).__module__ == f"analytics.detectors.{path.stem}"
    ]
    if path.parent.name == "detectors" and detectors:
        # Each has a golden folder: see test_detectors_have_golden_folders_and_runbooks.
        return
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    assert module in TESTED, f"{name(path)}: no test imports it"


def imported_by_tests() -> frozenset[str]:
    """List every module and name that a test imports, dotted."""
    found: set[str] = set()
    for test in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(test.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module)
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
    return frozenset(found)


TESTED = imported_by_tests()


def test_no_path_of_a_machine_and_no_index_is_committed() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    pattern = re.compile(
        r"(?<![\w./])/(?:work|farm|home|root)/[A-Za-z.]|--(?:extra-)?index-url|files\.pythonhosted|registry\.npmjs"
    )
    for file in tracked:
        path = ROOT / file
        if (
            path.suffix in {".py", ".toml", ".md", ".yml", ".txt", ".sh", ".in", ".conf"}
            and path != Path(__file__).resolve()
        ):
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                assert not pattern.search(line), f"{file}:{number}: {line.strip()[:80]}"


def test_locks_pin_every_package_by_hash() -> None:
    for lock in (ROOT / "locks").glob("*.txt"):
        entries = re.findall(
            r"^([a-z0-9][^=\n]*)==[^\n]*\\\n((?:\s+--hash=sha256:[0-9a-f]{64}[^\n]*\n?)+)",
            lock.read_text("utf-8"),
            re.M,
        )
        names = re.findall(r"^([a-z0-9][a-z0-9_.-]*)==", lock.read_text("utf-8"), re.M)
        assert len(entries) == len(names) > 5, lock.name


def test_faces_install_without_a_compiler() -> None:
    text = (ROOT / "locks" / "faces.txt").read_text("utf-8")
    assert re.search(r"^dlib-bin==", text, re.M)
    assert not re.search(r"^dlib==", text, re.M)
    assert int(re.search(r"^setuptools==(\d+)", text, re.M)[1]) < 81  # type: ignore[index]


def test_detectors_have_golden_folders_and_runbooks() -> None:
    for detector in DETECTORS:
        golden = ROOT / "tests" / "analytics" / "detectors" / "golden" / detector.key
        names = {path.stem.split("-")[0] for path in golden.glob("*.toml")}
        assert {"positive", "negative", "near"} <= names, f"{detector.key}: has {sorted(names)}"
        assert (ROOT / detector.runbook).exists(), detector.runbook
        assert detector.legal_basis
