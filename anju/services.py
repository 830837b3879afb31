"""The long-running services.

Each wires its parts from the settings and runs until a signal stops it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from analytics import limits, watch, welfare
from analytics.facts.meters import MeterBounds, MeterBoundsTable
from analytics.nightly.estate import NightRules
from analytics.nightly.run import run_all
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


def meter_bounds(profiles_dir: Path | None = None) -> MeterBoundsTable:
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
    """Run watch and, beside it, the loop that computes facts and judges units.

    Watch has three threads: one for hazards (the main one), one for other events, one for checks.
    """
    _serve_metrics(settings)
    policy = load_policy(settings.policy_file)
    stopping = threading.Event()
    on_stop(stopping.set)
    bus = LiveBus(settings.redis_url)
    checks = PeriodicChecks(policy)

    def publish_change(changed: int) -> None:
        bus.publish(ALERTS_CHANNEL, str(changed))

    def watch_events(connection: Connection, *, urgent: bool) -> None:
        now = datetime.now(UTC)
        watch.step(connection, policy, now, urgent=urgent, on_change=publish_change)

    def run_checks(connection: Connection) -> None:
        checks.run(connection, publish_change)

    def woken_by_events(work: Callable[[Connection], object]) -> Callable[[], None]:
        return partial(_work_when_woken, settings, stopping, EVENTS_CHANNEL, work)

    beside: dict[str, Callable[[], None]] = {
        "facts": partial(_run_facts_loop, settings, policy, stopping),
        "events": woken_by_events(partial(watch_events, urgent=False)),
        "checks": woken_by_events(run_checks),
    }
    _run_together(stopping, beside, woken_by_events(partial(watch_events, urgent=True)))


def _run_together(
    stopping: threading.Event, beside: Mapping[str, Callable[[], None]], main: Callable[[], None]
) -> None:
    """Run loops in threads beside the main one, until asked to stop.

    If one fails, the whole process stops: half a service is worse than one that is restarted.
    """
    failures: list[BaseException] = []

    def stop_all(failure: threading.ExceptHookArgs) -> None:
        name = failure.thread.name if failure.thread else "?"
        log.critical("loop_failed", loop=name, error=repr(failure.exc_value))
        failures.append(failure.exc_value or SystemExit(1))
        stopping.set()

    threading.excepthook = stop_all
    threads = [
        threading.Thread(target=loop, name=name, daemon=True) for name, loop in beside.items()
    ]
    for thread in threads:
        thread.start()
    main()
    for thread in threads:
        thread.join(30)
    if failures:
        raise failures[0]


def _work_when_woken(
    settings: Settings,
    stopping: threading.Event,
    channel: str,
    work: Callable[[Connection], object],
) -> None:
    """Do a piece of work at each wake of the bus; `LiveBus.wakes` says how often at least."""
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
    """Run the planner of notices; beside it a sender for each channel, and maintenance.

    Each channel has a thread of its own, so that one that hangs delays no other.
    """
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
    bus = LiveBus(settings.redis_url)
    keys = KeyFile(settings.keys_file) if settings.keys_file else None
    retention_tasks = RetentionTasks(load_people_policy(settings.people_policy_file), keys)

    def send_channel(connection: Connection, *, name: str) -> None:
        sender.run_channel(connection, name, datetime.now(UTC))

    def maintain(connection: Connection) -> None:
        raised = retention_tasks.run(connection, datetime.now(UTC))
        if raised:
            bus.publish(ALERTS_CHANNEL, str(raised))

    def plan(connection: Connection) -> None:
        plan_all(connection, notices, describe, datetime.now(UTC))

    def woken_by_alerts(work: Callable[[Connection], object]) -> Callable[[], None]:
        return partial(_work_when_woken, settings, stopping, ALERTS_CHANNEL, work)

    beside = {name: woken_by_alerts(partial(send_channel, name=name)) for name in notices.channels}
    beside["maintenance"] = woken_by_alerts(maintain)
    _run_together(stopping, beside, woken_by_alerts(plan))


@dataclass(slots=True, kw_only=True)
class PeriodicCheck:
    """One check of watch, how often it runs, and when it ran last (monotonic seconds)."""

    every_s: float
    check: Callable[[Connection, Policy, datetime], int]
    ran_at_s: float = 0.0


class PeriodicChecks:
    """The checks that watch makes without an event, each at its own pace.

    A lock lets one watcher at a time make them.
    """

    def __init__(self, policy: Policy) -> None:
        flows = limits.WaterFlows()
        self._policy = policy
        self._checks = (
            PeriodicCheck(every_s=1.0, check=watch.tick),
            PeriodicCheck(every_s=5.0, check=watch.check_gateways),
            PeriodicCheck(every_s=5.0, check=limits.check_gauges),
            PeriodicCheck(every_s=60.0, check=flows.check),
            PeriodicCheck(every_s=60.0, check=welfare.check),
        )

    def run(self, connection: Connection, publish_change: Callable[[int], None]) -> None:
        """Run the checks that are due; report how many alerts each changed."""
        for periodic in self._checks:
            if time.monotonic() - periodic.ran_at_s < periodic.every_s:
                continue
            periodic.ran_at_s = time.monotonic()
            changed = 0
            with connection.transaction():
                if store_watch.try_lock_checks(connection):
                    changed = periodic.check(connection, self._policy, datetime.now(UTC))
            if changed:
                publish_change(changed)


def _drop_old_series(connection: Connection, settings: Settings) -> None:
    """Drop readings and events that are older than the site's limits.

    It runs at every pass, since it costs one query of the catalogue.
    """
    limits_days = {"readings": settings.keep_readings_days, "events": settings.keep_events_days}
    for series, days in limits_days.items():
        if not days:
            continue
        oldest = datetime.now(UTC) - timedelta(days=days)
        dropped = retention.drop_before(connection, series, oldest)
        if dropped:
            log.info("retention", series=series, dropped=dropped)


def _run_facts_loop(settings: Settings, policy: Policy, stopping: threading.Event) -> None:
    bus = LiveBus(settings.redis_url)
    rules = NightRules(policy=policy, meter_bounds=meter_bounds(settings.profiles_dir))
    while not stopping.is_set():
        try:
            with connect(settings.conninfo(), statement_s=600) as connection:
                while not stopping.is_set():
                    _drop_old_series(connection, settings)
                    with kept_memory():
                        report = run_all(connection, rules, datetime.now(UTC))
                    if report.units:
                        bus.publish(ALERTS_CHANNEL, str(report.raised))
                    stopping.wait(settings.facts_every_s)
        except Unavailable as error:
            log.warning("database_away", error=str(error).strip()[:200])
            stopping.wait(2.0)
