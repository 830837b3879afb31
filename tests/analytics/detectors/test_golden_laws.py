"""Laws of the golden folders and of what detectors declare of themselves.

Every word of a golden file is known; a changed case wants a changed version; every reason has its
clause in both languages; every abstention has its remedy; a detector reads the columns that it
names and no others.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from analytics.detectors import DETECTORS
from analytics.detectors.contract import Detector
from analytics.remedies import REMEDIES
from analytics.wording import LANGUAGES
from tests.analytics.detectors import golden_versions, golden_vocabulary
from tests.analytics.detectors.golden_versions import GOLDEN, GoldenVersion
from tests.analytics.detectors.golden_vocabulary import BadGoldenFile, check_case
from tests.analytics.detectors.test_golden import CASES, frame_of, run

POLICY_TABLE = tomllib.loads(files("analytics").joinpath("policy.toml").read_text("utf-8"))
EVERY_DETECTOR = pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.key)


def load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text("utf-8"))


# The vocabulary --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_golden_file_uses_known_words_only(path: Path) -> None:
    check_case(load(path), f"{path.parent.name}/{path.name}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"span": []}, "'span' is no word of a golden file; did you mean 'spans'"),
        ({"spans": [{"days": 3, "watter": "used"}]}, r"spans\[0\]: 'watter'.*'water'"),
        ({"spans": [{"days": 3, "water": "drunk"}]}, r"spans\[0\].water: 'drunk'.*use one of"),
        ({"spans": [{"kwh": 1.0}]}, r"spans\[0\]: lacks \['days'\]"),
        ({"spans": [{"days": 3, "tokens": [{"token": 1}]}]}, r"tokens\[0\]: lacks"),
        ({"fitted": ["gas"]}, "fitted: 'gas'"),
        ({"told": [{"day": 1, "source": "press", "kind": "x"}]}, r"told\[0\].source: 'press'"),
        ({"findings": [{"since": 1, "reasons": []}]}, r"findings\[0\]: 'since'.*'since_day'"),
        ({"about": None}, r"lacks \['about'\]"),
    ],
)
def test_a_bad_word_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    table = {"about": "A home.", "spans": [{"days": 3}], **change}
    case = {word: value for word, value in table.items() if value is not None}
    with pytest.raises(BadGoldenFile, match=message):
        check_case(case, "x")


def test_the_readme_of_the_golden_folder_lists_every_word() -> None:
    readme = (GOLDEN / "README.md").read_text("utf-8")
    tables = (
        golden_vocabulary.CASE_WORDS,
        golden_vocabulary.SPAN_WORDS,
        golden_vocabulary.WATER_WORDS,
        golden_vocabulary.TOKEN_WORDS,
        golden_vocabulary.REPORT_WORDS,
        golden_vocabulary.FINDING_WORDS,
    )
    rows = {f"| `{word}` | {meaning} |" for table in tables for word, meaning in table.items()}
    shown = {line for line in readme.splitlines() if line.startswith("| `")}
    assert rows == shown, (
        f"golden/README.md and golden_vocabulary.py differ in {sorted(rows ^ shown)}"
    )


# Versions --------------------------------------------------------------------------------------


@EVERY_DETECTOR
def test_a_changed_golden_file_wants_a_changed_version(detector: Detector[Any]) -> None:
    recorded = golden_versions.read_table(golden_versions.TABLE.read_text("utf-8"))
    golden = golden_versions.read_golden()[detector.key]
    changed = golden_versions.changed_cases(recorded.get(detector.key), golden)
    assert not changed, golden_versions.how_to_mend(detector.key, changed)
    assert recorded.get(detector.key) == golden, (
        f"{detector.key}: golden/versions.toml is out of date; run `{golden_versions.COMMAND}`"
    )


def test_a_case_may_be_added_but_not_changed_under_one_version() -> None:
    recorded = GoldenVersion(version="1", cases={"near-a": "1", "positive-b": "2"})
    added = GoldenVersion(version="1", cases={**recorded.cases, "negative-c": "3"})
    changed = GoldenVersion(version="1", cases={"near-a": "9", "positive-b": "2"})
    removed = GoldenVersion(version="1", cases={"positive-b": "2"})
    assert golden_versions.changed_cases(recorded, added) == []
    assert golden_versions.changed_cases(recorded, changed) == ["near-a"]
    assert golden_versions.changed_cases(recorded, removed) == ["near-a"]
    assert golden_versions.changed_cases(recorded, replace(changed, version="2")) == []
    assert golden_versions.changed_cases(None, added) == []


def test_the_table_is_read_as_it_was_written() -> None:
    golden = golden_versions.read_golden()
    assert golden_versions.read_table(golden_versions.write_table(golden)) == golden


# Reasons ---------------------------------------------------------------------------------------


@EVERY_DETECTOR
def test_every_reason_has_its_clause_in_both_languages(detector: Detector[Any]) -> None:
    clauses = POLICY_TABLE[detector.key].get("clauses", {})
    for reason in detector.reasons:
        for language in LANGUAGES:
            assert clauses.get(reason, {}).get(language, "").strip(), (
                f"{detector.key}: add {language} to [{detector.key}.clauses] {reason} "
                "in analytics/policy.toml"
            )
    spare = sorted(set(clauses) - set(detector.reasons))
    assert not spare, f"{detector.key}: no reason for the clauses {spare}; remove or declare them"


@EVERY_DETECTOR
def test_a_detector_gives_the_reasons_that_it_declares(detector: Detector[Any]) -> None:
    for path in sorted((GOLDEN / detector.key).glob("*.toml")):
        findings, abstentions = run(path, frame_of(load(path)))
        for finding in findings:
            assert set(finding.reasons) <= set(detector.reasons), path.name
        assert {a.reason for a in abstentions} <= set(detector.abstention_reasons), path.name


@EVERY_DETECTOR
def test_every_abstention_has_its_remedy(detector: Detector[Any]) -> None:
    missing = sorted(set(detector.abstention_reasons) - set(REMEDIES))
    assert not missing, f"{detector.key}: add {missing} to REMEDIES in analytics/remedies.py"


# Columns ---------------------------------------------------------------------------------------


class RecordedColumns(Mapping[str, NDArray[Any]]):
    """Columns that note which of them were read."""

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self._columns = columns
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> NDArray[Any]:
        self.read.add(name)
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


@EVERY_DETECTOR
def test_a_detector_reads_the_columns_that_it_names(detector: Detector[Any]) -> None:
    read: set[str] = set()
    for path in sorted((GOLDEN / detector.key).glob("*.toml")):
        frame = frame_of(load(path))
        columns = RecordedColumns(frame.columns)
        run(path, replace(frame, columns=columns))
        read |= columns.read
    assert read == detector.inputs, (
        f"{detector.key}: `inputs` and what its golden cases read differ in "
        f"{sorted(read ^ detector.inputs)}"
    )
