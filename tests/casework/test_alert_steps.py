from __future__ import annotations

from typing import Any

import pytest

from casework.alert_steps import StepTarget, UnknownAlert, acknowledge, comment
from domain.access import Principal, Role
from domain.alerting import NotAllowed
from store.alerts.changes import list_changes
from store.database.connection import connect
from tests.api.conftest import site  # noqa: F401

pytestmark = pytest.mark.real


def test_steps_are_legal_and_on_record(site: dict[str, Any]) -> None:
    with connect(site["dsn"]) as connection:
        row = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
        assert row is not None
        who = Principal(user_id=1, name="wang", role=Role.COMPLIANCE, estate_ids=(row["id"],))
        lead = StepTarget(alert_id=site["alerts"]["lead"])
        comment(connection, who, lead.alert_id, "called, nobody answers")
        assert acknowledge(connection, who, lead, note="seen") == 2
        with pytest.raises(NotAllowed):
            acknowledge(connection, who, lead)
        with pytest.raises(UnknownAlert):
            comment(connection, who, site["alerts"]["far"], "x")
        steps = [(h.actor, h.step) for h in list_changes(connection, site["alerts"]["lead"])]
    assert steps == [("test", "raised"), ("wang", "comment"), ("wang", "acknowledged")]
