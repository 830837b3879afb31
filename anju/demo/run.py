"""`make demo`: the whole product on this machine's own parts, with a simulated estate.

The past goes through the gateways' topics like everything else. The present runs until Ctrl-C. A
second start continues where the first one ended. What the product found is compared with what the
simulator knows to be true, and both are printed.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from rich.console import Console

from analytics.policy import load_policy
from anju.demo import embedded
from anju.demo.truth import DemoScore, print_alerts, print_score, score
from anju.processes import Child, answers, free_port, port_free, start_anju, wait_for
from anju.register_files import import_rows
from anju.simulate import LiveCity
from api.passwords import make_user
from crypto.sealed_values import Scheme
from domain.access import Role
from domain.alerting import AlertClass
from domain.broker import BrokerAddress
from privacy.keyring import save_keyring, with_new_key
from simulators.city import City, city_from
from simulators.files import register_rows, write_city
from simulators.stream import day_after
from store.alerts import lists
from store.alerts.lists import AlertFilter
from store.database.connection import connect
from store.database.migration import migrate
from store.register import places
from store.series import dirty_spans

PAST_DAYS = 180
USER = "demo"
MAX_LEADS = 500
MAX_ALERTS = 200
#: Classes that the demo prints beside the leads.
SHOWN_CLASSES = frozenset(
    {AlertClass.LIFE_SAFETY, AlertClass.HAZARD, AlertClass.WELFARE, AlertClass.DATA}
)


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
        self.broker = BrokerAddress()
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

    # Starting ------------------------------------------------------------------------------------

    def start_servers(self, api_port: int) -> None:
        """Start the embedded servers, make the tables, the register and the log-in."""
        redis = self._start_embedded()
        self._fill_database()
        self.env = {
            "ANJU_DSN": self.dsn,
            "ANJU_REDIS_URL": redis.url,
            "ANJU_BROKER_PORT": str(self.broker.port),
            "ANJU_BROKER_PROTOCOL": str(self.broker.protocol),
            "ANJU_API_PORT": str(api_port),
            "ANJU_FACTS_EVERY_S": "20",
            "ANJU_KEYS_FILE": str(self.keys_file.resolve()),
        }
        self.start("ingest")
        self.start("api")
        wait_for(lambda: answers(api_port), self.children[-1])

    @property
    def keys_file(self) -> Path:
        """Return the path of the site's keys."""
        return self.home / "keys.toml"

    def _start_embedded(self) -> embedded.Redis:
        """Start PostgreSQL, a broker and Redis, on the first start's ports if these are free."""
        ports = self.state.ports
        for name in ("postgres", "broker", "redis"):
            if name not in ports or not port_free(ports[name]):
                ports[name] = free_port()
        server = embedded.start_postgres(self.home, port=ports["postgres"])
        self.children.append(server.child)
        broker = embedded.start_broker(self.home, port=ports["broker"])
        self.children.append(broker.child)
        redis = embedded.start_redis(self.home, port=ports["redis"])
        self.children.append(redis.child)
        self.broker = broker.address
        self.dsn = embedded.make_database(server, "anju")
        self.out.print(f"  PostgreSQL, {broker.kind} and {redis.kind} are up on the loopback")
        return redis

    def _fill_database(self) -> None:
        """Make the tables, the site's keys, the register and the log-in, unless they exist."""
        level = migrate(self.dsn)
        if not self.keys_file.exists():
            save_keyring(self.keys_file, with_new_key(None, Scheme.AES_256_GCM))
        with connect(self.dsn) as connection:
            report = import_rows(connection, register_rows(self.city))
            if not self.state.password:
                self.state.password = make_user(
                    connection, USER, Role.COMPLIANCE, must_change_password=False
                )
        self.save()
        rows = sum(sheet.read for sheet in report.sheets)
        self.out.print(
            f"  database level {level}; register: {rows} rows, {len(self.city.homes)} units"
        )

    def start(self, service: str) -> None:
        """Start one of Anju's services."""
        self.children.append(start_anju(service, [service], self.home / f"{service}.log", self.env))

    def connect_gateways(self) -> LiveCity:
        """Connect every building's gateway under a new boot."""
        self.state.boot += 1
        self.save()
        self.live = LiveCity(self.city, self.broker, f"b{self.state.boot:04d}", self.state.sent_ms)
        return self.live.__enter__()

    # Reporting -----------------------------------------------------------------------------------

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

    def report(self) -> DemoScore:
        """Print what was found, why, and how much of it is true; returns the figures."""
        with connect(self.dsn) as connection:
            estates = places.estate_ids(connection)
            leads = lists.list_leads(connection, estates, None, MAX_LEADS)
            shown = AlertFilter(estates=estates, classes=SHOWN_CLASSES)
            others = lists.list_alerts(connection, shown, limit=MAX_ALERTS)
        happening = self.live.happening if self.live else set()
        today = day_after(datetime.now(UTC), 0)
        found = score(leads, others, self.city.homes, happening, today)
        print_alerts(self.out, load_policy(), leads, others, self.city.homes)
        print_score(self.out, found)
        return found


def _load_state(home: Path, units: int, seed: int, out: Console) -> DemoState:
    path = home / "demo.json"
    if path.exists():
        state = DemoState(**json.loads(path.read_text("utf-8")))
        if (state.units, state.seed) != (units, seed):
            out.print(
                f"  this demo was made with --units {state.units} --seed {state.seed} and goes on "
                "with them; `make demo-clean` to begin anew"
            )
        return state
    home.mkdir(parents=True, exist_ok=True)
    anchor = day_after(datetime.now(UTC), -PAST_DAYS)
    return DemoState(seed=seed, units=units, anchor=anchor.isoformat())


def run_demo(home: Path, *, units: int, seed: int, port: int, once: bool, out: Console) -> int:
    """Run the demo until Ctrl-C (or, with `once`, until the summary is printed)."""
    began = time.monotonic()
    stop_requested = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop_requested.set())
    while not port_free(port):
        port += 1
    demo = Demo(home, _load_state(home, units, seed, out), out)

    def check() -> None:
        for child in demo.children:
            child.check()
        if stop_requested.is_set():
            raise KeyboardInterrupt

    try:
        continued = " goes on" if demo.state.sent_ms else ""
        out.print(f"[bold]Anju 安居[/bold] demo{continued}; Ctrl-C ends it")
        _start_demo(demo, port, check)
        demo.report()
        write_city(demo.city, home / "register")
        _print_address(demo, port, time.monotonic() - began)
        if not once and demo.live is not None:
            demo.live.run(stop_requested.is_set, check)
    except KeyboardInterrupt:
        pass
    finally:
        out.print("ending …")
        demo.stop()
    return 0


def _start_demo(demo: Demo, port: int, check: Callable[[], None]) -> None:
    """Start every part, send the past, and wait until it is judged."""
    demo.start_servers(port)
    live = demo.connect_gateways()
    live.send_past(int(time.time() * 1000), demo.out, check)
    demo.save()
    demo.start("analytics")
    demo.start("casework")
    demo.wait_for_analytics(check)
    live.play(0, int(time.time() * 1000))
    time.sleep(2)


def _print_address(demo: Demo, port: int, took_s: float) -> None:
    demo.out.print(
        f"\n  live page  [bold]http://127.0.0.1:{port}/[/bold]\n"
        f"  log in as  [bold]{USER}[/bold]  password  [bold]{demo.state.password}[/bold]"
    )
    demo.out.print(
        f"  ready after {took_s:.0f} s; the estate runs live until Ctrl-C, logs are in {demo.home}"
    )


def clean_demo(home: Path, out: Console) -> None:
    """Remove the demo's data, also where root had to keep it."""
    for place in (home, embedded.root_place(home)):
        if place.exists() and (place == home or os.geteuid() == 0):
            shutil.rmtree(place)
            out.print(f"removed {place}")
