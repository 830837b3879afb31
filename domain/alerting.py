"""An alert's three axes, in the words of ISA-18.2 and OPC UA Part 9, and the steps between them.

Condition (what the world does), acknowledgement (what people did about it) and suppression (why it
is not shown) are independent; one enum for all three is how other systems come to states that
cannot be cleared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class AlertClass(StrEnum):
    """What kind of duty an alert is; it decides latching, sound and who sees it."""

    LIFE_SAFETY = "life_safety"
    HAZARD = "hazard"
    COMPLIANCE = "compliance"
    WELFARE = "welfare"
    DATA = "data"
    PRIVACY = "privacy"


class Severity(StrEnum):
    """How bad it is if it is true. A compliance lead is never critical."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for low up to 3 for critical."""
        return ("low", "medium", "high", "critical").index(self)


class AlertCondition(StrEnum):
    """What the world does. A condition whose on-delay runs is no alert yet."""

    ACTIVE = "active"
    RETURNED = "returned"
    NOT_EVALUABLE = "not_evaluable"


class Acknowledgement(StrEnum):
    """What people did about it."""

    UNACKNOWLEDGED = "unacknowledged"
    ACKNOWLEDGED = "acknowledged"
    CONFIRMED = "confirmed"


class Suppression(StrEnum):
    """Why it is not shown."""

    NONE = "none"
    SHELVED = "shelved"
    BY_DESIGN = "by_design"
    OUT_OF_SERVICE = "out_of_service"


class SubjectKind(StrEnum):
    """What an alert is about."""

    UNIT = "unit"
    DEVICE = "device"
    GATEWAY = "gateway"
    ESTATE = "estate"


class DetectorFamily(StrEnum):
    """A group of detectors that share their rules and differ by one word."""

    HAZARD = "hazard"
    """Hazards that a device reports, such as smoke."""
    DEVICE = "device"
    """Conditions of a device itself, such as tamper."""
    LIMIT = "limit"
    """Limits on a gauge, such as residual current."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorName:
    """What found an alert: "subletting" by a word alone, "hazard:smoke" by a family and a word.

    The text of a name is what the database, the API and the policy file hold.
    """

    word: str
    family: DetectorFamily | None = None

    def __str__(self) -> str:
        if self.family is None:
            return self.word
        return f"{self.family}:{self.word}"

    @classmethod
    def parse(cls, text: str) -> DetectorName:
        """Read a name from its text; a text without a known family is a word alone."""
        family, colon, word = text.partition(":")
        if colon and family in set(DetectorFamily):
            return cls(family=DetectorFamily(family), word=word)
        return cls(word=text)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class AlertKey:
    """What makes two alerts the same one: at most one alert of a key is open at a time."""

    detector: str
    subject_kind: SubjectKind
    subject_id: int
    dedup_key: str = ""
    """Tells apart several alerts of one detector about one subject; mostly empty."""


class NotAllowed(Exception):
    """The alert's state does not allow this step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """Where an alert stands on its axes. `ended` alerts are history: a recurrence opens a new one.

    One that latches stays on screen until a person has acknowledged it, also when its condition has
    returned: life safety always, others where policy says so (`latched`).
    """

    alert_class: AlertClass
    condition: AlertCondition = AlertCondition.ACTIVE
    acknowledgement: Acknowledgement = Acknowledgement.UNACKNOWLEDGED
    suppression: Suppression = Suppression.NONE
    latched: bool = False
    ended: bool = False

    @property
    def latches(self) -> bool:
        """Say whether it stays until a person has seen it."""
        return self.latched or self.alert_class is AlertClass.LIFE_SAFETY


def returned(state: AlertState) -> AlertState:
    """Note that the condition no longer holds; without a latch that ends the alert."""
    ended = not state.latches or state.acknowledgement is not Acknowledgement.UNACKNOWLEDGED
    return replace(state, condition=AlertCondition.RETURNED, ended=ended)


def acknowledged(state: AlertState) -> AlertState:
    """Note that a person has seen it; an alert that had already returned ends with this.

    Raises: NotAllowed where it has ended or was acknowledged before.
    """
    _standing(state, "acknowledge")
    if state.acknowledgement is not Acknowledgement.UNACKNOWLEDGED:
        raise NotAllowed(f"this alert is {state.acknowledgement} already")
    ended = state.condition is AlertCondition.RETURNED
    return replace(state, acknowledgement=Acknowledgement.ACKNOWLEDGED, ended=ended)


def confirmed(state: AlertState) -> AlertState:
    """Note that a person has looked and found it true (for a camera's alert: has reviewed it).

    Raises: NotAllowed where it has ended or was confirmed before.
    """
    _standing(state, "confirm")
    if state.acknowledgement is Acknowledgement.CONFIRMED:
        raise NotAllowed("this alert is confirmed already")
    ended = state.condition is AlertCondition.RETURNED
    return replace(state, acknowledgement=Acknowledgement.CONFIRMED, ended=ended)


def dismissed(state: AlertState) -> AlertState:
    """Note that a person has looked and found nothing: the alert ends.

    Raises: NotAllowed where it has ended.
    """
    _standing(state, "dismiss")
    return replace(state, ended=True)


def suppressed(
    state: AlertState, kind: Suppression, *, may_suppress_life_safety: bool
) -> AlertState:
    """Hold an alert back: shelved until a time, or out of service until it is taken back.

    Raises: NotAllowed where it has ended, or is about a life and whoever asks may not hold that
    back.
    """
    _standing(state, "hold back")
    if state.alert_class is AlertClass.LIFE_SAFETY and not may_suppress_life_safety:
        raise NotAllowed(
            "a life-safety alert is not shelved or taken out of service by an operator; "
            "acknowledge it"
        )
    return replace(state, suppression=kind)


def restored(state: AlertState) -> AlertState:
    """Show an alert again that was held back.

    Raises: NotAllowed where it was not.
    """
    if state.suppression not in (Suppression.SHELVED, Suppression.OUT_OF_SERVICE):
        raise NotAllowed("this alert is not shelved or out of service")
    return replace(state, suppression=Suppression.NONE)


def worsened(state: AlertState) -> AlertState:
    """Ask for a new acknowledgement of an alert that has become more severe; a shelf ends."""
    suppression = (
        Suppression.NONE if state.suppression is Suppression.SHELVED else state.suppression
    )
    return replace(state, acknowledgement=Acknowledgement.UNACKNOWLEDGED, suppression=suppression)


def _standing(state: AlertState, step: str) -> None:
    if state.ended:
        raise NotAllowed(f"this alert has ended; nothing is left to {step}")
