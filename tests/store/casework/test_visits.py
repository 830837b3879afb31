"""What was known of a home on a day, the clock of a night, and visits that are recorded once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from store.analytics import nights
from store.casework import visits
from store.database.connection import Connection
from store.register import homes
from store.series import dirty_spans
from tests.ingest.conftest import register
from tests.store.analytics.test_findings import finding, save_run

pytestmark = pytest.mark.real
DAY = date(2026, 3, 1)
CLOCK = datetime(2026, 3, 2, 4, tzinfo=UTC)


def unit(connection: Connection) -> int:
    row = connection.execute("SELECT id FROM units WHERE code = 'u-1'").fetchone()
    assert row is not None
    return int(row["id"])


def test_the_register_of_a_night_is_what_was_known_then(connection: Connection) -> None:
    register(connection)
    row_id = unit(connection)
    connection.execute(
        "INSERT INTO declarations (code, unit_id, kind, valid_from, recorded_on) "
        "VALUES ('d1', %s, 'absence', '2026-02-01', '2026-03-05'), "
        "('d2', %s, 'guest', '2026-02-10', NULL)",
        [row_id, row_id],
    )
    connection.execute(
        "INSERT INTO tip_offs (code, unit_id, received_on, kind) "
        "VALUES ('t1', %s, '2026-03-04', 'subletting')",
        [row_id],
    )
    connection.execute(
        "INSERT INTO outside_facts (code, household_id, kind, received_on, withdrawn_on) "
        "SELECT 'o1', household_id, 'owns_home', '2026-02-01', "
        "'2026-03-05' FROM tenancies WHERE unit_id = %s",
        [row_id],
    )
    before, after = (
        homes.read_homes(connection, [row_id], DAY),
        homes.read_homes(connection, [row_id], date(2026, 3, 5)),
    )
    assert [d[1] for d in before.declarations] == ["guest"] and [
        d[1] for d in after.declarations
    ] == [
        "absence",
        "guest",
    ]
    assert [(t[1], t[2]) for t in before.told] == [("outside", "owns_home")] and [
        t[1] for t in after.told
    ] == ["tip_off"]
    assert before.tenancies and {d[1] for d in before.devices} >= {"water"}


def test_a_visit_is_recorded_once_with_the_findings_that_it_tested(connection: Connection) -> None:
    register(connection)
    row_id = unit(connection)
    save_run(connection, CLOCK, [finding(row_id)])
    visit = visits.NewVisit(
        code="v1",
        unit_id=row_id,
        visited_on=DAY,
        reason="lead",
        outcome="confirmed",
        kind="subletting",
    )
    scope = [r["id"] for r in connection.execute("SELECT id FROM estates")]
    first = visits.record_visit(connection, visit, actor="me", known_at=CLOCK, kinds=["subletting"])
    assert (
        visits.record_visit(connection, visit, actor="me", known_at=CLOCK, kinds=["subletting"])
        == first
    )
    (tested,) = visits.list_finding_outcomes(connection, scope)
    assert (tested.detector, tested.outcome, tested.month) == (
        "subletting",
        "confirmed",
        "2026-03",
    )
    with pytest.raises(visits.BadVisit, match="v1"):
        visits.record_visit(
            connection,
            visits.NewVisit(
                code="v1", unit_id=row_id, visited_on=DAY, reason="lead", outcome="unfounded"
            ),
            actor="me",
            known_at=CLOCK,
            kinds=[],
        )
    control = visits.NewVisit(
        code="v2", unit_id=row_id, visited_on=DAY, reason="control", outcome="unfounded"
    )
    visits.record_visit(
        connection, control, actor="me", known_at=CLOCK - timedelta(days=30), kinds=["subletting"]
    )
    assert (
        len(visits.list_control_visits(connection, scope)) == 1
        and len(visits.list_outcomes(connection, scope)) == 2
    )
    listed = visits.list_visits(connection, scope)
    assert [(v.code, v.tested) for v in listed] == [("v2", []), ("v1", ["subletting"])]
    assert (
        visits.list_let_homes(connection, scope, DAY) == []
        and visits.list_visits(connection, []) == []
    )


def test_an_estate_that_is_played_is_marked_and_has_nights_only(connection: Connection) -> None:
    register(connection)
    assert nights.mark_recording(connection, ["es", "nowhere"], as_sent=True) == ["nowhere"]
    assert (
        nights.list_estates(connection, "es")[0].code == "es"
        and nights.list_estates(connection, "nowhere") == []
    )
    assert dirty_spans.count_spans_received_after(connection, CLOCK) == 0
