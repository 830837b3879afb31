"""The city that `anju bench api` reads: homes, log-ins, alerts, visits, commands and people."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from analytics import leads
from anju.bench import filled_estates
from anju.register_files import import_rows
from domain.access import Role
from domain.alerting import (
    Acknowledgement,
    AlertClass,
    AlertCondition,
    AlertKey,
    AlertState,
    Severity,
    SubjectKind,
    Suppression,
)
from privacy import person_vault
from privacy.keyring import load_keyring
from store.access import audit, sessions, users
from store.access.audit import AuditEntry
from store.alerts.changes import AlertStep, set_state
from store.alerts.raising import NewAlert, raise_alert
from store.analytics import nights
from store.casework import visits
from store.database import health
from store.database.connection import Connection, connect
from store.gateways import commands
from store.register import places

DISTRICTS = 6
TODAY = date(2026, 3, 1)
#: Share of requests by readers of one estate, of a district, of the city.
SCOPES = {"estate": 0.5, "district": 0.3, "city": 0.2}
PER_ROLE = 4
_DETECTORS = {
    AlertClass.LIFE_SAFETY: "hazard:smoke",
    AlertClass.HAZARD: "continuous_flow",
    AlertClass.COMPLIANCE: "unoccupied",
    AlertClass.WELFARE: "no_sign_of_life",
    AlertClass.DATA: "gateway_silent",
    AlertClass.PRIVACY: "unusual_lookups",
}
_EVIDENCE: dict[str, Any] = {
    "device": "smoke-1",
    "days": 60,
    "families": ["water"],
    "water_l": 0.0,
    "kwh_per_day": None,
    "entries": None,
    "coverage": 1.0,
    "devices": 3,
    "count": 30,
    "limit": 20,
    "hours": 60,
    "least_l_h": 4.0,
    "litres_per_hour": 4.0,
    "quiet_hours": 10,
    "who": "x",
    "seconds": 1,
    "m3_per_month": 3.0,
}


def fill(dsn: str, keys: Path, units: int, many_alerts: int, seed: int = 7) -> None:
    """Make the city, unless it is there."""
    with connect(dsn, statement_s=3600) as connection:
        count = -(-units // filled_estates.PER_ESTATE)
        if not places.estate_ids(connection):
            for number in range(count):
                filled_estates.fill_estate(
                    dsn,
                    connection,
                    number,
                    min(filled_estates.PER_ESTATE, units - number * filled_estates.PER_ESTATE),
                    TODAY,
                )
            _add_places(connection, count)
        if users.count_users(connection) == 0:
            _add_users(connection, count)
            _fill_year(connection, random.Random(seed), many_alerts)  # noqa: S311
            _add_people(connection, keys)
            health.analyze(connection)


def _add_places(connection: Connection, count: int) -> None:
    rows = [{"code": "city", "name": "city", "level": "city"}]
    rows += [
        {"code": f"d{n}", "name": f"d{n}", "level": "district", "parent": "city"}
        for n in range(DISTRICTS)
    ]
    estates = [
        {
            "code": f"bench-{n:03d}",
            "name": f"bench-{n:03d}",
            "timezone": filled_estates.ZONE.key,
            "jurisdiction": f"d{n % DISTRICTS}",
        }
        for n in range(count)
    ]
    report = import_rows(connection, {"jurisdictions": rows, "estates": estates})
    assert not report.errors, report.errors


def _add_users(connection: Connection, count: int) -> None:
    for role in Role:
        for scope_name in SCOPES:
            for n in range(PER_ROLE):
                user_id = users.add_user(
                    connection,
                    f"{role}-{scope_name}-{n}",
                    "no password",
                    role,
                    must_change_password=False,
                )
                estate = f"bench-{n % count:03d}" if scope_name == "estate" else None
                district = f"d{n % min(count, DISTRICTS)}" if scope_name == "district" else None
                assert users.add_grant(
                    connection, user_id, by="bench", estate=estate, jurisdiction=district
                )
    connection.commit()


def open_sessions(connection: Connection) -> None:
    """Log every reader in, with a second factor."""
    for role in Role:
        for scope_name in SCOPES:
            for n in range(PER_ROLE):
                user = users.find_credentials(connection, f"{role}-{scope_name}-{n}")
                assert user is not None
                sessions.close_session(connection, token(role, scope_name, n))
                sessions.open_session(
                    connection, user.id, token(role, scope_name, n), "csrf", second_factor=True
                )
    connection.commit()


def token(role: Role, scope_name: str, n: int) -> str:
    """Return a reader's session token."""
    return f"bench-{role}-{scope_name}-{n}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchHome:
    """A home of the city, and its estate."""

    estate_id: int
    estate: str
    unit_id: int
    unit: str


def _list_homes(connection: Connection) -> list[list[BenchHome]]:
    """List three hundred homes of each estate, by their codes."""
    homes = []
    for estate in nights.list_estates(connection):
        unit_ids = nights.list_units(connection, estate.id)[:300]
        codes = sorted(places.unit_codes(connection, unit_ids).items())
        homes.append(
            [
                BenchHome(estate_id=estate.id, estate=estate.code, unit_id=unit_id, unit=unit)
                for unit_id, unit in codes
            ]
        )
    return homes


def _fill_year(connection: Connection, rng: random.Random, many: int) -> None:
    """Store a year of alerts, one in five of them open, with visits, commands and lookups."""
    homes = _list_homes(connection)
    begin = datetime(2025, 3, 1, tzinfo=UTC)
    kinds = rng.choices(list(_DETECTORS), weights=[3, 30, 25, 5, 36, 1], k=many)
    for n, kind in enumerate(kinds):
        home = rng.choice(homes[rng.randrange(len(homes))])
        at = begin + timedelta(days=365) * (n / many)
        nights.set_clock(connection, at)
        _add_alert(connection, rng, n, kind, home, at)
        if n % 20 == 0:
            _add_visit(connection, n, home, at)
        if n % 50 == 0:
            _add_command(connection, home, at)
        if n % 5 == 0:
            _add_lookup(connection, home)
        if n % 2000 == 0:
            connection.commit()
    connection.commit()


def _add_alert(
    connection: Connection,
    rng: random.Random,
    number: int,
    kind: AlertClass,
    home: BenchHome,
    at: datetime,
) -> None:
    """Raise an alert; four in five are confirmed and over."""
    alert = NewAlert(
        key=AlertKey(
            detector=_DETECTORS[kind],
            subject_kind=SubjectKind.UNIT,
            subject_id=home.unit_id,
            dedup_key=f"{number}",
        ),
        estate_id=home.estate_id,
        subject=home.unit,
        alert_class=kind,
        severity=rng.choice(list(Severity)),
        score=rng.random(),
        reasons=("x",),
        evidence=_EVIDENCE,
        policy_version="1",
        since_at=at - timedelta(days=20),
    )
    alert_id = raise_alert(connection, alert, actor="bench", source={}).id
    if rng.random() < 0.8:
        over = AlertState(
            alert_class=kind,
            condition=AlertCondition.RETURNED,
            acknowledgement=Acknowledgement.CONFIRMED,
            suppression=Suppression.NONE,
            ended=True,
        )
        set_state(connection, alert_id, over, AlertStep(actor="bench", name="confirmed"))


def _add_visit(connection: Connection, number: int, home: BenchHome, at: datetime) -> None:
    visit = visits.NewVisit(
        code=f"v-{number}",
        unit_id=home.unit_id,
        visited_on=at.date(),
        reason="control",
        outcome="unfounded",
    )
    visits.record_visit(connection, visit, actor="bench", known_at=at, kinds=leads.KINDS)


def _add_command(connection: Connection, home: BenchHome, at: datetime) -> None:
    lock = commands.find_device(connection, (home.estate_id,), home.estate, f"lock-{home.unit}")
    assert lock is not None
    command = commands.NewCommand(
        code=commands.new_code(),
        device_id=lock.id,
        kind="door",
        argument={},
        issued_by="bench",
        reason="bench",
        expires_at=at,
    )
    commands.give_command(connection, command)


def _add_lookup(connection: Connection, home: BenchHome) -> None:
    entry = AuditEntry(
        actor="bench",
        action="listUnitDays",
        object="x",
        subject=f"unit:{home.estate}/{home.unit}",
    )
    audit.append(connection, entry, estate_id=home.estate_id)


def _add_people(connection: Connection, keys: Path) -> None:
    """Store two thousand residents of the first estate."""
    estate = "bench-000"
    units = places.list_units(connection, places.estate_ids(connection), estate, limit=2_000)
    rows = [
        {
            "code": f"r-{unit.code}",
            "household": f"{estate}-{unit.code}",
            "valid_from": "2024-01-01",
        }
        for unit in units
    ]
    report = import_rows(connection, {"residents": rows})
    assert not report.errors, report.errors
    keyring = load_keyring(keys)
    for n, unit in enumerate(units):
        fields = {"name": f"王{n}", "phone": f"139{n:08d}"}
        code = f"r-{unit.code}"
        person_vault.save_person(connection, keyring, code, fields, collected_for="bench")
    connection.commit()
