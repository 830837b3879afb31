"""`anju doctor`: can this site keep what Anju promises?

Every check is made on the running parts, not read from files. A check refuses where a promise would
break, and warns where only comfort is lost. Each message says what is wrong, why, and the remedy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from anju.settings import Settings
from ingest.probe import BrokerRefused, try_broker
from store.database import health
from store.database.connection import Unavailable, connect
from store.live.bus import LiveBus

#: Seconds that the database's clock may differ from this machine's.
MAX_CLOCK_DIFFERENCE_S = 2


class CheckVerdict(StrEnum):
    """How a check ended."""

    FIT = "fit"
    WARNS = "warns"
    REFUSES = "refuses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what was examined, how it ended, and why; `message` names the remedy."""

    what: str
    verdict: CheckVerdict
    message: str


def _fit(what: str, message: str) -> Check:
    return Check(what=what, verdict=CheckVerdict.FIT, message=message)


def _warns(what: str, message: str) -> Check:
    return Check(what=what, verdict=CheckVerdict.WARNS, message=message)


def _refuses(what: str, message: str) -> Check:
    return Check(what=what, verdict=CheckVerdict.REFUSES, message=message)


def examine(settings: Settings, messages: int) -> Iterator[Check]:
    """Make every check, one after the other."""
    yield from _database(settings)
    yield from _broker(settings, messages)
    if settings.redis_url is None:
        yield _warns(
            "Redis", "ANJU_REDIS_URL is not set: wake-ups fall back to asking every second"
        )
    elif not LiveBus(settings.redis_url).up:
        yield _warns(
            "Redis", "does not answer: nothing is lost, wake-ups fall back to asking every second"
        )
    else:
        yield _fit("Redis", "answers")


def _database(settings: Settings) -> Iterator[Check]:
    try:
        with connect(settings.conninfo(), autocommit=True) as connection:
            before = time.time()
            found = health.examine(connection)
            between = (before + time.time()) / 2
    except Unavailable as error:
        yield _refuses(
            "database", f"ANJU_DSN: does not answer: {str(error).strip().splitlines()[0]}"
        )
        return
    yield from _schema(found)
    yield from _durability(found)
    yield from _operation(found, clock_s=between)


def _schema(found: health.DatabaseHealth) -> Iterator[Check]:
    """Check the server's version and its tables."""
    if found.version < 150000:
        yield _refuses("database", f"PostgreSQL {found.version // 10000}: 15 or newer is needed")
    if found.pending:
        yield _refuses("tables", f"{found.pending} migrations are not applied: run `anju migrate`")
    else:
        yield _fit("tables", f"up to date, level {found.level}")


def _durability(found: health.DatabaseHealth) -> Iterator[Check]:
    """Check that a commit survives a crash, and that there can be one."""
    for name, value in found.unsafe.items():
        yield _refuses(
            f"database {name}",
            f"is {value}: a commit that was acknowledged can be lost when the machine stops; "
            f"set {name} = on",
        )
    if not found.unsafe:
        yield _fit("durability", "fsync, full_page_writes and synchronous_commit are on")
    if found.read_only:
        yield _refuses(
            "database", "takes no writes: it is a standby, or default_transaction_read_only is on"
        )


def _operation(found: health.DatabaseHealth, *, clock_s: float) -> Iterator[Check]:
    """Check the clocks, and what waits for a person; `clock_s` is this machine's, in seconds."""
    off = found.now - clock_s
    if abs(off) > MAX_CLOCK_DIFFERENCE_S:
        yield _warns(
            "clocks", f"the database's clock is {off:+.1f} s off this machine's; run NTP on both"
        )
    if found.gaps:
        yield _warns(
            "gaps", f"{found.gaps} gaps in what gateways sent are open; see the gateways' list"
        )
    if found.quarantined:
        yield _warns(
            "quarantine", f"{found.quarantined} refusals wait for a person: `anju quarantine list`"
        )


def _broker(settings: Settings, messages: int) -> Iterator[Check]:
    address = settings.broker()
    try:
        trial = try_broker(address, messages)
    except BrokerRefused as error:
        yield _refuses("broker", str(error))
        return
    if trial.kept < trial.published:
        yield _refuses(
            "broker",
            f"kept {trial.kept} of {trial.published} messages for a session that was away and "
            "dropped the others without a word; raise its limit (mosquitto: max_queued_messages "
            "1000000 and max_queued_bytes 536870912; its default is 1000), see "
            "deploy/mosquitto/mosquitto.conf",
        )
    else:
        yield _fit("broker", f"kept all {trial.published} messages for a session that was away")
    if address.protocol != 5:
        yield _warns("broker", "MQTT 3.1.1: one worker reads all readings, the others stand by")
    elif settings.ingest_readings > 1 and not trial.shares:
        yield _refuses(
            "broker",
            "has no shared subscriptions; set ANJU_INGEST_READINGS=1, or let the ACL allow $share",
        )
    if address.ca_file is None and address.host not in ("127.0.0.1", "::1", "localhost"):
        yield _warns("broker", "is spoken to without TLS over a network; set ANJU_BROKER_CA_FILE")
