"""What was known of a home on a day, the clock of a night, and visits that are recorded once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from store.analytics import findings, nights
from store.analytics.findings import AbstentionRow, FindingRow, Source
from store.casework import visits
from store.database.connection import Connection
from store.register import homes
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
DAY = date(2026, 3, 1)
CLOCK = datetime(2026, 3, 2, 4, tzinfo=UTC)


def unit(connection: Connection) -> int:
    row = connection.execute("SELECT id FROM units WHERE code = 'u-1'").fetchone()
    assert row is not None
    return int(row["id"])


def finding(unit_id: int, *, score: float = 0.9, since: int = 20, shown: bool = True) -> FindingRow:
    at = datetime(2026, 1, since, tzinfo=UTC)
    return FindingRow(
        unit_id=unit_id,
        since_ms=int(at.timestamp() * 1000),
        until_ms=None,
        frozen=False,
        score=score,
        reasons=("x",),
        evidence={"days": 40},
        shown=shown,
    )


def say(
    connection: Connection,
    clock: datetime,
    rows: list[FindingRow],
    params: dict[str, float] | None = None,
) -> None:
    row_id = unit(connection)
    nights.set_clock(connection, clock)
    source = Source(
        detector="subletting",
        version="1",
        params=params or {"a": 1.0},
        window_from=date(2026, 1, 1),
        window_to=DAY,
    )
    current = findings.read_current(connection, [row_id])
    findings.replace_findings(connection, current, source, rows)
    connection.commit()


def standing(connection: Connection, at: datetime) -> list[tuple[float, datetime | None]]:
    row = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
    assert row is not None
    return [
        (round(r["score"], 2), r["raised_at"])
        for r in findings.list_standing(connection, [row["id"]], ["subletting"], at)
    ]


def test_a_finding_is_never_changed_and_every_day_can_be_read_again(connection: Connection) -> None:
    register(connection)
    row_id = unit(connection)
    say(connection, CLOCK, [finding(row_id, score=0.2, shown=False)])
    say(connection, CLOCK + timedelta(days=1), [finding(row_id, score=0.7)])
    say(connection, CLOCK + timedelta(days=2), [finding(row_id, score=0.7)])
    say(connection, CLOCK + timedelta(days=3), [finding(row_id, score=0.9, since=21)])
    say(connection, CLOCK + timedelta(days=4), [])
    told = CLOCK + timedelta(days=1)
    assert standing(connection, CLOCK) == []
    assert standing(connection, CLOCK + timedelta(days=1)) == [(0.7, told)]
    assert standing(connection, CLOCK + timedelta(days=2, hours=1)) == [(0.7, told)]
    # The start moved by a day, and it is the same suspicion: it was told when it was first told.
    assert standing(connection, CLOCK + timedelta(days=3)) == [(0.9, told)]
    assert standing(connection, CLOCK + timedelta(days=4)) == []
    rows = connection.execute(
        "SELECT score, params_digest, window_to FROM findings ORDER BY id"
    ).fetchall()
    assert (
        len(rows) == 3
        and {r["window_to"] for r in rows} == {DAY}
        and all(len(r["params_digest"]) == 16 for r in rows)
    )


def test_other_parameters_are_another_finding(connection: Connection) -> None:
    register(connection)
    row_id = unit(connection)
    say(connection, CLOCK, [finding(row_id)])
    say(connection, CLOCK + timedelta(days=1), [finding(row_id)], {"a": 2.0})
    digests = [
        r["params_digest"]
        for r in connection.execute("SELECT params_digest FROM findings ORDER BY id")
    ]
    assert len(set(digests)) == 2


def test_a_stretch_that_cannot_be_judged_is_one_row_while_it_goes_on(
    connection: Connection,
) -> None:
    register(connection)
    row_id = unit(connection)
    for n in range(3):
        nights.set_clock(connection, CLOCK + timedelta(days=n))
        source = Source(
            detector="subletting",
            version="1",
            params={},
            window_from=date(2026, 1, 1),
            window_to=DAY + timedelta(days=n),
        )
        rows = [
            AbstentionRow(
                unit_id=row_id,
                from_day=DAY + timedelta(days=n - 20),
                to_day=DAY + timedelta(days=n),
                reason="no_door",
            )
        ]
        findings.replace_abstentions(
            connection, findings.read_current(connection, [row_id]), source, rows
        )
        connection.commit()
    (row,) = findings.list_abstentions(connection, row_id)
    assert (row["from_day"], row["to_day"]) == (DAY - timedelta(days=20), DAY + timedelta(days=2))
    estate = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
    assert estate is not None
    assert findings.count_abstentions(connection, estate["id"], DAY)[0].units == 1
    assert findings.abstentions_at(connection, [estate["id"]], CLOCK, DAY)[0]["reason"] == "no_door"
    assert findings.abstentions_at(connection, [estate["id"]], CLOCK - timedelta(days=9), DAY) == []


def test_the_register_of_a_night_is_what_was_known_then(connection: Connection) -> None:
    register(connection)
    row_id = unit(connection)
    connection.execute(
        "INSERT INTO declarations (code, unit_id, kind, valid_from, recorded_on) VALUES ('d1', %s, 'absence', '2026-02-01', '2026-03-05'), "
        "('d2', %s, 'guest', '2026-02-10', NULL)",
        [row_id, row_id],
    )
    connection.execute(
        "INSERT INTO tip_offs (code, unit_id, received_on, kind) VALUES ('t1', %s, '2026-03-04', 'subletting')",
        [row_id],
    )
    connection.execute(
        "INSERT INTO outside_facts (code, household_id, kind, received_on, withdrawn_on) SELECT 'o1', household_id, 'owns_home', '2026-02-01', "
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
    say(connection, CLOCK, [finding(row_id)])
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
        nights.list_estates(connection, "es")[0][1] == "es"
        and nights.list_estates(connection, "nowhere") == []
    )
    assert nights.too_late(connection, CLOCK) == 0
