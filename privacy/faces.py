"""The law of faces at doors: who may consent and how, what ends a consent, and the count at which
filing is due.

人脸识别技术应用安全管理办法 (in force 2025-06-01): informed, voluntary and separate
consent, a guardian's under fourteen (art. 6 and 7), an impact assessment before (art. 9), never the
only way in (art. 10), filing with the provincial authority within thirty working days of reaching
100,000 stored people (art. 15). Templates stay on the estate; here are consents and reports of
gateways only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from domain.alerting import AlertClass, AlertKey, Severity, SubjectKind
from privacy.keyring import Keyring
from store.access import audit
from store.access.audit import AuditEntry
from store.alerts.raising import NewAlert, raise_alert
from store.database.connection import Connection
from store.people import erasures, face_consents, face_filings
from store.people.face_consents import GatewayProof, NewFaceConsent, StoredConsent
from store.people.face_filings import FaceFiling

#: Stored people at which an alert warns, and at which filing is due, within so many working days.
WARN_AT = 80_000
FILE_AT = 100_000
FILE_WITHIN_DAYS = 30
#: Days for which a consent holds at most, a year and a month; then the person is asked again.
MAX_CONSENT_DAYS = 400
#: Minutes by which a clock at the desk may be ahead.
CLOCK_TOLERANCE = timedelta(minutes=5)
DETECTOR = "faces_stored"
_ACTOR = "privacy watch"


class FaceRequestRefused(Exception):
    """A consent cannot be recorded like this; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentForm:
    """A consent as it was signed at the desk. `person` is the resident's code."""

    person: str
    text_version: str
    text_sha256: str
    assessment: str
    other_way: str
    under_14: bool
    guardian: str | None
    kept_at: str
    given_at: datetime
    holds_to: date


def record_consent(
    connection: Connection, estate_id: int, form: ConsentForm, *, actor: str, now: datetime
) -> str:
    """Record a consent; returns its code.

    Raises: FaceRequestRefused.
    """
    today = now.date()
    _check_form(form, now)
    if not face_filings.is_assessment_current(connection, estate_id, form.assessment, today):
        raise FaceRequestRefused(
            f"there is no impact assessment {form.assessment!r} of this estate on file that is "
            f"not due for review"
        )
    home = face_consents.find_home_entrance(connection, estate_id, form.person, today)
    if home is None:
        raise FaceRequestRefused(
            f"{form.person!r} lives at no home of this estate now; register the tenancy first"
        )
    if home.entrance_id is None:
        raise FaceRequestRefused(
            "the home has no entrance in the register: a face is compared at a person's own "
            "entrance only"
        )
    consent = NewFaceConsent(
        code=face_consents.new_consent_code(),
        resident_id=home.resident_id,
        estate_id=estate_id,
        entrance_id=home.entrance_id,
        purpose="entrance",
        text_version=form.text_version,
        text_sha256=form.text_sha256,
        assessment=form.assessment,
        other_way=form.other_way,
        under_14=form.under_14,
        guardian=form.guardian,
        kept_at=form.kept_at,
        given_at=form.given_at,
        holds_to=form.holds_to,
        recorded_by=actor,
    )
    if not face_consents.add_consent(connection, consent):
        raise FaceRequestRefused(
            "this person's consent for this entrance is on record already; withdraw it first, or "
            "let it run"
        )
    return consent.code


def _check_form(form: ConsentForm, now: datetime) -> None:
    today = now.date()
    if form.under_14 and not form.guardian:
        raise FaceRequestRefused(
            "under fourteen a guardian consents: say which (parent or other_guardian), and keep "
            "the signed form"
        )
    if form.given_at > now + CLOCK_TOLERANCE:
        raise FaceRequestRefused("given_at lies ahead")
    if not today < form.holds_to <= today + timedelta(days=MAX_CONSENT_DAYS):
        raise FaceRequestRefused(
            f"holds_to: a day after today and within {MAX_CONSENT_DAYS} days; then the person is "
            f"asked again"
        )


def withdraw_consent(
    connection: Connection, keyring: Keyring, code: str, *, actor: str, why: str
) -> bool:
    """End a consent, now and after every restore; False where it had ended."""
    if not face_consents.withdraw_consent(connection, code, actor=actor, why=why):
        return False
    index = keyring.index("consent", code)
    erasures.record_erasure(connection, index, actor=actor, reason="consent withdrawn")
    return True


def withdraw_again(connection: Connection, keyring: Keyring) -> int:
    """End the consents that a restored backup has brought back; returns how many."""
    withdrawn = 0
    for code in face_consents.list_standing_codes(connection):
        if erasures.was_erased(connection, keyring.index("consent", code)):
            face_consents.withdraw_consent(
                connection, code, actor="restore", why="it had ended before the restore"
            )
            withdrawn += 1
    return withdrawn


def state_of(consent: StoredConsent, proofs: Sequence[GatewayProof], today: date) -> str:
    """Return a consent's state: holds, over (its time has passed), withdrawn, or deleted, once
    every gateway has confirmed it.
    """
    if consent.withdrawn_at is None:
        return "holds" if consent.holds_to >= today else "over"
    all_confirmed = all(proof.proven_at is not None and proof.held_at is None for proof in proofs)
    return "deleted" if all_confirmed and consent.held_at == 0 else "withdrawn"


def filing_due_on(crossed_on: date) -> date:
    """Return the thirtieth working day after a day, by China's published public holidays and
    make-up days.
    """
    import holidays

    calendar = holidays.country_holidays("CN", years=(crossed_on.year, crossed_on.year + 1))
    return calendar.get_nth_working_day(crossed_on, FILE_WITHIN_DAYS)


def count_day(connection: Connection, now: datetime, today: date) -> int:
    """Count stored people, store the day's count, and raise an alert at 80,000 and at 100,000;
    returns how many alerts were raised.
    """
    subjects = face_filings.count_subjects(connection) or 0
    if subjects == 0:
        return 0
    face_filings.save_count(connection, today, subjects)
    filing = face_filings.find_filing(connection)
    if subjects >= FILE_AT and filing is None:
        face_filings.start_filing(connection, today, filing_due_on(today))
        filing = face_filings.find_filing(connection)
    is_filed = filing is not None and filing.filed_on is not None
    if subjects < WARN_AT or is_filed:
        return 0
    estate_id = face_filings.find_busiest_estate(connection)
    if estate_id is None:
        return 0
    alert = _filing_alert(estate_id, subjects, filing, now)
    is_new = raise_alert(connection, alert, actor=_ACTOR).is_new
    if is_new:
        entry = AuditEntry(
            actor=_ACTOR,
            action="countFaces",
            object="people",
            detail={"subjects": subjects, "due_on": alert.evidence["due_on"]},
        )
        audit.append(connection, entry)
    return int(is_new)


def _filing_alert(
    estate_id: int, subjects: int, filing: FaceFiling | None, now: datetime
) -> NewAlert:
    is_due = subjects >= FILE_AT
    key = AlertKey(
        detector=DETECTOR,
        subject_kind=SubjectKind.ESTATE,
        subject_id=estate_id,
        dedup_key="filing" if is_due else "warning",
    )
    return NewAlert(
        key=key,
        estate_id=estate_id,
        subject="faces",
        alert_class=AlertClass.PRIVACY,
        severity=Severity.HIGH if is_due else Severity.MEDIUM,
        score=1.0,
        reasons=("filing_due" if is_due else "filing_near",),
        evidence={
            "subjects": subjects,
            "limit": FILE_AT,
            "due_on": filing.due_on.isoformat() if filing is not None else "",
        },
        policy_version="1",
        since_at=now,
    )
