"""The long-running services: each wires its parts from the settings and runs until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from prometheus_client import start_http_server

from analytics import nightly, watch
from analytics.facts import BoundsOf, MeterBounds
from analytics.policy import Policy, load_policy
from anju.settings import Settings
from devices.profiles import load_profiles
from domain.ids import slug
from ingest.bulk import StockClient, new_client
from ingest.worker import Worker
from store import retention
from store.connect import Connection, Unavailable, connect
from store.live import ALERTS_CHANNEL, EVENTS_CHANNEL, LiveBus

log = structlog.get_logger()


def set_up_logs(*, as_json: bool) -> None:
    """Send structured logs to standard output, as JSON lines or for a person."""
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
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
    """Run watch, and beside it the loop that works off what is dirty."""
    _serve_metrics(settings)
    policy = load_policy(settings.policy_file)
    stopping = threading.Event()
    on_stop(stopping.set)
    slow = threading.Thread(target=_facts_loop, args=(settings, policy, stopping), name="facts", daemon=True)
    slow.start()
    _watch_loop(settings, policy, stopping)
    slow.join(30)


def _watch_loop(settings: Settings, policy: Policy, stopping: threading.Event) -> None:
    bus = LiveBus(settings.redis_url)
    while not stopping.is_set():
        try:
            with connect(settings.conninfo()) as connection:
                checked = 0.0
                for _ in bus.wakes(EVENTS_CHANNEL):
                    if stopping.is_set():
                        return
                    changed = watch.step(connection, policy)
                    if time.monotonic() - checked > 5:
                        checked = time.monotonic()
                        changed += watch.check_gateways(connection, policy)
                    connection.commit()
                    if changed:
                        bus.publish(ALERTS_CHANNEL, str(changed))
        except Unavailable as error:
            log.warning("database_away", error=str(error).strip()[:200])
            stopping.wait(1.0)


def _retain(connection: Connection, settings: Settings) -> None:
    """Drop what a site's limits say; asked at every pass, since it costs one look at the catalogue."""
    for series, days in (("readings", settings.keep_readings_days), ("events", settings.keep_events_days)):
        if days:
            dropped = retention.drop_before(connection, series, datetime.now(UTC) - timedelta(days=days))
            if dropped:
                log.info("retention", series=series, dropped=dropped)


def _facts_loop(settings: Settings, policy: Policy, stopping: threading.Event) -> None:
    bus, bounds = LiveBus(settings.redis_url), meter_bounds(settings.profiles_dir)
    while not stopping.is_set():
        try:
            with connect(settings.conninfo(), statement_s=600) as connection:
                while not stopping.is_set():
                    _retain(connection, settings)
                    report = nightly.run_all(connection, policy, bounds, datetime.now(UTC))
                    if report.units:
                        bus.publish(ALERTS_CHANNEL, str(report.raised))
                    stopping.wait(settings.facts_every_s)
        except Unavailable as error:
            log.warning("database_away", error=str(error).strip()[:200])
            stopping.wait(2.0)
