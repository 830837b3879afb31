"""`anju bench api`: the answer times of every list and detail route on a city's data.

The city: homes with a year of facts, a hundred thousand alerts, visits, commands, people and an
audit record. Readers of every role and scope send requests at fixed instants, however long the
answers take. The loop is open, so a slow answer does not spare the next one. A time counts from the
instant at which the request was due. Log-in is left out: the sessions exist before.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from analytics import leads
from anju.bench import filled_estates
from anju.processes import answers, free_port, start_anju, wait_for
from anju.register_files import import_rows
from crypto.sealed_values import Scheme
from domain.access import ALLOWED, Action, Role
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
from privacy.keyring import load_keyring, save_keyring, with_new_key
from store.access import audit, sessions, users
from store.access.audit import AuditEntry
from store.alerts import lists
from store.alerts.changes import AlertStep, set_state
from store.alerts.lists import AlertFilter
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
#: The live page is opened now and then and goes on by its stream.
PAGE = "live page"
PAGES_PER_S = 1.0
#: What is asked in the first seconds is not counted: the database has just been started and has
#: read nothing yet.
WARM_S = 10.0
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


@dataclass(slots=True)
class Times:
    """How long one route took, in seconds from the instant at which each request was due.

    `failed` counts the requests that were not answered by 200.
    """

    spans: list[float] = field(default_factory=list)
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchCity:
    """What requests can name: estates by district, and things of each estate."""

    districts: list[list[str]]
    #: The estate of the n-th reader of one estate.
    of_reader: list[str]
    units: dict[str, list[str]]
    alert_ids: dict[str, list[int]]
    commands: dict[str, list[str]]


# The data ----------------------------------------------------------------------------------------


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


# The requests ------------------------------------------------------------------------------------

#: Every list and detail route: what it needs, and its path with the things of a reader's estate.
ROUTES: dict[str, tuple[Action, str]] = {
    "whoAmI": (Action.OWN_SESSION, "/session"),
    "listEstates": (Action.SEE_PLACES, "/estates"),
    "listUnits": (Action.SEE_PLACES, "/estates/{estate}/units?limit=100&after={unit}"),
    "listGateways": (Action.SEE_DEVICES, "/estates/{estate}/gateways"),
    "listGatewayDevices": (Action.SEE_DEVICES, "/estates/{estate}/gateways/gw/devices"),
    "getUnit": (Action.SEE_UNITS, "/estates/{estate}/units/{unit}"),
    "listReadings": (
        Action.SEE_UNITS,
        "/estates/{estate}/units/{unit}/readings?point=water_m3&since=2026-02-27T00:00:00Z&until=2026-03-03T00:00:00Z",
    ),
    "listLatest": (Action.SEE_UNITS, "/estates/{estate}/units/{unit}/latest"),
    "listUnitDays": (
        Action.SEE_UNITS,
        "/estates/{estate}/units/{unit}/days?first=2025-03-01&last=2026-02-28",
    ),
    "listAlerts": (Action.SEE_ALERTS, "/alerts"),
    "listAlerts, all": (Action.SEE_ALERTS, "/alerts?open=false&before={number}"),
    "listAlerts, one estate": (Action.SEE_ALERTS, "/alerts?estate={estate}"),
    "listAlerts, one class": (
        Action.SEE_ALERTS,
        "/alerts?alert_class=life_safety&unacknowledged=true",
    ),
    "listAlerts, folded": (Action.SEE_ALERTS, "/alerts?fold=true"),
    "listFolds": (Action.SEE_ALERTS, "/alerts/folds"),
    "getAlert": (Action.SEE_LEADS, "/alerts/{alert}"),
    "listLeads": (Action.SEE_LEADS, "/leads?visits=50"),
    "getAlarmFigures": (Action.SEE_ALERTS, "/alarms/figures"),
    "listSuppressions": (Action.SEE_ALERTS, "/suppressions"),
    "listWindows": (Action.SEE_ALERTS, "/windows"),
    "listWelfareWatches": (Action.KEEP_WELFARE, "/welfare-watches"),
    "getVisitList": (Action.SEE_LEADS, "/visit-list?estate={estate}"),
    "listAbstentions": (Action.SEE_LEADS, "/estates/{estate}/abstentions"),
    "listVisits": (Action.SEE_LEADS, "/visits"),
    "getCalibration": (Action.SEE_LEADS, "/calibration"),
    "listFaceConsents": (Action.SEE_CONSENTS, "/estates/{estate}/face-consents"),
    "listAssessments": (Action.SEE_CONSENTS, "/estates/{estate}/assessments"),
    "listCommands": (Action.SEE_COMMANDS, "/commands"),
    "getCommand": (Action.SEE_COMMANDS, "/commands/{command}"),
    "listChannels": (Action.SEE_CHANNELS, "/channels"),
    "getPushKey": (Action.OWN_SESSION, "/push/key"),
    "listPurposes": (Action.SEE_PEOPLE, "/purposes"),
    "listPeople": (Action.SEE_PEOPLE, "/estates/{people}/people"),
    "listLookups": (Action.UNMASK, "/lookups"),
    "listUsers": (Action.MANAGE_USERS, "/users"),
    "listKeys": (Action.MANAGE_USERS, "/keys"),
    "listAudit": (Action.SEE_AUDIT, "/audit"),
    "listAudit, one action": (Action.SEE_AUDIT, "/audit?action=listUnitDays"),
    "live page": (Action.SEE_ALERTS, "page:/"),
}


def measure(
    dsn: str, keys: Path, home: Path, *, rate: float, seconds: float, seed: int = 1
) -> dict[str, Times]:
    """Serve the city by one API process and ask it at a steady rate."""
    with connect(dsn) as connection:
        open_sessions(connection)
        city = _city(connection)
    port = free_port()
    env = {"ANJU_DSN": dsn, "ANJU_API_PORT": str(port), "ANJU_KEYS_FILE": str(keys)}
    child = start_anju("api", ["api"], home / "api.log", env)
    try:
        wait_for(lambda: answers(port), child)
        rng = random.Random(seed)  # noqa: S311
        return asyncio.run(
            _measure_requests(f"http://127.0.0.1:{port}", city, rate=rate, seconds=seconds, rng=rng)
        )
    finally:
        child.stop()


def _city(connection: Connection) -> BenchCity:
    scope = {estate.code: estate.id for estate in nights.list_estates(connection)}
    estates = list(scope)
    leads_only = frozenset({AlertClass.COMPLIANCE})
    filters = {
        code: AlertFilter(estates=(scope[code],), classes=leads_only, open_only=False)
        for code in estates
    }
    return BenchCity(
        districts=[found for d in range(DISTRICTS) if (found := estates[d::DISTRICTS])],
        of_reader=[estates[n % len(estates)] for n in range(PER_ROLE)],
        units={
            code: [u.code for u in places.list_units(connection, (scope[code],), code, limit=300)]
            for code in estates
        },
        alert_ids={
            code: [a.id for a in lists.list_alerts(connection, filters[code], limit=50)]
            for code in estates
        },
        commands={
            code: [c.code for c in commands.list_commands(connection, (scope[code],), limit=50)]
            for code in estates
        },
    )


async def _measure_requests(
    base: str, city: BenchCity, *, rate: float, seconds: float, rng: random.Random
) -> dict[str, Times]:
    found: dict[str, Times] = defaultdict(Times)
    routes = [name for name in ROUTES if name != PAGE]
    plan = [
        _request(city, name, rng)
        for _ in range(int(rate * (seconds + WARM_S) / len(routes)) + 1)
        for name in routes
    ]
    plan += [_request(city, PAGE, rng) for _ in range(int(seconds * PAGES_PER_S))]
    rng.shuffle(plan)
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx2.AsyncClient(
        base_url=base, limits=limits, timeout=30, trust_env=False
    ) as client:
        await asyncio.gather(*(client.get("/healthz") for _ in range(8)))

        async def send(due: float, name: str, path: str, headers: dict[str, str]) -> None:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            try:
                good = (await client.get(path, headers=headers)).status_code == 200
            except httpx2.HTTPError:
                good = False
            if due < begin + WARM_S:
                return
            found[name].spans.append(time.perf_counter() - due)
            found[name].failed += not good

        begin = time.perf_counter() + 0.5
        await asyncio.gather(*(send(begin + n / rate, *request) for n, request in enumerate(plan)))
    return dict(found)


def _request(city: BenchCity, name: str, rng: random.Random) -> tuple[str, str, dict[str, str]]:
    action, path = ROUTES[name]
    role = rng.choice(sorted(ALLOWED[action]))
    (scope_name,) = rng.choices(list(SCOPES), weights=list(SCOPES.values()))
    # People are those of the first estate, so their readers are those of that estate.
    n = 0 if name == "listPeople" else rng.randrange(PER_ROLE)
    every = [estate for district in city.districts for estate in district]
    estates = {
        "estate": [city.of_reader[n]],
        "district": city.districts[n % len(city.districts)],
        "city": every,
    }[scope_name]
    estate = rng.choice(estates)
    target = path.format(
        estate=estate,
        unit=rng.choice(city.units[estate]),
        alert=rng.choice(city.alert_ids[estate]),
        number=rng.randrange(100, 90_000),
        command=rng.choice(city.commands[estate]),
        people=city.of_reader[0],
    )
    session_token = token(role, scope_name, n)
    if target.startswith("page:"):
        return name, target.removeprefix("page:"), {"Cookie": f"anju_session={session_token}"}
    return name, f"/api/v1{target}", {"Authorization": f"Bearer {session_token}"}


def make_keys(path: Path) -> None:
    """Make the run's own key file, unless it is there."""
    if not path.exists():
        save_keyring(path, with_new_key(None, Scheme.AES_256_GCM))


def percentile_ms(spans: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return 1000 * float(np.percentile(spans, 100 * share))
