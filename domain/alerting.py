"""An alert's three axes, in the words of ISA-18.2 and OPC UA Part 9, and the steps that are allowed between them.

Condition (what the world does), acknowledgement (what people did about it) and suppression (why it is not shown)
are independent; one enum for all three is how other systems come to states that cannot be cleared.
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


class Severity(StrEnum):
    """How bad it is if it is true. A compliance lead is never critical."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Condition(StrEnum):
    """What the world does."""

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


class NotAllowed(Exception):
    """The alert's state does not allow this step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """Where an alert stands on its axes. `ended` alerts are history: a recurrence opens a new one."""

    alert_class: AlertClass
    condition: Condition = Condition.ACTIVE
    acknowledgement: Acknowledgement = Acknowledgement.UNACKNOWLEDGED
    suppression: Suppression = Suppression.NONE
    ended: bool = False

    @property
    def latching(self) -> bool:
        """Life safety stays on screen until a person has acknowledged it, also when the condition has returned."""
        return self.alert_class is AlertClass.LIFE_SAFETY


def returned(state: AlertState) -> AlertState:
    """Note that the condition no longer holds; without a latch that ends the alert."""
    ended = not state.latching or state.acknowledgement is not Acknowledgement.UNACKNOWLEDGED
    return replace(state, condition=Condition.RETURNED, ended=ended)


def acknowledged(state: AlertState) -> AlertState:
    """Note that a person has seen it; an alert that had already returned ends with this.

    Raises: NotAllowed where it has ended or was acknowledged before.
    """
    if state.ended:
        raise NotAllowed("this alert has ended; nothing is left to acknowledge")
    if state.acknowledgement is not Acknowledgement.UNACKNOWLEDGED:
        raise NotAllowed(f"this alert is {state.acknowledgement} already")
    ended = state.condition is Condition.RETURNED
    return replace(state, acknowledgement=Acknowledgement.ACKNOWLEDGED, ended=ended)
