"""`anju doctor`: is this site fit to keep what we promise? Every check is made on the running parts, not read from files.

A check that fails on something a promise rests on refuses; one that only costs comfort warns. Each says what, why, and how to mend it.
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


class CheckVerdict(StrEnum):
    """How a check ended."""

    FIT = "fit"
    WARNS = "warns"
    REFUSES = "refuses"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: what was looked at, how it ended, and what there is to say."""

    what: str
    verdict: CheckVerdict
    says: str


def examine(settings: Settings, messages: int) -> Iterator[Check]:
    """Make every check, one after the other."""
    yield from _database(settings)
    yield from _broker(settings, messages)
    if settings.redis_url is None:
        yield Check(
            what="Redis",
            verdict=CheckVerdict.WARNS,
            says="ANJU_REDIS_URL is not set: wake-ups fall back to asking every second",
        )
    elif not LiveBus(settings.redis_url).up:
        yield Check(
            what="Redis",
            verdict=CheckVerdict.WARNS,
            says="does not answer: nothing is lost, wake-ups fall back to asking every second",
        )
    else:
        yield Check(what="Redis", verdict=CheckVerdict.FIT, says="answers")


def _database(settings: Settings) -> Iterator[Check]:
    try:
        with connect(settings.conninfo(), autocommit=True) as connection:
            before = time.time()
            found = health.examine(connection)
            between = (before + time.time()) / 2
    except Unavailable as error:
        yield Check(
            what="database",
            verdict=CheckVerdict.REFUSES,
            says=f"ANJU_DSN: does not answer: {str(error).strip().splitlines()[0]}",
        )
        return
    if found.version < 150000:
        yield Check(
            what="database",
            verdict=CheckVerdict.REFUSES,
            says=f"PostgreSQL {found.version // 10000}: 15 or newer is needed",
        )
    if found.pending:
        yield Check(
            what="tables",
            verdict=CheckVerdict.REFUSES,
            says=f"{found.pending} migrations are not applied: run `anju migrate`",
        )
    else:
        yield Check(
            what="tables", verdict=CheckVerdict.FIT, says=f"up to date, level {found.level}"
        )
    for name, value in found.unsafe.items():
        yield Check(
            what=f"database {name}",
            verdict=CheckVerdict.REFUSES,
            says=f"is {value}: a commit that was acknowledged can be lost when the machine stops; set {name} = on",
        )
    if not found.unsafe:
        yield Check(
            what="durability",
            verdict=CheckVerdict.FIT,
            says="fsync, full_page_writes and synchronous_commit are on",
        )
    if found.read_only:
        yield Check(
            what="database",
            verdict=CheckVerdict.REFUSES,
            says="takes no writes: it is a standby, or default_transaction_read_only is on",
        )
    off = found.now - between
    if abs(off) > 2:
        yield Check(
            what="clocks",
            verdict=CheckVerdict.WARNS,
            says=f"the database's clock is {off:+.1f} s off this machine's; run NTP on both",
        )
    if found.gaps:
        yield Check(
            what="gaps",
            verdict=CheckVerdict.WARNS,
            says=f"{found.gaps} gaps in what gateways sent are open; see the gateways' list",
        )
    if found.quarantined:
        yield Check(
            what="quarantine",
            verdict=CheckVerdict.WARNS,
            says=f"{found.quarantined} refusals wait for a person: `anju quarantine list`",
        )


def _broker(settings: Settings, messages: int) -> Iterator[Check]:
    address = settings.broker()
    try:
        trial = try_broker(address, messages)
    except BrokerRefused as error:
        yield Check(what="broker", verdict=CheckVerdict.REFUSES, says=str(error))
        return
    if trial.kept < trial.published:
        yield Check(
            what="broker",
            verdict=CheckVerdict.REFUSES,
            says=f"kept {trial.kept} of {trial.published} messages for a session that was away and dropped the others without a word; "
            "raise its limit (mosquitto: max_queued_messages 1000000 and max_queued_bytes 536870912; its default is 1000), "
            "see deploy/mosquitto/mosquitto.conf",
        )
    else:
        yield Check(
            what="broker",
            verdict=CheckVerdict.FIT,
            says=f"kept all {trial.published} messages for a session that was away",
        )
    if address.protocol != 5:
        yield Check(
            what="broker",
            verdict=CheckVerdict.WARNS,
            says="MQTT 3.1.1: one worker reads all readings, the others stand by",
        )
    elif settings.ingest_readings > 1 and not trial.shares:
        yield Check(
            what="broker",
            verdict=CheckVerdict.REFUSES,
            says="has no shared subscriptions; set ANJU_INGEST_READINGS=1, or let the ACL allow $share",
        )
    if address.ca_file is None and address.host not in ("127.0.0.1", "::1", "localhost"):
        yield Check(
            what="broker",
            verdict=CheckVerdict.WARNS,
            says="is spoken to without TLS over a network; set ANJU_BROKER_CA_FILE",
        )
