"""Nobody ever receives an id, a count or a trace of a thing outside their scope: over every route,
every role and every reach.

Two oracles. Canary: no answer holds a text or an id of an estate, or of a class of alerts, that its
reader does not see. Non-interference: an answer is, but for random words and the clock, the very
same in a world in which the other estates do not exist; so nothing can be counted, timed by a
cursor, or told apart by an error. Then once more with the API's own filter switched off: row-level
security alone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

import api.access
import api.stream
from analytics.policy import load_policy
from api.app import SiteSettings, create_app
from api.schema import api_routes, guards_of
from crypto.sealed_values import Scheme
from domain.access import ALLOWED, CLASSES_OF, Action, Principal, Role
from domain.alerting import AlertClass
from privacy.keyring import KeyFile, save_keyring, with_new_key
from store.database.connection import connect, open_pool
from store.live.bus import LiveBus
from tests.api.world import BASE, DAY, REACHES, SEEN, Things, build, token

pytestmark = pytest.mark.real
#: Routes that nobody has to be known for, each with its reason.
OPEN = {
    "alive": "the process answers",
    "ready": "the database answers",
    "logIn": "this is how one is known",
    "startSignIn": "so is this",
    "finishSignIn": "and this",
    "claimGateway": "the code is the secret",
    "renewGateway": "the key is the proof",
    "fetchExport": "the address is signed, for its owner's file only",
}
#: Routes that do not answer at once, or would end the log-in that asks; they have tests of their
#: own.
APART = {"streamAlerts", "logOut", "changePassword", "showSecondFactor", "offerSecondFactor"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFile:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    save_keyring(path, with_new_key(None, Scheme.AES_256_GCM))
    return KeyFile(path)


class World:
    """A database with some of the estates, the application on it, and what its paths are called."""

    def __init__(self, dsn: str, keys: KeyFile, which: tuple[str, ...]) -> None:
        with connect(dsn) as connection:
            self.things = build(connection, keys.ring(), which)
        self.dsn, self.pool = dsn, open_pool(dsn, size=4)
        self.app = create_app(
            self.pool, LiveBus(None), load_policy(), SiteSettings(slack=100_000, keys=keys)
        )


@pytest.fixture
def make_world(postgres: Any, _template: str, keys: KeyFile) -> Iterator[Callable[..., World]]:
    from store.database import connection as store_connect

    made: list[World] = []

    def make(*which: str) -> World:
        name = f"scope_{next(_NUMBERS)}"
        store_connect.make_database(postgres.dsn("postgres"), name, template="template_anju")
        made.append(World(postgres.dsn(name), keys, which))
        return made[-1]

    yield make
    for world in made:
        world.pool.close()


_NUMBERS = itertools.count()

# What is asked ------------------------------------------------------------------------------------

PATHS: dict[str, Callable[[Things], list[Any]]] = {
    "estate": lambda t: [t.estate],
    "unit": lambda t: [t.unit],
    "gateway": lambda t: [t.gateway],
    "device": lambda t: [t.device],
    "alert_id": lambda t: list(t.alerts.values()),
    "window_id": lambda t: [t.window],
    "watch_id": lambda t: [t.watch],
    "lookup_id": lambda t: [t.lookup, t.asked],
    "hold_id": lambda t: [t.hold],
    "name": lambda t: [t.user],
    "consent": lambda t: [t.consent],
    "grant_id": lambda t: [t.grant],
    "key_id": lambda t: [t.key],
    "export_id": lambda t: [1],
    "step": lambda _: [],
}
STEPS = {"stepOnAlert": ["acknowledge", "shelve"], "stepOnUser": ["enable", "reset-second-factor"]}
_ASK = {"purpose": "visit", "reference": "a visit's number", "fields": ["name"]}
#: A body for each route that takes one, about an estate's things. A new route without an entry
#: fails the test.
BODIES: dict[str, Callable[[Things], dict[str, Any]]] = {
    "stepOnManyAlerts": lambda t: {"step": "acknowledge", "ids": list(t.alerts.values())},
    "commentAlert": lambda _: {"text": "seen"},
    "askClip": lambda _: {},
    "recordFaceConsent": lambda t: {
        "person": t.person,
        "text_version": "1",
        "text_sha256": "0" * 64,
        "assessment": t.assessment,
        "other_way": "card",
        "under_14": False,
        "kept_at": "terminal",
        "given_at": "2026-01-01T00:00:00Z",
        "holds_to": (datetime.now(UTC) + timedelta(days=100)).date().isoformat(),
    },
    "withdrawFaceConsent": lambda _: {"reason": "the person asks"},
    "fileAssessment": lambda t: {
        "code": f"PIA-{t.estate}",
        "title": "faces",
        "done_on": "2026-01-01",
        "review_by": "2030-01-01",
        "approved_by": "somebody",
        "document_sha256": "0" * 64,
    },
    "noteFaceFiling": lambda _: {"filed_on": "2026-01-01", "reference": "2026-1"},
    "stepOnAlert": lambda _: {"note": "seen", "hours": 1},
    "announceWindow": lambda t: {
        "estate": t.estate,
        "kind": "drill",
        "from_at": "2030-01-01T00:00:00Z",
        "to_at": "2030-01-02T00:00:00Z",
        "reason": "a drill",
    },
    "addWelfareWatch": lambda t: {
        "estate": t.estate,
        "unit": t.unit,
        "resident": t.person,
        "quiet_hours": 10,
        "awake_from": "07:00",
        "awake_to": "22:00",
        "consented_at": "2026-01-01T00:00:00Z",
    },
    "recordVisit": lambda t: {
        "code": f"v-{t.estate}",
        "estate": t.estate,
        "unit": t.unit,
        "visited_on": str(DAY),
        "outcome": "unfounded",
    },
    "commandDevice": lambda _: {"command": "door", "reason": "an ambulance"},
    "subscribe": lambda _: {
        "endpoint": "https://push.example/1",
        "keys": {"p256dh": "QQ", "auth": "QQ"},
    },
    "unsubscribe": lambda _: {"endpoint": "https://push.example/1"},
    "addUser": lambda t: {
        "name": f"new-{t.estate}",
        "role": "guard",
        "grants": [{"estate": t.estate}],
    },
    "addGrant": lambda t: {"estate": t.estate},
    "changeRole": lambda _: {"role": "guard"},
    "stepOnUser": lambda _: {},
    "addKey": lambda t: {
        "user": t.user,
        "name": "k",
        "actions": ["see_places"],
        "expires_at": "2026-12-31T00:00:00Z",
    },
    "searchPeople": lambda t: {"kind": "name", "text": f"王{t.estate[-2:]}小明"},
    "askLookup": lambda _: _ASK,
    "decideLookup": lambda _: {"grant": False},
    "showPerson": lambda _: {},
    "reportPerson": lambda _: {**_ASK, "purpose": "subject_request"},
    "erasePerson": lambda _: {"reason": "the person asked"},
    "holdPerson": lambda _: {"reason": "a court asks"},
    "makeExport": lambda t: {"kind": "alerts", "estate": t.estate},
}
_MORE: dict[str, list[dict[str, Any]]] = {
    "stepOnManyAlerts": [{"step": "acknowledge", "where": {"open": True}}],
    "makeExport": [{"kind": "alerts"}, {"kind": "visits"}, {"kind": "occupancy"}],
}


def queries(route: APIRoute, t: Things) -> list[dict[str, Any]]:
    """Query strings for a route: none, each filter with an estate's things, and cursors at both
    ends.
    """
    given: dict[str, list[Any]] = {
        "estate": [t.estate],
        "point": ["water_m3"],
        "after": [t.unit, t.person],
        "actor": [t.estate],
        "subject": [f"unit:{t.estate}"],
        "before": ["00" * 16] if "audit" in route.path else [1, 10**9],
        "waiting": ["true"],
        "fold": ["true"],
        "open": ["false"],
        "detector": ["unoccupied"],
        "assignee": [t.estate],
        "alert_class": ["privacy"],
        "as_of": [str(DAY)],
        "lang": ["en"],
    }
    # What a model holds stands one level lower.
    names = set()
    for field in route.dependant.query_params:
        kind = field.field_info.annotation
        names |= set(getattr(kind, "model_fields", None) or {field.alias})
    needed = {"visit-list": {"estate": t.estate}, "readings": {"point": "water_m3"}}.get(
        route.path.rsplit("/", 1)[-1], {}
    )
    if "stream" in route.path:
        names -= {"after"}
    return [
        dict(needed),
        *({**needed, name: value} for name in sorted(names & set(given)) for value in given[name]),
    ]


def path_values(route: APIRoute, name: str, things: Things) -> list[Any]:
    """What a part of a path is called, in every variant."""
    if name == "code":
        return [things.command if "commands" in route.path else things.person]
    if name == "step":
        return STEPS[route.operation_id or ""]
    return PATHS[name](things)


def asked(app: Any, things: Things) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Every request: operation, method, path, and the rest of what httpx takes."""
    for route in api_routes(app):
        operation = route.operation_id or ""
        if operation in APART or operation in OPEN:
            continue
        names = re.findall(r"{(\w+)}", route.path_format)
        values = [path_values(route, name, things) for name in names]
        for chosen in itertools.product(*values):
            path = route.path_format.format(**dict(zip(names, chosen, strict=True)))
            for method in sorted(route.methods or ()):
                if method == "GET":
                    for query in queries(route, things):
                        yield operation, method, path, {"params": query}
                elif method == "DELETE" and operation not in BODIES:
                    yield operation, method, path, {}
                else:
                    for body in [BODIES[operation](things), *_MORE.get(operation, [])]:
                        yield operation, method, path, {"json": body}


# What must not be there ---------------------------------------------------------------------------


def traces(text: str, role: Role, reach: str) -> list[str]:
    """List what an answer holds that its reader does not see."""
    found = []
    seen = SEEN[reach]
    for one in BASE:
        if one == "all" or one in seen:
            continue
        found += re.findall(
            rf"canary-{one}[\w-]*|王{one}|(?<![0-9a-f.]){BASE[one] // 100_000}\d{{5}}(?![0-9a-f])",
            text,
        )
    if seen.isdisjoint({"cc"}):
        found += re.findall(r"canary-d2", text)
    if seen.isdisjoint({"aa", "bb"}):
        found += re.findall(r"canary-d1", text)
    for kind in AlertClass:
        if kind not in CLASSES_OF[role]:
            found += re.findall(rf"canary-\w\w-{kind}-secret", text)
    if role not in ALLOWED[Action.SEE_UNITS]:
        found += re.findall(r"\b[123]100777\b", text) if role is not Role.GUARD else []
    if role not in ALLOWED[Action.SEE_PEOPLE]:
        found += re.findall(r"王", text)
    return found


_RANDOM = [
    (re.compile(r'"\w*_s":\s*[\d.e-]+'), '"_s":0'),
    (re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "<hex>"),
    (re.compile(r'"(password|key|csrf|signature|hash|hint)":\s*"[^"]*"'), r'"\1":"<secret>"'),
    (re.compile(r"signature=[0-9a-f]+"), "signature="),
    (re.compile(r"<b>[\d.]+</b> 分钟确认"), "<clock>"),
    (re.compile(r"until=\d+"), "until="),
    (re.compile(r"anju-\w+-\d+-\d+\.csv"), "<file>"),
    (re.compile(r'"at_ms":\s*\d+'), '"at_ms":0'),
    (re.compile(r"c-[0-9a-f]{16}"), "<code>"),
    (re.compile(r'"last_used_at":[^,}]*'), '"last_used_at":0'),
]


def plain(text: str) -> str:
    """Leave out what is random or the clock's."""
    for pattern, word in _RANDOM:
        text = pattern.sub(word, text)
    return text


def everybody() -> list[tuple[Role, str]]:
    return [(role, reach) for reach in REACHES for role in Role]


def run(
    world: World, role: Role, reach: str, things: dict[str, Things]
) -> list[tuple[str, int, str]]:
    """Ask everything as one log-in; returns (what was asked, status, answer) and holds each answer
    against the canaries.
    """
    out: list[tuple[str, int, str]] = []
    headers = {"Authorization": f"Bearer {token(role, reach)}"}
    with TestClient(world.app, raise_server_exceptions=False) as client:
        for named in things.values():
            for operation, method, path, more in asked(world.app, named):
                answer = client.request(method, path, headers=headers, **more)
                said = f"{operation} {method} {path} {json.dumps(more)}"
                out += _held(said, answer, role, reach)
                if operation == "makeExport" and answer.status_code == 201:
                    out += _held(f"{said} file", client.get(answer.json()["href"]), role, reach)
        cookie = {"Cookie": f"anju_session={token(role, reach)}"}
        for page in (
            "/",
            *(f"/live/{name}" for name in ("safety", "hazards", "leads", "data", "privacy")),
        ):
            out += _held(page, client.get(page, headers=cookie), role, reach)
        for named in things.values():
            for alert in named.alerts.values():
                out += _held(
                    f"card {alert}",
                    client.get(f"/alerts/{alert}/card", headers=cookie),
                    role,
                    reach,
                )
        out += [("stream", 200, text) for text in _stream(world, role, reach)]
    return out


def _held(said: str, answer: Any, role: Role, reach: str) -> list[tuple[str, int, str]]:
    assert answer.status_code < 500, f"{said}: {answer.status_code} {answer.text[:300]}"
    text = answer.text + json.dumps(
        {k: v for k, v in answer.headers.items() if k not in ("content-length", "date")}
    )
    # An answer may repeat what was typed, and nothing else of it.
    found = [one for one in traces(text, role, reach) if one not in said]
    assert not found, (
        f"{role} at {reach}: {said} -> {answer.status_code}: {found[:3]}: "
        f"{_around(answer.text, found[0])}"
    )
    return [(said, answer.status_code, plain(answer.text))]


def _stream(world: World, role: Role, reach: str) -> list[str]:
    with world.pool.connection() as connection:
        from store.access import scope, sessions

        with scope.signing_in(connection):
            session = sessions.find_session(connection, token(role, reach))
        assert session is not None

    class Request:
        app = world.app

        async def is_disconnected(self) -> bool:
            return True

    async def read() -> list[str]:
        return [text async for text in api.stream._stream_events(Request(), session.principal, 0)]  # type: ignore[arg-type]

    told = asyncio.run(read())
    for text in told:
        assert not traces(text, role, reach), text
    return [re.sub(r"id: \d+", "", text) for text in told if "hello" not in text]


# The laws -----------------------------------------------------------------------------------------


def test_every_route_declares_what_it_takes(make_world: Callable[..., World]) -> None:
    world = make_world("aa", "bb", "cc")
    assert set(OPEN) | APART | set(BODIES) <= {
        route.operation_id for route in api_routes(world.app)
    }
    for route in api_routes(world.app):
        guards = guards_of(route)
        assert route.operation_id, f"{route.path} has no operation_id"
        assert len(guards) == (0 if route.operation_id in OPEN else 1), (
            f"{route.operation_id}: one guard, or a reason in OPEN"
        )
        takes_body = route.body_field is not None
        assert not takes_body or route.operation_id in {*BODIES, *APART, *OPEN}, (
            f"{route.operation_id}: give BODIES an entry"
        )
        for name in re.findall(r"{(\w+)}", route.path_format):
            assert name in {*PATHS, "code"}, (
                f"{route.operation_id}: give PATHS what {name} is called"
            )
    paths = {(path, m.upper()) for path, one in world.app.openapi()["paths"].items() for m in one}
    assert paths == {(r.path_format, m) for r in api_routes(world.app) for m in r.methods or ()}, (
        "a route that no router of api.app has"
    )
    assert sum(1 for _ in asked(world.app, world.things["aa"])) > 100


#: A test for each grant and role, so that each is short. What one estate's log-ins see is asked at
#: every run, the rest by `long`.
_READERS = [
    pytest.param(reach, role, marks=[] if reach == "aa" else pytest.mark.long)
    for reach in ("aa", "cc", "d1", "all", "over")
    for role in Role
]


@pytest.mark.parametrize(("reach", "role"), _READERS)
def test_nobody_receives_a_trace_of_what_is_outside(
    make_world: Callable[..., World], reach: str, role: Role
) -> None:
    """Both oracles; with everything within reach only the classes of alerts and people's names are
    held back.
    """
    whole = make_world("aa", "bb", "cc")
    alone = make_world(*sorted(SEEN[reach])) if SEEN[reach] else make_world("aa")
    outside = {one: things for one, things in whole.things.items() if one not in SEEN[reach]}
    inside = {one: things for one, things in whole.things.items() if one in SEEN[reach]}
    asked_count = 0
    if outside:
        first = run(whole, role, reach, outside)
        asked_count += len(first)
        assert all(
            status in (200, 201, 204, 202, 401, 403, 404, 409, 411, 412, 422)
            for _, status, _ in first
        )
        if reach == "over":
            assert not any(
                status == 201 for said, status, _ in first if "aa" in said and "recordVisit" in said
            )
        else:
            # The same questions about estates that do not exist there at all.
            assert _same(first, run(alone, role, reach, outside), role, reach)
    if inside:
        mine = run(whole, role, reach, inside)
        asked_count += len(mine)
        if outside:
            assert _same(mine, run(alone, role, reach, inside), role, reach)
    print(f"{role} at {reach}: {asked_count} answers held")
    assert asked_count > 500 / len(Role)


def _same(
    first: list[tuple[str, int, str]], second: list[tuple[str, int, str]], role: Role, reach: str
) -> bool:
    for one, other in zip(first, second, strict=True):
        assert one == other, f"{role} at {reach}: what others have shows:\n{one}\n{other}"
    return True


@pytest.mark.parametrize(("reach", "role"), _READERS)
def test_row_level_security_alone_holds_it(
    make_world: Callable[..., World], reach: str, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API believes that everybody may do everything everywhere; the database was told the
    truth.
    """
    world = make_world("aa", "bb", "cc")
    with connect(world.dsn) as connection:
        every = tuple(row["id"] for row in connection.execute("SELECT id FROM estates"))
    truth = {"told": False}
    real_may, real_classes, real_enter = Principal.may, Principal.classes, api.access.scope.enter
    monkeypatch.setattr(
        Principal, "may", lambda self, action: real_may(self, action) if truth["told"] else True
    )
    monkeypatch.setattr(
        Principal,
        "classes",
        property(lambda self: real_classes.fget(self) if truth["told"] else frozenset(AlertClass)),  # type: ignore[attr-defined]
    )

    reaches: dict[int, tuple[tuple[int, ...], bool]] = {}

    def enter(connection: Any, who: Principal) -> None:
        estates, everywhere = reaches.setdefault(who.user_id, (who.estate_ids, who.everywhere))
        truth["told"] = True
        try:
            real_enter(connection, replace(who, estate_ids=estates, everywhere=everywhere))
        finally:
            truth["told"] = False
        object.__setattr__(who, "estate_ids", every)
        object.__setattr__(who, "everywhere", True)

    monkeypatch.setattr(api.access.scope, "enter", enter)
    monkeypatch.setattr(api.access, "NEEDS_SECOND_FACTOR", frozenset())
    count = len(run(world, role, reach, world.things))
    print(f"{role} at {reach}: {count} answers held by row-level security alone")


def test_an_answer_is_not_empty_by_accident(make_world: Callable[..., World]) -> None:
    """The oracles would be content with a product that shows nothing."""
    world = make_world("aa", "bb", "cc")
    seen: dict[str, set[int]] = {}
    for role in Role:
        for said, status, text in run(world, role, "aa", {"aa": world.things["aa"]}):
            operation = said.split(" ", 1)[0]
            if status < 300 and ("canary-aa" in text or " GET " not in said):
                seen.setdefault(operation, set()).add(status)
    quiet = {r.operation_id for r in api_routes(world.app)} - set(seen) - set(OPEN) - APART
    assert quiet <= {
        "listFolds",
        "showPerson",
        "erasePerson",
        "listPurposes",
        "whoAmI",
        "getPushKey",
        "subscribe",
        "getAuditIntegrity",
        "exportAudit",
        "getAlarmFigures",
        "countFaces",
        "noteFaceFiling",
        "askClip",
        "listReadings",
        "searchPeople",
        "getLessons",
        "listUnitDays",
        "listAbstentions",
        "stepOnUser",
        "listLatest",
        "addKey",
    }, quiet


def _around(text: str, word: str) -> str:
    at = text.find(word)
    return text[max(0, at - 200) : at + 200]
