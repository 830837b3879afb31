"""Who may do what: roles and the part of the world they reach.

A principal is a person's log-in (later also a machine's key). Their scope is a set of estates, resolved from a
jurisdiction or given one by one; every list that the API answers is cut to it in SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.wire import CommandKind


class Role(StrEnum):
    """What a principal does for a living."""

    GUARD = "guard"
    PROPERTY_MANAGER = "property_manager"
    COMPLIANCE = "compliance"
    DEVICE_ENGINEER = "device_engineer"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


#: Alert classes that a role sees. Guards see no compliance leads, device engineers nothing about people.
CLASSES_OF: dict[Role, frozenset[str]] = {
    Role.GUARD: frozenset({"life_safety", "hazard"}),
    Role.PROPERTY_MANAGER: frozenset({"life_safety", "hazard", "welfare", "data"}),
    Role.COMPLIANCE: frozenset({"compliance", "hazard", "life_safety", "welfare", "data"}),
    Role.DEVICE_ENGINEER: frozenset({"data"}),
    Role.AUDITOR: frozenset({"compliance", "hazard", "life_safety", "welfare", "data"}),
    Role.ADMINISTRATOR: frozenset({"compliance", "hazard", "life_safety", "welfare", "data"}),
}

#: Roles that may see what is used in a unit; it tells when a home is empty.
SEES_UNITS = frozenset({Role.PROPERTY_MANAGER, Role.COMPLIANCE, Role.AUDITOR, Role.ADMINISTRATOR})

#: Commands that a role may give.
COMMANDS_OF: dict[Role, frozenset[CommandKind]] = {
    Role.GUARD: frozenset({CommandKind.DOOR}),
    Role.PROPERTY_MANAGER: frozenset({CommandKind.DOOR, CommandKind.VALVE}),
    Role.COMPLIANCE: frozenset(),
    Role.DEVICE_ENGINEER: frozenset(),
    Role.AUDITOR: frozenset(),
    Role.ADMINISTRATOR: frozenset({CommandKind.DOOR, CommandKind.VALVE}),
}

#: Roles that only look.
READ_ONLY = frozenset({Role.AUDITOR})


#: Roles that may take an alert's source out of service, and those that may hold back even life safety: no operator may.
TAKES_OUT_OF_SERVICE = frozenset({Role.PROPERTY_MANAGER, Role.DEVICE_ENGINEER, Role.ADMINISTRATOR})
HOLDS_BACK_LIFE_SAFETY = frozenset({Role.ADMINISTRATOR})

#: Roles that announce work and drills, and that note who asked to be looked after.
PLANS = frozenset({Role.PROPERTY_MANAGER, Role.ADMINISTRATOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A log-in with its role and the estates that it reaches."""

    user_id: int
    name: str
    role: Role
    estate_ids: tuple[int, ...]
    must_change_password: bool = False

    @property
    def classes(self) -> frozenset[str]:
        """Alert classes that this principal sees."""
        return CLASSES_OF[self.role]
