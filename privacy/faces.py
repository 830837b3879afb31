"""The law's side of faces at doors: who may consent and how, what ends a consent, and the count at which filing is due.

人脸识别技术应用安全管理办法 (in force 2025-06-01): informed, voluntary and separate consent, a guardian's under fourteen (art. 6 and 7), an impact
assessment before (art. 9), never the only way in (art. 10), filing with the provincial authority within thirty working days of
reaching 100,000 stored people (art. 15). Templates live on the estate; here are consents and words of gateways only.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from domain.alerting import AlertClass, Severity
from privacy.keyring import Keyring
from store.access import audit
from store.access.audit import AuditEntry
from store.alerts import alerts
from store.alerts.alerts import NewAlert
from store.database.connection import Connection
from store.people import faces, people

#: Stored people at which somebody is told, and at which filing is due.
WARN_AT, FILE_AT, FILE_WITHIN_DAYS = 80_000, 100_000, 30
#: A consent holds a year and a month at most; then the person is asked again.
MOST_DAYS = 400
DETECTOR = "faces_stored"


class FaceRequestRefused(Exception):
    """A consent cannot be recorded like this; the message says why and how to mend it."""


def record(
    connection: Connection,
    estate_id: int,
    asked: dict[str, Any],
    *,
    actor: str,
    now: datetime,
    today: date,
) -> str:
    """Record a consent; returns its number.

    Raises: Refused.
    """
    if asked["under_14"] and not asked["guardian"]:
        raise FaceRequestRefused(
            "under fourteen a guardian consents: say which (parent or other_guardian), and keep the signed form"
        )
    if asked["given_at"] > now + timedelta(minutes=5):
        raise FaceRequestRefused("given_at lies ahead")
    if not today < asked["holds_to"] <= today + timedelta(days=MOST_DAYS):
        raise FaceRequestRefused(
            f"holds_to: a day after today and within {MOST_DAYS} days; then the person is asked again"
        )
    if not faces.assessment_holds(connection, estate_id, asked["assessment"], today):
        raise FaceRequestRefused(
            f"there is no impact assessment {asked['assessment']!r} of this estate on file that is not due for review"
        )
    home = faces.find_home_entrance(connection, estate_id, asked["person"], today)
    if home is None:
        raise FaceRequestRefused(
            f"{asked['person']!r} lives at no home of this estate now; register the tenancy first"
        )
    if home["entrance_id"] is None:
        raise FaceRequestRefused(
            "the home has no entrance in the register: a face is compared at a person's own entrance only"
        )
    code = faces.new_code()
    row = {
        **asked,
        **home,
        "code": code,
        "estate_id": estate_id,
        "purpose": "entrance",
        "recorded_by": actor,
    }
    if not faces.add_consent(connection, row):
        raise FaceRequestRefused(
            "this person's consent for this entrance is on record already; withdraw it first, or let it run"
        )
    return code


def withdraw(connection: Connection, ring: Keyring, code: str, *, actor: str, why: str) -> bool:
    """End a consent, now and after every restore; False where it had ended."""
    if not faces.withdraw(connection, code, actor=actor, why=why):
        return False
    faces.note_ended(connection, ring.index("consent", code), actor=actor, why="consent withdrawn")
    return True


def withdraw_again(connection: Connection, ring: Keyring) -> int:
    """End again what a restored backup brought back; returns how many."""
    back = [
        code
        for code in faces.standing_codes(connection)
        if people.was_erased(connection, ring.index("consent", code))
    ]
    for code in back:
        faces.withdraw(connection, code, actor="restore", why="it had ended before the restore")
    return len(back)


def state_of(consent: dict[str, Any], proofs: list[dict[str, Any]], today: date) -> str:
    """In one word: holds, over (its time), withdrawn, or deleted, which every gateway before its doors has confirmed."""
    if consent["withdrawn_at"] is None:
        return "holds" if consent["holds_to"] >= today else "over"
    sure = all(row["proven_at"] is not None and row["held_at"] is None for row in proofs)
    return "deleted" if sure and consent["held_at"] == 0 else "withdrawn"


def due_on(crossed_on: date) -> date:
    """The last day of the thirty working days after a day; China's public holidays and make-up days counted as published."""
    import holidays

    calendar = holidays.country_holidays("CN", years=(crossed_on.year, crossed_on.year + 1))
    return calendar.get_nth_working_day(crossed_on, FILE_WITHIN_DAYS)


def count_day(connection: Connection, now: datetime, today: date) -> int:
    """Count stored people, keep the day's figure, and tell when a line is reached; returns how many alerts were raised."""
    subjects = faces.count_subjects(connection) or 0
    if subjects == 0:
        return 0
    faces.note_count(connection, today, subjects)
    filing = faces.open_filing(connection)
    if subjects >= FILE_AT and filing is None:
        faces.start_filing(connection, today, due_on(today))
        filing = faces.open_filing(connection)
    if subjects < WARN_AT or (filing is not None and filing["filed_on"] is not None):
        return 0
    estate = faces.busiest_estate(connection)
    if estate is None:
        return 0
    reached = subjects >= FILE_AT
    due = filing["due_on"].isoformat() if filing is not None else ""
    wanted = NewAlert(
        estate_id=estate,
        detector=DETECTOR,
        subject_kind="estate",
        subject_id=estate,
        subject="faces",
        dedup_key="filing" if reached else "warning",
        alert_class=AlertClass.PRIVACY,
        severity=Severity.HIGH if reached else Severity.MEDIUM,
        score=1.0,
        reasons=("filing_due" if reached else "filing_near",),
        evidence={"subjects": subjects, "limit": FILE_AT, "due_on": due},
        policy_version="1",
        since_at=now,
    )
    raised = alerts.raise_alert(connection, wanted, actor="privacy watch")[1]
    if raised:
        audit.append(
            connection,
            AuditEntry(
                actor="privacy watch",
                action="countFaces",
                object="people",
                detail={"subjects": subjects, "due_on": due},
            ),
        )
    return int(raised)
