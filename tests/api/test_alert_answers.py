"""Answers about alerts: worded in both languages, and no column that the document does not name."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from analytics.policy import load_policy
from api.alert_answers import (
    AlertAnswer,
    AlertDetailAnswer,
    describe_alert,
    describe_alert_in_detail,
    describe_fold,
)
from domain.alerting import AlertClass, Severity
from store.alerts.changes import AlertChange
from store.alerts.evidence import EvidenceDay
from store.alerts.lists import AlertFold
from tests.store.alerts.rows import make_alert

POLICY = load_policy()
AT = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.mark.parametrize(("language", "title"), [("zh", "烟雾报警"), ("en", "Smoke")])
def test_an_alert_is_worded_in_the_readers_language(language: str, title: str) -> None:
    answer = describe_alert(make_alert(), POLICY, language)
    assert answer.title == title and answer.sentence and answer.advice


def test_an_answer_holds_no_inner_number() -> None:
    body = describe_alert(make_alert(), POLICY, "zh").model_dump()
    assert not {"estate_id", "subject_id", "timezone", "dedup_key"} & set(body)
    assert body["id"] == 3 and body["severity"] is Severity.CRITICAL


def test_the_detail_adds_the_record_and_the_days() -> None:
    day = EvidenceDay(
        day=date(2026, 3, 4),
        water_l=None,
        water_cover=0.0,
        energy_kwh=1.5,
        energy_cover=1.0,
        entries=None,
        faults=(),
    )
    change = AlertChange(seq=1, at=AT, actor="watch", step="raised", note=None)
    answer = describe_alert_in_detail(make_alert(), POLICY, "en", days=[day], history=[change])
    assert answer.days[0].water_l is None, "what is not known is no zero"
    assert answer.history[0].step == "raised"
    added = AlertDetailAnswer.model_fields.keys() - AlertAnswer.model_fields.keys()
    assert added == {"days", "history"}


def test_a_fold_has_its_detectors_title() -> None:
    fold = AlertFold(
        estate="es",
        detector="hazard:smoke",
        alert_class=AlertClass.DATA,
        alerts=7,
        unacknowledged=6,
        severity=Severity.LOW,
        since_at=AT,
        raised_at=AT,
        examples=("a", "b", "c"),
        newest=9,
    )
    answer = describe_fold(fold, POLICY, "en")
    assert (answer.title, answer.alerts, answer.newest) == ("Smoke", 7, 9)
