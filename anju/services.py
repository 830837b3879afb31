"""The long-running services: each wires its parts from the settings and runs until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from analytics import limits, nightly, watch, welfare
from analytics.facts import BoundsOf, MeterBounds
from analytics.policy import Policy, load_policy
from anju.memory import kept_memory
from anju.settings import Settings
from devices.profiles import load_profiles
from domain.ids import slug
from ingest.bulk import StockClient, new_client
from ingest.worker import Worker
from notices.plan import AlertWording, plan_all
from notices.rules import load_notices
from notices.send import NoticeSender
from privacy.keyring import KeyFile
from privacy.purposes import load_people_policy
from privacy.retention import RetentionTasks
from store.alerts.alerts import Alert
from store.analytics import watch as store_watch
from store.database import retention
from store.database.connection import Connection, Unavailable, connect
from store.live.bus import ALERTS_CHANNEL, EVENTS_CHANNEL, LiveBus

log = structlog.get_logger()


def set_up_logs(*, as_json: bool) -> None:
    """Send structured logs to standard output, as JSON lines or for a person."""
    renderer = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


def meter_bounds(profiles_dir: Path | None = None) -> BoundsOf:
    """Return the bounds of every register of every profile, a site's own among them."""
    return {
        (profile.key, point.name): MeterBounds(
            max_rate=point.max_rate,
            resolution=point.resolution,
            rollover=point.rollover,
            expected_interval_s=profile.expected_interval_s,
        )
        for profile in load_profiles(profiles_dir).values()
        for point in profile.points.values()
        if point.max_rate is not None
    }


def _serve_metrics(settings: Settings) -> None:
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr=settings.metrics_host)


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` when the process is asked to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def run_ingest(settings: Settings) -> None:
    """Run one ingest worker."""
    _serve_metrics(settings)
    worker = Worker(
        dsn=settings.conninfo(),
        broker=settings.broker(),
        bus=LiveBus(settings.redis_url),
        name=settings.ingest_name or slug(f"{socket.gethostname()}-{os.getpid()}"),
        readings=settings.ingest_readings,
        group=settings.ingest_group,
        make_client=StockClient if settings.ingest_reader == "stock" else new_client,
    )
    on_stop(worker.stop)
    worker.run()


def run_analytics(settings: Settings) -> None:
    """Run watch (hazards, other events and checks, each in its own thread), and beside it the loop that works off what is dirty."""
    _serve_metrics(settings)
    policy = load_policy(settings.policy_file)
    stopping = threading.Event()
    on_stop(stopping.set)
    bus = LiveBus(settings.redis_url)

    def told(changed: int) -> None:
        bus.publish(ALERTS_CHANNEL, str(changed))

    def events(*, urgent: bool) -> Callable[[Connection], object]:
        return lambda connection: watch.step(
            connection, policy, datetime.now(UTC), urgent=urgent, on_change=told
        )

    checks = Checks(policy)
    beside = {
        "facts": partial(_facts_loop, settings, policy, stopping),
        "events": partial(_on_wakes, settings, stopping, EVENTS_CHANNEL, events(urgent=False)),
        "checks": partial(
            _on_wakes,
            settings,
            stopping,
            EVENTS_CHANNEL,
            lambda connection: checks.run(connection, told),
        ),
    }
    _together(
        stopping,
        beside,
        partial(_on_wakes, settings, stopping, EVENTS_CHANNEL, events(urgent=True)),
    )


def _together(
    stopping: threading.Event, beside: Mapping[str, Callable[[], None]], main: Callable[[], None]
) -> None:
    """Run loops in threads beside one of our own, until told to stop.

    Where one fails the whole process stops: half a service is worse than one that is started again.
    """
    failed: list[BaseException] = []

    def note(args: threading.ExceptHookArgs) -> None:
        log.critical(
            "loop_failed", loop=args.thread.name if args.thread else "?", error=repr(args.exc_value)
        )
        failed.append(args.exc_value or SystemExit(1))
        stopping.set()

    threading.excepthook = note
    threads = [
        threading.Thread(target=loop, name=name, daemon=True) for name, loop in beside.items()
    ]
    for thread in threads:
        thread.start()
    main()
    for thread in threads:
        thread.join(30)
    if failed:
        raise failed[0]


def _on_wakes(
    settings: Settings,
    stopping: threading.Event,
    channel: str,
    work: Callable[[Connection], object],
) -> None:
    """Do a piece of work whenever the bus wakes us, and by itself as often as `LiveBus.wakes` says."""
    bus = LiveBus(settings.redis_url)
    while not stopping.is_set():
        try:
            with connect(settings.conninfo(), autocommit=True) as connection:
                for _ in bus.wakes(channel):
                    if stopping.is_set():
                        return
                    work(connection)
        except Unavailable as error:
            log.warning("database_away", error=str(error).strip()[:200])
            stopping.wait(0.25)


def run_casework(settings: Settings) -> None:
    """Run the planner of notices, a sender for each channel beside it, so that one that hangs keeps nobody waiting, and what keeps house."""
    _serve_metrics(settings)
    policy = load_policy(settings.policy_file)
    notices = load_notices(settings.notices_file)
    stopping = threading.Event()
    on_stop(stopping.set)

    def describe(alert: Alert, language: str) -> AlertWording:
        return AlertWording(
            title=policy.title(alert.detector, language),
            sentence=policy.sentence(alert, language),
            advice=policy.advice(alert.detector, language),
        )

    sender = NoticeSender(notices)

    def carry(name: str) -> Callable[[Connection], object]:
        return lambda connection: sender.run_channel(connection, name, datetime.now(UTC))

    beside = {
        name: partial(_on_wakes, settings, stopping, ALERTS_CHANNEL, carry(name))
        for name in notices.channels
    }
    keeping = RetentionTasks(
        load_people_policy(settings.people_policy_file),
        KeyFile(settings.keys_file) if settings.keys_file else None,
    )
    bus = LiveBus(settings.redis_url)

    def keep(connection: Connection) -> None:
        if raised := keeping.run(connection, datetime.now(UTC)):
            bus.publish(ALERTS_CHANNEL, str(raised))

    beside["keeping"] = partial(_on_wakes, settings, stopping, ALERTS_CHANNEL, keep)

    def plan(connection: Connection) -> object:
        return plan_all(connection, notices, describe, datetime.now(UTC))

    _together(stopping, beside, partial(_on_wakes, settings, stopping, ALERTS_CHANNEL, plan))


class Checks:
    """What watch asks for itself, each at its own pace; one watcher at a time does it."""

    def __init__(self, policy: Policy) -> None:
        flows = limits.WaterFlows()
        self._checks: list[tuple[float, Callable[[Connection, Policy, datetime], int]]] = [
            (1.0, watch.tick),
            (5.0, watch.check_gateways),
            (5.0, limits.check_gauges),
            (60.0, flows.check),
            (60.0, welfare.check),
        ]
        self._policy, self._done = policy, [0.0] * len(self._checks)

    def run(self, connection: Connection, told: Callable[[int], None]) -> None:
        """Run what is due."""
        for i, (every_s, check) in enumerate(self._checks):
            if time.monotonic() - self._done[i] >= every_s:
                self._done[i] = time.monotonic()
                with connection.transaction():
                    alone = store_watch.try_lock_checks(connection)
                    changed = check(connection, self._policy, datetime.now(UTC)) if alone else 0
                if changed:
                    told(changed)


def _retain(connection: Connection, settings: Settings) -> None:
    """Drop what a site's limits say; asked at every pass, since it costs one look at the catalogue."""
    for series, days in (
        ("readings", settings.keep_readings_days),
        ("events", settings.keep_events_days),
    ):
        if days:
            dropped = retention.drop_before(
                connection, series, datetime.now(UTC) - timedelta(days=days)
            )
            if dropped:
                log.info("retention", series=series, dropped=dropped)


def _facts_loop(settings: Settings, policy: Policy, stopping: threading.Event) -> None:
    bus = LiveBus(settings.redis_url)
    bounds = meter_bounds(settings.profiles_dir)
    while not stopping.is_set():
        try:
            with connect(settings.conninfo(), statement_s=600) as connection:
                while not stopping.is_set():
                    _retain(connection, settings)
                    with kept_memory():
                        report = nightly.run_all(connection, policy, bounds, datetime.now(UTC))
                    if report.units:
                        bus.publish(ALERTS_CHANNEL, str(report.raised))
                    stopping.wait(settings.facts_every_s)
        except Unavailable as error:
            log.warning("database_away", error=str(error).strip()[:200])
            stopping.wait(2.0)
