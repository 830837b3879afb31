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
from pathlib import Path

import httpx2
import numpy as np

from anju.bench.api_city import DISTRICTS, PER_ROLE, SCOPES, open_sessions, token
from anju.processes import answers, free_port, start_anju, wait_for
from crypto.sealed_values import Scheme
from domain.access import ALLOWED, Action
from domain.alerting import AlertClass
from privacy.keyring import save_keyring, with_new_key
from store.alerts import lists
from store.alerts.lists import AlertFilter
from store.analytics import nights
from store.database.connection import Connection, connect
from store.gateways import commands
from store.register import places

#: The live page is opened now and then and goes on by its stream.
PAGE = "live page"
PAGES_PER_S = 1.0
#: What is asked in the first seconds is not counted: the database has just been started and has
#: read nothing yet.
WARM_S = 10.0


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
