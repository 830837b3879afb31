"""What was known of a home on a day: findings are superseded and never changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from analytics.nightly.apply import save_abstentions, save_findings
from analytics.nightly.matching import match_abstentions, match_findings
from store.analytics import findings, nights
from store.analytics.findings import DetectorRun, NewAbstention, NewFinding
from store.database.connection import Connection
from tests.ingest.conftest import register

pytestmark = pytest.mark.real
DAY = date(2026, 3, 1)
CLOCK = datetime(2026, 3, 2, 4, tzinfo=UTC)


def unit(connection: Connection) -> int:
    row = connection.execute("SELECT id FROM units WHERE code = 'u-1'").fetchone()
    assert row is not None
    return int(row["id"])


def finding(unit_id: int, *, score: float = 0.9, since: int = 20, shown: bool = True) -> NewFinding:
    at = datetime(2026, 1, since, tzinfo=UTC)
    return NewFinding(
        unit_id=unit_id,
        since_at=at,
        until_at=None,
        since_low_at=at,
        since_high_at=at,
        frozen=False,
        score=score,
        reasons=("x",),
        evidence={"days": 40},
        shown=shown,
    )


def save_run(
    connection: Connection,
    clock: datetime,
    rows: list[NewFinding],
    params: dict[str, float] | None = None,
) -> None:
    row_id = unit(connection)
    nights.set_clock(connection, clock)
    run = DetectorRun(
        detector="subletting",
        version="1",
        params=params or {"a": 1.0},
        window_from=date(2026, 1, 1),
        window_to=DAY,
    )
    changes = match_findings(rows, findings.read_findings(connection, [row_id]), run)
    save_findings(connection, run, changes)
    connection.commit()


def standing(connection: Connection, at: datetime) -> list[tuple[float, datetime | None]]:
    row = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
    assert row is not None
    return [
        (round(found.score, 2), found.raised_at)
        for found in findings.list_standing(connection, [row["id"]], ["subletting"], at)
    ]


def test_a_finding_is_never_changed_and_every_day_can_be_read_again(connection: Connection) -> None:
    register(connection)
    row_id = unit(connection)
    save_run(connection, CLOCK, [finding(row_id, score=0.2, shown=False)])
    save_run(connection, CLOCK + timedelta(days=1), [finding(row_id, score=0.7)])
    save_run(connection, CLOCK + timedelta(days=2), [finding(row_id, score=0.7)])
    save_run(connection, CLOCK + timedelta(days=3), [finding(row_id, score=0.9, since=21)])
    save_run(connection, CLOCK + timedelta(days=4), [])
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
    save_run(connection, CLOCK, [finding(row_id)])
    save_run(connection, CLOCK + timedelta(days=1), [finding(row_id)], {"a": 2.0})
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
        run = DetectorRun(
            detector="subletting",
            version="1",
            params={},
            window_from=date(2026, 1, 1),
            window_to=DAY + timedelta(days=n),
        )
        rows = [
            NewAbstention(
                unit_id=row_id,
                from_day=DAY + timedelta(days=n - 20),
                to_day=DAY + timedelta(days=n),
                reason="no_door",
            )
        ]
        stored = findings.read_abstentions(connection, [row_id])
        save_abstentions(connection, run, match_abstentions(rows, stored, run))
        connection.commit()
    (row,) = findings.list_abstentions(connection, row_id)
    assert (row.from_day, row.to_day) == (DAY - timedelta(days=20), DAY + timedelta(days=2))
    estate = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
    assert estate is not None
    assert findings.count_abstentions(connection, estate["id"], DAY)[0].units == 1
    assert (
        findings.list_known_abstentions(connection, [estate["id"]], CLOCK, DAY)[0].reason
        == "no_door"
    )
    assert (
        findings.list_known_abstentions(connection, [estate["id"]], CLOCK - timedelta(days=9), DAY)
        == []
    )
