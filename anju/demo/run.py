"""`make demo`: the whole product on this machine's own parts, with a simulated estate, its past and its present.

The past is sent through the gateways' topics like everything else; the present runs until Ctrl-C; a second start goes
on where the first one ended. What the product found is held against what the simulator knows to be true, and both are
printed, hits and misses alike.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from analytics.policy import load_policy
from anju.demo import embedded
from anju.processes import Child, answers, free_port, port_free, start_anju, wait_for
from anju.register_files import import_rows
from anju.simulate import LiveCity
from api.passwords import make_user
from crypto.sealed_values import Scheme
from domain.access import Role
from privacy.keyring import save_keyring, with_new_key
from simulators.city import City, Story, city_from
from simulators.files import register_rows, truth_rows, write_city
from simulators.stream import day_after
from store.alerts import lists
from store.alerts.alerts import Alert
from store.alerts.lists import AlertFilter
from store.database.connection import connect
from store.database.migration import migrate
from store.register import places
from store.series import dirty_spans

PAST_DAYS = 180
USER = "demo"


@dataclass(slots=True, kw_only=True)
class DemoState:
    """What a second start needs; kept beside the data."""

    seed: int
    units: int
    anchor: str
    boot: int = 0
    password: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    #: Per gateway: up to which instant (ms) everything has been sent and acknowledged.
    sent_ms: dict[str, int] = field(default_factory=dict)


class Demo:
    """The running demo: its children, in the order in which they were started."""

    def __init__(self, home: Path, state: DemoState, out: Console) -> None:
        self.home = home
        self.state = state
        self.out = out
        self.children: list[Child] = []
        self.city: City = city_from(
            seed=state.seed,
            units=state.units,
            anchor=date.fromisoformat(state.anchor),
            days=PAST_DAYS,
        )
        self.live: LiveCity | None = None
        self.dsn = ""
        self.env: dict[str, str] = {}

    def save(self) -> None:
        """Keep the state where only its owner reads it: it holds a password."""
        path = self.home / "demo.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self.state), indent=1), "utf-8")

    def stop(self) -> None:
        """End everything, last started first."""
        if self.live is not None:
            self.live.__exit__()
            self.save()
        for child in reversed(self.children):
            child.stop()

    # Starting --------------------------------------------------------------------------------------------------------

    def start_servers(self, api_port: int) -> None:
        """Start the embedded servers, make the tables, the register and the log-in."""
        state = self.state
        for name in ("postgres", "broker", "redis"):
            if not port_free(state.ports.get(name, 0)) or not state.ports.get(name):
                state.ports[name] = free_port()
        server = embedded.start_postgres(self.home, port=state.ports["postgres"])
        self.children.append(server.child)
        broker = embedded.start_broker(self.home, port=state.ports["broker"])
        self.children.append(broker.child)
        redis = embedded.start_redis(self.home, port=state.ports["redis"])
        self.children.append(redis.child)
        self.broker = broker.address
        self.out.print(f"  PostgreSQL, {broker.kind} and {redis.kind} are up on the loopback")
        self.dsn = embedded.make_database(server, "anju")
        level = migrate(self.dsn)
        keys = self.home / "keys.toml"
        if not keys.exists():
            save_keyring(keys, with_new_key(None, Scheme.AES_256_GCM))
        with connect(self.dsn) as connection:
            report = import_rows(connection, register_rows(self.city))
            if not state.password:
                state.password = make_user(
                    connection, USER, Role.COMPLIANCE, must_change_password=False
                )
        self.save()
        self.out.print(
            f"  database level {level}; register: {sum(s.read for s in report.sheets)} rows, {len(self.city.homes)} units"
        )
        self.env = {
            "ANJU_DSN": self.dsn,
            "ANJU_REDIS_URL": redis.url,
            "ANJU_BROKER_PORT": str(broker.address.port),
            "ANJU_BROKER_PROTOCOL": str(broker.address.protocol),
            "ANJU_API_PORT": str(api_port),
            "ANJU_FACTS_EVERY_S": "20",
            "ANJU_KEYS_FILE": str(keys.resolve()),
        }
        self.start("ingest")
        self.start("api")
        wait_for(lambda: answers(api_port), self.children[-1])

    def start(self, service: str) -> None:
        """Start one of Anju's services."""
        self.children.append(start_anju(service, [service], self.home / f"{service}.log", self.env))

    def connect_gateways(self) -> LiveCity:
        """Connect every building's gateway under a new boot."""
        self.state.boot += 1
        self.save()
        self.live = LiveCity(self.city, self.broker, f"b{self.state.boot:04d}", self.state.sent_ms)
        return self.live.__enter__()

    # Telling ---------------------------------------------------------------------------------------------------------

    def wait_for_analytics(self, check: Callable[[], None], timeout_s: float = 300.0) -> None:
        """Wait until nothing is dirty any more."""
        deadline = time.monotonic() + timeout_s
        with (
            connect(self.dsn, autocommit=True) as connection,
            self.out.status("  facts, leads and alerts …"),
        ):
            while time.monotonic() < deadline:
                check()
                if dirty_spans.is_settled(connection):
                    return
                time.sleep(0.5)

    def tell(self) -> dict[str, Any]:
        """Print what was found, why, and how much of it is true; returns the figures."""
        policy = load_policy()
        with connect(self.dsn) as connection:
            scope = places.estate_ids(connection)
            everything = frozenset({"compliance", "hazard", "life_safety", "welfare", "data"})
            leads = lists.list_leads(connection, scope, None, 500)
            others = [
                a
                for a in lists.list_alerts(
                    connection, AlertFilter(estates=scope, classes=everything), limit=200
                )
                if a.alert_class != "compliance"
            ]
        truth = {row["unit"]: row for row in truth_rows(self.city)}
        self.out.print(
            f"\n[bold]Leads 线索 ({len(leads)})[/bold], likeliest first; a lead is a reason to ask, never a verdict"
        )
        for row in leads:
            mark = "✓" if _true_lead(row.detector, truth[row.subject]) else "✗"
            self.out.print(f"  {mark} {row.subject} {row.score:.2f} {policy.sentence(row, 'zh')}")
        self.out.print(f"\n[bold]Hazards and data 隐患与数据 ({len(others)})[/bold]")
        for row in others:
            self.out.print(
                f"  {row.severity:8} {row.subject} "
                f"{policy.title(row.detector, 'zh')}：{policy.sentence(row, 'zh')}"
            )
        figures = score(
            leads, others, list(truth.values()), self.live.happening if self.live else set()
        )
        self.out.print(
            f"\n[bold]Held against the simulator's truth[/bold]: {figures['lead_hits']} of {figures['leads']} leads are true, "
            f"{figures['lead_misses']} of {figures['left_homes']} left or sublet homes are missed; {figures['leak_hits']} of {figures['leaks']} "
            f"leak alerts are true, {figures['leak_misses']} of {figures['leaking_homes']} leaking homes are missed; "
            f"{figures['event_hits']} of {figures['events']} hazards reported now are true, {figures['event_misses']} of "
            f"{figures['happening']} are missed."
        )
        return figures


#: Of each kind of lead: the story that makes it true, and the days after which it ought to be known.
_STORIES = {"unoccupied": (Story.LEFT, 30), "subletting": (Story.SUBLET, 56)}


def _true_lead(kind: str, row: dict[str, Any], after_days: int = 0) -> bool:
    story = _STORIES.get(kind, (None, 0))[0]
    return bool(
        row["story"] == story
        and (day_after(datetime.now(UTC), 0) - date.fromisoformat(row["from_day"])).days
        >= after_days
    )


def score(
    leads: Sequence[Alert],
    others: Sequence[Alert],
    truth: list[dict[str, Any]],
    happening: set[tuple[str, str]],
) -> dict[str, int]:
    """Count hits and misses of the leads, of the leak alerts, and of what devices report now."""
    flagged = {(lead.detector, lead.subject) for lead in leads}
    true = {(kind, row["unit"]) for row in truth for kind in _STORIES if _true_lead(kind, row)}
    left = {
        (kind, row["unit"])
        for row in truth
        for kind, (_, days) in _STORIES.items()
        if _true_lead(kind, row, days)
    }
    leaks = {alert.subject for alert in others if alert.detector == "continuous_flow"}
    leaking = {
        row["unit"]
        for row in truth
        if row["story"] == Story.LEAK
        and date.fromisoformat(row["from_day"]) <= day_after(datetime.now(UTC), -4)
    }
    said = {
        (alert.evidence["device"], alert.reasons[0])
        for alert in others
        if alert.subject_kind == "device" and alert.condition == "active"
    }
    return {
        "events": len(said),
        "event_hits": len(said & happening),
        "happening": len(happening),
        "event_misses": len(happening - said),
        "leads": len(flagged),
        "lead_hits": len(flagged & true),
        "left_homes": len(left),
        "lead_misses": len(left - flagged),
        "leaks": len(leaks),
        "leak_hits": len(leaks & leaking),
        "leaking_homes": len(leaking),
        "leak_misses": len(leaking - leaks),
    }


def _load(home: Path, units: int, seed: int, out: Console) -> DemoState:
    path = home / "demo.json"
    if path.exists():
        state = DemoState(**json.loads(path.read_text("utf-8")))
        if (state.units, state.seed) != (units, seed):
            out.print(
                f"  this demo was made with --units {state.units} --seed {state.seed} and goes on with them; `make demo-clean` to begin anew"
            )
        return state
    home.mkdir(parents=True, exist_ok=True)
    anchor = day_after(datetime.now(UTC), -PAST_DAYS)
    return DemoState(seed=seed, units=units, anchor=anchor.isoformat())


def run_demo(home: Path, *, units: int, seed: int, port: int, once: bool, out: Console) -> int:
    """Run the demo until Ctrl-C (or, with `once`, until the summary is printed)."""
    began = time.monotonic()
    wanted: list[int] = []

    def stopping() -> bool:
        return bool(wanted)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _f: wanted.append(n))
    while not port_free(port):
        port += 1
    demo = Demo(home, _load(home, units, seed, out), out)

    def check() -> None:
        for child in demo.children:
            child.check()
        if stopping():
            raise KeyboardInterrupt

    try:
        out.print(
            "[bold]Anju 安居[/bold] demo"
            + (" goes on" if demo.state.sent_ms else "")
            + "; Ctrl-C ends it"
        )
        demo.start_servers(port)
        live = demo.connect_gateways()
        live.send_past(int(time.time() * 1000), out, check)
        demo.save()
        demo.start("analytics")
        demo.start("casework")
        demo.wait_for_analytics(check)
        live.play(0, int(time.time() * 1000))
        time.sleep(2)
        demo.tell()
        write_city(demo.city, home / "register")
        out.print(
            f"\n  live page  [bold]http://127.0.0.1:{port}/[/bold]\n  log in as  [bold]{USER}[/bold]  password  [bold]{demo.state.password}[/bold]"
        )
        out.print(
            f"  ready after {time.monotonic() - began:.0f} s; the estate runs live until Ctrl-C, logs are in {home}"
        )
        if not once:
            live.run(stopping, check)
    except KeyboardInterrupt:
        pass
    finally:
        out.print("ending …")
        demo.stop()
    return 0


def clean_demo(home: Path, out: Console) -> None:
    """Remove the demo's data, also where root had to keep it."""
    for place in (home, embedded.root_place(home)):
        if place.exists() and (place == home or os.geteuid() == 0):
            shutil.rmtree(place)
            out.print(f"removed {place}")
