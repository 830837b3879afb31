"""Tests of the measures: tiny sources with one thing to count, and laws for every source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tidy.measures import Measure, Project, main, measure, read_project

SAMPLE = '''"""A module."""

row = {"name": 1}
first, second = 1, 2
label = row["name"] if first else second


@router.get("/things")
def list_things(limit: int) -> dict[str, Any]:
    """List what was told."""
    if limit:
        return {}
    return row
'''
PER_THOUSAND = [
    ("ternaries", "label = 1 if ready else 2"),
    ("tuple assignments", "left, right = 1, 2"),
    ("statements over 60 nodes", f"numbers = [{', '.join('1' for _ in range(57))}]"),
]
COUNTS = [
    ("nested ternaries", "label = 1 if ready else (2 if late else 3)", 1),
    ("nested ternaries", "label = 1 if ready else 2", 0),
    ("public class names used twice", "class Alert: ...\nclass Alert: ...", 1),
    ("public class names used twice", "class _Alert: ...\nclass _Alert: ...", 0),
    ("lines with `# fmt: skip`", "TABLE = [1]  # fmt: skip", 1),
    ("lines with `dict[str, Any]`", "rows: list[dict[str, Any]] = []", 1),
    ('lines with "told"', '"""What is told, and told again."""\nuntold = told_at = 1', 1),
    ("functions over 70 lines", "def long():\n" + "    pass\n" * 70, 1),
    ("functions over 70 lines", "def long():\n" + "    pass\n" * 69, 0),
    ("functions over 6 parameters", "def wide(a, b, c, *, d, e, f, g): ...", 1),
    ("functions over 6 parameters", "def wide(self, a, b, c, *, d, e, f, **rest): ...", 0),
    ("functions of complexity over 10", "def branching():\n" + "    if a: pass\n" * 10, 1),
    ("functions of complexity over 10", "def branching():\n" + "    if a: pass\n" * 9, 0),
]
TYPED = ["Alert", "list[Alert]", "Response", "HTMLResponse", "None", "Annotated[Alert, Body()]"]
UNTYPED = ["dict[str, Any]", "list[dict[str, int]]", "Any", "JSONResponse", "Page[dict[str, Any]]"]


def take(text: str, package: str = "api") -> dict[str, Measure]:
    """Return the measures of one module by their names."""
    project = Project({Path(package) / "alerts.py": text}, {})
    return {figure.name: figure for figure in measure(project)}


def write(root: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


@pytest.mark.parametrize(("name", "line"), PER_THOUSAND)
def test_one_of_ten_lines_is_a_hundred_per_thousand(name: str, line: str) -> None:
    plain = "\n".join("count = 1" for _ in range(9))
    assert take(f"{line}\n\n{plain}")[f"{name} per 1,000 lines"].value == 100
    assert take(plain)[f"{name} per 1,000 lines"].value == 0


@pytest.mark.parametrize(("name", "text", "count"), COUNTS)
def test_counts(name: str, text: str, count: int) -> None:
    assert take(text)[name].value == count


@pytest.mark.parametrize(
    "text", ["first, second = pair", "first, *rest = 1, 2, 3", "first = second = 1", "pair = 1, 2"]
)
def test_unpacking_is_no_tuple_assignment(text: str) -> None:
    assert take(text)["tuple assignments per 1,000 lines"].value == 0


def test_a_compound_statement_counts_by_its_header() -> None:
    body = "\n".join("    count = 1" for _ in range(60))
    assert take(f"if ready:\n{body}")["statements over 60 nodes per 1,000 lines"].value == 0


def test_names_are_measured_where_they_are_defined() -> None:
    body = "        self.abc, _ = abcd\n        abcdef = abcd"
    figures = take(f"class Abcdefg:\n    def ab(self, abcd):\n{body}")
    assert figures["mean letters of a variable"].value == 6
    assert figures["mean letters of a defined name"].value == pytest.approx((7 + 2 + 4 + 3 + 6) / 5)


def test_the_share_of_long_lines() -> None:
    assert take("#" * 101 + "\n" + "#" * 100)["lines over 100 characters, percent"].value == 50


def test_a_rows_subscript_counts_outside_the_store_only() -> None:
    name = 'lines with `row["…"]` outside store/'
    text = 'name = row["name"] + row["other"]\nplace = grow["place"] + row[0]'
    assert take(text)[name].value == 1
    assert take(text, "store")[name].value == 0


@pytest.mark.parametrize("answer", TYPED)
def test_a_typed_answer(answer: str) -> None:
    figures = take(f'@router.get("/alerts")\ndef list_alerts() -> {answer}: ...')
    assert str(figures["routes without a typed answer"]) == "0 of 1"


@pytest.mark.parametrize("answer", UNTYPED)
def test_an_answer_without_a_type(answer: str) -> None:
    name = "routes without a typed answer"
    handler = f"def list_alerts() -> {answer}: ..."
    assert str(take(f'@router.post("/alerts", response_model=None)\n{handler}')[name]) == "1 of 1"
    assert str(take(f'@router.post("/alerts", response_model=Alerts)\n{handler}')[name]) == "0 of 1"


def test_a_route_without_annotation_is_not_typed_and_a_plain_function_no_route() -> None:
    text = '@router.delete("/alerts")\nasync def end(): ...\n\n@cache(1)\ndef get(): ...'
    assert str(take(text)["routes without a typed answer"]) == "1 of 1"
    assert str(take(text)["routes without a body (204)"]) == "0 of 1"


def test_complexity_counts_what_branches() -> None:
    cases = "    match a:\n        case 1: pass\n        case _: pass\n"
    tries = "    try: pass\n    except A: pass\n    else: pass\n"
    loops = "    for a in b: pass\n    while a: pass\n    def inner(): pass\n"
    counted = "def branching():\n" + cases + tries + loops  # 1 + 1 + 2 + 3
    name = "functions of complexity over 10"
    assert take(counted + "    if a: pass\n" * 3)[name].value == 0
    assert take(counted + "    if a: pass\n" * 4)[name].value == 1


def test_packages_are_found_and_tests_stand_apart(tmp_path: Path) -> None:
    sources = {
        "api/__init__.py": "",
        "api/alerts.py": "a = 1\nb = 1",
        "api/users.py": "a = 1\nb = 1",
    }
    tests = {
        "tests/api/test_alerts.py": "a = 1",
        "api/tests/test_more.py": "a = 1",
        "tests/conftest.py": "a = 1",
    }
    write(tmp_path, sources | tests | {"scripts/tool.py": "a = 1"})
    project = read_project(tmp_path)
    assert {path.as_posix() for path in project.sources} == set(sources)
    assert {path.as_posix() for path in project.tests} == set(tests)
    figures = {figure.name: figure for figure in measure(project)}
    assert figures["test lines to source lines"].value == 0.75
    assert str(figures["modules without a test of their own"]) == "1 of 2"


def test_packages_can_be_named(tmp_path: Path) -> None:
    write(tmp_path, {"src/h11/events.py": "a = 1"})
    with pytest.raises(SystemExit, match="--packages"):
        read_project(tmp_path)
    with pytest.raises(SystemExit, match="--packages"):
        read_project(tmp_path, ["src/h12"])
    assert [path.name for path in read_project(tmp_path, ["src/h11"]).sources] == ["events.py"]


def test_an_empty_project_has_figures(tmp_path: Path) -> None:
    write(tmp_path, {"api/__init__.py": ""})
    assert {figure.value for figure in measure(read_project(tmp_path))} == {0}


def test_two_checkouts_in_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, {"old/api/__init__.py": "a = 1 if b else 2", "new/api/__init__.py": "a = 1"})
    arguments = ["--root", str(tmp_path / "new"), "--beside", str(tmp_path / "old")]
    main(arguments)
    head, ternaries = capsys.readouterr().out.splitlines()[:2]
    assert head.split()[:3] == ["measure", "before", "after"]
    assert ternaries.split() == ["ternaries", "per", "1,000", "lines", "1000.0", "0.0", "0-7"]
    main([*arguments, "--json"])
    columns = json.loads(capsys.readouterr().out)
    assert [columns["before"][0]["value"], columns["after"][0]["value"]] == [1000, 0]


@given(st.lists(st.integers(0, len(SAMPLE.splitlines())), max_size=20))
def test_blank_lines_change_shares_of_all_lines_only(places: list[int]) -> None:
    changed = _insert_blank_lines(SAMPLE, places)
    before = take(SAMPLE)
    after = take(changed)
    shares = {"lines over 100 characters, percent", "test lines to source lines"}
    assert {name for name in before if before[name] != after[name]} <= shares


@given(st.integers(1, 5))
def test_counts_add_up_and_rates_stay_over_copies(copies: int) -> None:
    once = take(SAMPLE)
    project = Project({Path(f"api/alerts_{number}.py"): SAMPLE for number in range(copies)}, {})
    for figure in measure(project):
        is_rate = any(word in figure.name for word in ("1,000", "mean", "percent", "test lines"))
        assert figure.value == pytest.approx(once[figure.name].value * (1 if is_rate else copies))


def _insert_blank_lines(text: str, places: list[int]) -> str:
    lines = text.splitlines()
    for place in places:
        lines.insert(place, "")
    return "\n".join(lines)
