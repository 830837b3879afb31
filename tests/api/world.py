"""Three estates of two districts in which every row tells whose it is.

Each text carries its estate's canary, each id lies in its range.

The same world can be built with fewer estates and the same ids. So an answer can be compared with
what it would be if the others did not exist.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from domain.access import Role
from domain.alerting import AlertClass, AlertKey, Severity, SubjectKind
from privacy import person_vault
from privacy.keyring import Keyring
from store.access import api_keys, audit, sessions, users
from store.access.api_keys import NewApiKey
from store.access.audit import AuditEntry
from store.alerts import changes
from store.alerts.changes import AlertStep
from store.alerts.raising import NewAlert, raise_alert
from store.database.connection import Connection

ESTATES = ("aa", "bb", "cc")
DISTRICT = {"aa": "d1", "bb": "d1", "cc": "d2"}
BASE = {"aa": 1_100_000, "bb": 2_100_000, "cc": 3_100_000, "all": 9_100_000}
#: Who reaches what: an estate, a district, everything, nothing any more.
REACHES: dict[str, dict[str, Any]] = {
    "aa": {"estate": "canary-aa"},
    "cc": {"estate": "canary-cc"},
    "d1": {"jurisdiction": "canary-d1"},
    "all": {},
    "over": {"estate": "canary-aa"},
}
SEEN = {"aa": {"aa"}, "cc": {"cc"}, "d1": {"aa", "bb"}, "all": set(ESTATES), "over": set[str]()}
LONG_AGO = datetime(2026, 1, 5, 8, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """What paths and bodies name of one estate."""

    estate: str
    unit: str
    gateway: str
    device: str
    alerts: dict[str, int]
    command: str
    window: int
    watch: int
    person: str
    lookup: int
    asked: int
    hold: int
    user: str
    grant: int
    key: int
    consent: str
    assessment: str


def build(
    connection: Connection, ring: Keyring, which: tuple[str, ...] = ESTATES
) -> dict[str, Things]:
    """Build the world, or the part of it that these estates are.

    Every role has a log-in with every reach that lies in it.
    """
    _ids_from(connection, BASE["all"])
    connection.execute(
        "INSERT INTO jurisdictions (code, name, level) VALUES ('city', 'city', 'city')"
    )
    for district in sorted({DISTRICT[one] for one in which}):
        connection.execute(
            "INSERT INTO jurisdictions (code, name, level, parent_id) "
            "SELECT %s, %s, 'district', id FROM jurisdictions WHERE code = 'city'",
            [f"canary-{district}", f"canary-{district}"],
        )
        # A bare estate in each, in every world: a district's people serve more than one estate,
        # whichever of ours there are.
        connection.execute(
            "INSERT INTO estates (code, name, jurisdiction_id) SELECT %s, 'bare', id "
            "FROM jurisdictions WHERE code = %s",
            [f"bare-{district}", f"canary-{district}"],
        )
    made = {one: _estate(connection, one) for one in which}
    for name, reach in REACHES.items():
        if SEEN[name] & set(which) or name == "all" or (name == "over" and "aa" in which):
            _users(connection, name, reach)
    things = {one: _things(connection, ring, one, made[one]) for one in which}
    # What is made from here on has a number of nobody's.
    _ids_from(connection, 9_500_000)
    connection.commit()
    return things


def token(role: str, reach: str) -> str:
    """Return the session token of the log-in of a role and a reach."""
    return f"token-of-{role}-at-{reach}"


def _ids_from(connection: Connection, base: int) -> None:
    rows = connection.execute(
        "SELECT format('%I.%I', table_schema, table_name) AS name, column_name "
        "FROM information_schema.columns "
        "WHERE is_identity = 'YES' AND table_schema IN ('public', 'people')"
    ).fetchall()
    for row in rows:
        connection.execute(
            "SELECT setval(pg_get_serial_sequence(%s, %s), %s, false)",
            [row["name"], row["column_name"], base],
        )


def _one(connection: Connection, query: str, values: Any) -> int:
    row = connection.execute(query, values).fetchone()  # type: ignore[call-overload]
    assert row is not None
    return int(row["id"])


def _users(connection: Connection, name: str, reach: dict[str, Any]) -> None:
    first = {
        "aa": 1_110_000,
        "cc": 3_110_000,
        "d1": 4_100_000,
        "over": 5_100_000,
        "all": 9_110_000,
    }[name]
    _ids_from(connection, first)
    for role in Role:
        # A log-in that reaches a district is of that district, and so on: its name tells.
        mark = {
            "aa": "canary-aa",
            "cc": "canary-cc",
            "d1": "canary-d1",
            "all": "everywhere",
            "over": "canary-over",
        }[name]
        made = users.add_user(
            connection, f"{mark}-{role}", "no password", role, must_change_password=False
        )
        assert users.add_grant(connection, made, by="test", **reach)
        if name == "over":
            connection.execute(
                "UPDATE grants SET valid_from = '2020-01-01', valid_to = '2021-01-01' "
                "WHERE user_id = %s",
                [made],
            )
        sessions.open_session(connection, made, token(role, name), "csrf", second_factor=True)


def _estate(connection: Connection, one: str) -> dict[str, int]:
    _ids_from(connection, BASE[one])
    c = f"canary-{one}"
    new = lambda query, *values: _one(connection, query + " RETURNING id", values)  # noqa: E731
    place = new(
        "INSERT INTO jurisdictions (code, name, level, parent_id) "
        "SELECT %s, %s, 'community', id FROM jurisdictions WHERE code = %s",
        f"{c}-community",
        c,
        f"canary-{DISTRICT[one]}",
    )
    estate = new(
        "INSERT INTO estates (code, name, jurisdiction_id) VALUES (%s, %s, %s)",
        c,
        f"{c} estate",
        place,
    )
    building = new(
        "INSERT INTO buildings (estate_id, code, name) VALUES (%s, %s, %s)", estate, f"{c}-fb", c
    )
    entrance = new(
        "INSERT INTO entrances (estate_id, building_id, code) VALUES (%s, %s, %s)",
        estate,
        building,
        f"{c}-n",
    )
    units = [
        new(
            "INSERT INTO units (estate_id, entrance_id, code, floor) VALUES (%s, %s, %s, 3)",
            estate,
            entrance,
            f"{c}-u{i}",
        )
        for i in range(12 + 5 * ESTATES.index(one))
    ]
    gateway = new("INSERT INTO gateways (estate_id, code) VALUES (%s, %s)", estate, f"{c}-gw")
    kinds = {"wm": "water_meter", "door": "door", "smoke": "detector"}
    devices = {
        name: new(
            "INSERT INTO devices (estate_id, gateway_id, code, kind, profile) "
            "VALUES (%s, %s, %s, %s, 'door-terminal')",
            estate,
            gateway,
            f"{c}-{name}",
            kind,
        )
        for name, kind in kinds.items()
    }
    household = new("INSERT INTO households (code, members) VALUES (%s, 2)", f"{c}-h")
    for unit in units[:11]:
        new(
            "INSERT INTO tenancies (code, unit_id, household_id, valid_from) "
            "VALUES (%s, %s, %s, '2020-01-01')",
            f"{c}-t{unit}",
            unit,
            household,
        )
    resident = new(
        "INSERT INTO residents (code, household_id, valid_from) VALUES (%s, %s, '2020-01-01')",
        f"{c}-r",
        household,
    )
    return {"estate": estate, "unit": units[0], "gateway": gateway, "resident": resident, **devices}


def _things(connection: Connection, ring: Keyring, one: str, ids: dict[str, int]) -> Things:
    _ids_from(connection, BASE[one] + 20_000)
    c, now = f"canary-{one}", datetime.now(UTC)
    new = lambda query, *values: _one(connection, query + " RETURNING id", values)  # noqa: E731
    run = connection.execute
    number = BASE[one] + 777
    point = new("INSERT INTO points (device_id, name) VALUES (%s, 'water_m3')", ids["wm"])
    run(
        "INSERT INTO mounts (code, device_id, unit_id, valid_from) "
        "VALUES (%s, %s, %s, '2020-01-01')",
        [f"{c}-m", ids["wm"], ids["unit"]],
    )
    connection.execute(
        "CREATE TABLE IF NOT EXISTS readings_test PARTITION OF readings FOR VALUES "
        "FROM ('2025-01-01') TO ('2100-01-01')"
    )
    run(
        "INSERT INTO readings (at, point_id, value) VALUES (now() - interval '1 hour', %s, %s)",
        [point, number],
    )
    run("INSERT INTO latest_values VALUES (%s, now(), %s)", [point, number])
    run(
        "INSERT INTO unit_days (unit_id, day, water_l, water_cover) "
        "VALUES (%s, current_date - 1, %s, 1)",
        [ids["unit"], number],
    )
    finding = new(
        "INSERT INTO findings (detector, version, unit_id, since_at, score, reasons, evidence, "
        "params, raised_at, "
        "since_low_at, since_high_at, window_from, window_to) "
        "VALUES ('unoccupied', '1', %s, '2026-01-05', 0.7, %s, %s, '{}', '2026-02-01', "
        "'2026-01-05', '2026-01-05', '2026-01-01', '2026-02-01')",
        ids["unit"],
        [c],
        json.dumps({"days": 60, "note": c}),
    )
    run(
        "INSERT INTO abstentions (detector, version, unit_id, from_day, to_day, reason) "
        "VALUES ('unoccupied', '1', %s, current_date - 1, "
        "current_date + 1, %s)",
        [ids["unit"], "no_meter"],
    )
    building = new(
        "INSERT INTO buildings (estate_id, code, name) VALUES (%s, %s, %s)",
        ids["estate"],
        f"{c}-b",
        c,
    )
    entrance = new(
        "INSERT INTO entrances (estate_id, building_id, code) VALUES (%s, %s, %s)",
        ids["estate"],
        building,
        f"{c}-fe",
    )
    run("UPDATE units SET entrance_id = %s WHERE estate_id = %s", [entrance, ids["estate"]])
    run(
        "INSERT INTO people.assessments (code, estate_id, title, done_on, review_by, approved_by, "
        "document_sha256, made_by) "
        "VALUES (%s, %s, %s, '2026-01-01', '2099-01-01', %s, repeat('0', 64), %s)",
        [f"{c}-pia", ids["estate"], c, c, c],
    )
    consent = f"k-canary{one}00"
    new(
        "INSERT INTO people.face_consents (code, resident_id, estate_id, entrance_id, purpose, "
        "text_version, text_sha256, assessment, other_way, "
        "under_14, kept_at, given_at, holds_to, recorded_by) "
        "VALUES (%s, %s, %s, %s, 'entrance', '1', repeat('0', 64), %s, 'card', false, "
        "'gateway', '2026-01-01', '2099-01-01', %s)",
        consent,
        ids["resident"],
        ids["estate"],
        entrance,
        f"{c}-pia",
        c,
    )
    raised = {kind: _alert(connection, one, ids, kind) for kind in AlertClass}
    run(
        "INSERT INTO suppressions (detector, subject_kind, subject_id, kind, reason, until_at, "
        "made_by) "
        "VALUES ('gateway_silent', 'unit', %s, 'shelved', %s, now() + interval '1 day', %s)",
        [ids["unit"], c, c],
    )
    window = new(
        "INSERT INTO alarm_windows (estate_id, kind, from_at, to_at, reason, made_by) "
        "VALUES (%s, 'drill', now() + interval '1 day', "
        "now() + interval '2 days', %s, %s)",
        ids["estate"],
        c,
        c,
    )
    watch = new(
        "INSERT INTO welfare_watches (unit_id, resident_id, quiet_hours, awake_from, awake_to, "
        "consented_at, consented_by) "
        "VALUES (%s, %s, 10, '07:00', '22:00', now(), %s)",
        ids["unit"],
        ids["resident"],
        c,
    )
    visit = new(
        "INSERT INTO visits (code, unit_id, reason, visited_on, outcome, kind, note, recorded_by) "
        "VALUES (%s, %s, 'lead', '2026-03-01', "
        "'confirmed', 'unoccupied', %s, %s)",
        f"{c}-v",
        ids["unit"],
        c,
        c,
    )
    run("INSERT INTO visit_findings VALUES (%s, %s)", [visit, finding])
    new(
        "INSERT INTO commands (code, device_id, kind, argument, issued_by, reason, expires_at) "
        "VALUES (%s, %s, 'door', '{}', %s, %s, now())",
        f"{c}-c",
        ids["door"],
        c,
        c,
    )
    run(
        "INSERT INTO gateway_state (gateway_id, online, at, outbox) VALUES (%s, true, now(), %s)",
        [ids["gateway"], number + 1],
    )
    run(
        "INSERT INTO gateway_progress (gateway_id, kind, boot, received) "
        "VALUES (%s, 'events', 'b001', '{[1,3),[5,9)}')",
        [ids["gateway"]],
    )
    run(
        "INSERT INTO gateway_certificates (serial, gateway_id, valid_to) "
        "VALUES (%s, %s, now() + interval '1 day')",
        [c, ids["gateway"]],
    )
    run(
        "INSERT INTO notice_deliveries (message_id, channel, rule, alert_id, seq, urgent, unless, "
        "subject, body, made_at, due_at) "
        "VALUES (%s, %s, %s, %s, 1, false, 'never', %s, %s, now(), now())",
        [c, c, c, raised["hazard"], c, c],
    )
    assert person_vault.save_person(
        connection,
        ring,
        f"{c}-r",
        {"name": f"王{one}小明", "phone": f"1390000{BASE[one] % 10_000:04d}"},
        collected_for=c,
    )
    person = _one(connection, "SELECT id FROM people.persons WHERE code = %s", [f"{c}-r"])
    guard = f"canary-{'d1' if one == 'bb' else one}-guard"
    owner = _one(connection, "SELECT id FROM users WHERE name = %s", [guard])
    lookups = [
        new(
            "INSERT INTO people.lookups (person_id, estate_id, user_id, asked_by, role, purpose, "
            "reference, fields, state, expires_at) "
            "VALUES (%s, %s, %s, %s, 'guard', 'visit', %s, '{name}', %s, now() + interval '1 day')",
            person,
            ids["estate"],
            owner,
            c,
            c,
            state,
        )
        for state in ("granted", "asked")
    ]
    hold = new(
        "INSERT INTO people.holds (person_id, reason, made_by) VALUES (%s, %s, %s)", person, c, c
    )
    user = users.add_user(connection, f"{c}-fixed", "no password", Role.GUARD)
    users.add_grant(connection, user, by=c, estate=c)
    grant = _one(connection, "SELECT id FROM grants WHERE user_id = %s", [user])
    key = api_keys.add_api_key(
        connection,
        NewApiKey(
            user_id=user,
            name=f"{c} key",
            token=f"anju_{c}",
            actions=[],
            expires_at=now + timedelta(days=30),
            made_by=c,
        ),
    )
    audit.append(
        connection,
        AuditEntry(actor=c, action="test", object=c, subject=f"unit:{c}"),
        estate_id=ids["estate"],
    )
    return Things(
        estate=c,
        unit=f"{c}-u0",
        gateway=f"{c}-gw",
        device=f"{c}-door",
        alerts=raised,
        command=f"{c}-c",
        window=window,
        watch=watch,
        person=f"{c}-r",
        lookup=lookups[0],
        asked=lookups[1],
        hold=hold,
        user=f"{c}-fixed",
        grant=grant,
        key=key,
        consent=consent,
        assessment=f"{c}-pia",
    )


def _alert(connection: Connection, one: str, ids: dict[str, int], kind: AlertClass) -> int:
    c = f"canary-{one}"
    detector = {
        "compliance": "unoccupied",
        "data": "gateway_silent",
        "welfare": "no_sign_of_life",
        "privacy": "unusual_lookups",
        "hazard": "continuous_flow",
        "life_safety": "hazard:fire",
    }[kind]
    wanted = NewAlert(
        key=AlertKey(detector=detector, subject_kind=SubjectKind.UNIT, subject_id=ids["unit"]),
        estate_id=ids["estate"],
        subject=f"{c}-u0",
        alert_class=kind,
        severity=Severity.HIGH,
        score=0.7,
        reasons=(f"{c}-{kind}-secret",),
        evidence=_EVIDENCE | {"device": c, "place": c, "who": c},
        policy_version=c,
        since_at=LONG_AGO,
    )
    made = raise_alert(connection, wanted, actor=c, source={"c": c}).id
    changes.note_change(connection, made, AlertStep(actor=c, name="comment", note=f"{c} remark"))
    return made


_EVIDENCE: dict[str, Any] = {
    "days": 60,
    "families": ["water"],
    "water_l": 0.0,
    "kwh_per_day": None,
    "entries": None,
    "coverage": 1.0,
    "devices": 3,
    "count": 3,
    "limit": 2,
    "hours": 11,
    "litres_per_hour": 3.0,
    "l_per_h": 3.0,
    "least_l_h": 2.0,
    "m3_per_month": 3.0,
    "nights": 3,
    "quiet_h": 11.0,
    "quiet_hours": 10,
}
DAY = date(2026, 3, 1)
