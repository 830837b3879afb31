"""Retention: persons whose time is over are erased, old rows are deleted, the audit chain is
checked, and unusual look-ups are found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from privacy import faces, person_vault, unusual_lookups
from privacy.keyring import BadKeyring, KeyFile
from privacy.purposes import PeoplePolicy
from store.access import audit
from store.access.audit import AuditEntry
from store.database import retention
from store.database.connection import Connection
from store.people import erasures

log = structlog.get_logger()
#: Seconds.
_MINUTE = 60.0
_DAY = 86_400.0


@dataclass(slots=True)
class RetentionTasks:
    """The recurring tasks of a process. Several may have them; one at a time runs them."""

    policy: PeoplePolicy
    keys: KeyFile | None = None
    clock: Callable[[], float] = time.monotonic
    _done: dict[str, float] = field(default_factory=dict)

    def run(self, connection: Connection, now: datetime) -> int:
        """Run what is due; returns how many alerts were raised."""
        raised = 0
        if self._due("looks", _MINUTE):
            with connection.transaction():
                if retention.try_lock_maintenance(connection):
                    raised = unusual_lookups.check(connection, self.policy, now)
        if self._due("days", _DAY):
            daily(connection, self.policy, self.keys, now)
        return raised

    def _due(self, name: str, every_s: float) -> bool:
        if name in self._done and self.clock() - self._done[name] < every_s:
            return False
        self._done[name] = self.clock()
        return True


def daily(
    connection: Connection, policy: PeoplePolicy, keys: KeyFile | None, now: datetime
) -> dict[str, int]:
    """Run the tasks of a day; returns counts by name, none where another process is at it.

    `connection` is in autocommit.
    """
    cutoffs = {
        "deliveries": now - timedelta(days=policy.keep_deliveries_days),
        "quarantine": now - timedelta(days=policy.keep_quarantine_days),
        "lookups": now - timedelta(days=policy.keep_lookups_days),
    }
    counts: dict[str, int] = {}
    with connection.transaction():
        if not retention.try_lock_maintenance(connection):
            return {}
        counts |= retention.delete_old(connection, now, cutoffs)
        counts["persons"] = _erase_due(connection, policy, keys, now)
        counts["face_alerts"] = faces.count_day(connection, now, now.date())
        verdict = audit.check_chain(connection)
        audit.save_check(connection, verdict)
        counts["audit_seq"] = verdict.seq
    if counts["persons"]:
        erasures.vacuum(connection)
    if verdict.broken_at is not None:
        log.critical("audit_chain_broken", at=verdict.broken_at, why=verdict.why)
    log.info("kept", **counts, audit_head=verdict.hash.hex())
    return counts


def _erase_due(
    connection: Connection, policy: PeoplePolicy, keys: KeyFile | None, now: datetime
) -> int:
    codes = erasures.list_due(connection, now.date(), policy.keep_person_days)
    if not codes:
        return 0
    try:
        ring = keys.ring() if keys is not None else None
    except BadKeyring as error:
        log.error("no_keys", error=str(error))
        ring = None
    if ring is None:
        log.error(
            "persons_not_erased",
            count=len(codes),
            why="set ANJU_KEYS_FILE: erasing notes whom, under the site's key",
        )
        return 0
    for code in codes:
        person_vault.erase_person(
            connection, ring, code, actor="retention", reason="kept as long as policy says"
        )
        audit.append(
            connection,
            AuditEntry(
                actor="retention", action="erasePerson", object="people", subject=f"person:{code}"
            ),
        )
    return len(codes)
