from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from analytics.policy import load_policy
from api import passwords
from api.app import SiteSettings, create_app
from api.passwords import make_user
from domain.access import Role
from domain.alerting import AlertClass, AlertKey, Severity, SubjectKind
from store.alerts.raising import NewAlert, raise_alert
from store.database.connection import Connection, connect, open_pool
from store.live.bus import LiveBus
from store.series import unit_days
from tests.ingest.conftest import register


def save_water(connection: Connection, unit_id: int, days: list[date]) -> None:
    """Give a unit facts: 100 litres on each day."""
    names = (*unit_days.NUMBERS, *unit_days.INSTANTS)
    columns = {name: np.full(len(days), np.nan) for name in names}
    columns |= {
        "water_l": np.full(len(days), 100.0),
        "water_cover": np.ones(len(days)),
        "energy_cover": np.zeros(len(days)),
        "energy_samples": np.zeros(len(days)),
        "water_samples": np.full(len(days), 24.0),
    }
    rows = unit_days.UnitDays(
        unit=np.full(len(days), unit_id, dtype=np.int32),
        day=np.array([unit_days.day_number(day) for day in days], dtype=np.int32),
        columns=columns,
    )
    unit_days.save_days(connection, rows, [unit_id], min(days), max(days))


def lead(connection: Connection, estate: str, unit_id: int, subject: str) -> int:
    row = connection.execute("SELECT id FROM estates WHERE code = %s", [estate]).fetchone()
    assert row is not None
    evidence = {
        "days": 60,
        "families": ["water"],
        "water_l": 0.0,
        "kwh_per_day": None,
        "entries": None,
        "coverage": 1.0,
    }
    return raise_alert(
        connection,
        NewAlert(
            key=AlertKey(detector="unoccupied", subject_kind=SubjectKind.UNIT, subject_id=unit_id),
            estate_id=row["id"],
            subject=subject,
            alert_class=AlertClass.COMPLIANCE,
            severity=Severity.LOW,
            score=0.5,
            reasons=("no_water_used",),
            evidence=evidence,
            policy_version="1",
            since_at=datetime.now(UTC) - timedelta(days=60),
        ),
        actor="test",
    ).id


@pytest.fixture(autouse=True)
def _cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen log-ins for each test: what argon2id costs is not what these tests are about."""
    monkeypatch.setattr(
        passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    )


@pytest.fixture
def site(dsn: str) -> Iterator[dict[str, Any]]:
    """Two estates and a user for each role.

    At `es` there are one lead and one fire alert, at `other` one lead.
    """
    with connect(dsn) as connection:
        register(connection)
        connection.execute(
            "INSERT INTO units (estate_id, code) SELECT id, 'far-1' FROM estates "
            "WHERE code = 'other'"
        )
        users = {
            str(role): make_user(
                connection, str(role), role, estate="es", must_change_password=False
            )
            for role in Role
        }
        users["other"] = make_user(
            connection, "other", Role.COMPLIANCE, estate="other", must_change_password=False
        )
        users["fresh"] = make_user(connection, "fresh", Role.COMPLIANCE)
        ids = {row["code"]: row["id"] for row in connection.execute("SELECT id, code FROM units")}
        # The estate lives by its own calendar.
        today = datetime.now(ZoneInfo("Asia/Shanghai")).date()
        save_water(connection, ids["u-1"], [today - timedelta(days=i) for i in range(80)])
        found = {
            "lead": lead(connection, "es", ids["u-1"], "u-1"),
            "far": lead(connection, "other", ids["far-1"], "far-1"),
        }
        estate = connection.execute("SELECT id FROM estates WHERE code = 'es'").fetchone()
        assert estate is not None
        found["fire"] = raise_alert(
            connection,
            NewAlert(
                key=AlertKey(detector="hazard:fire", subject_kind=SubjectKind.DEVICE, subject_id=1),
                estate_id=estate["id"],
                subject="<img src=x onerror=alert(1)>",
                alert_class=AlertClass.LIFE_SAFETY,
                severity=Severity.CRITICAL,
                score=1.0,
                reasons=("fire",),
                evidence={"device": "smoke-1", "place": "<script>window.__pwned=1</script>"},
                policy_version="1",
                since_at=datetime.now(UTC),
            ),
            actor="watch",
        ).id
        connection.commit()
    pool = open_pool(dsn, size=6)
    app = create_app(pool, LiveBus(None), load_policy(), SiteSettings(slack=1000))
    yield {"app": app, "users": users, "alerts": found, "dsn": dsn}
    pool.close()


@pytest.fixture
def client(site: dict[str, Any]) -> Iterator[TestClient]:
    with TestClient(site["app"], raise_server_exceptions=False) as made:
        yield made


def bearer(client: TestClient, site: dict[str, Any], name: str) -> dict[str, str]:
    answer = client.post("/api/v1/session", json={"name": name, "password": site["users"][name]})
    assert answer.status_code == 200, answer.text
    client.cookies.clear()
    return {"Authorization": f"Bearer {answer.json()['token']}"}
