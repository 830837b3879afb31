"""Who may do what: roles, actions, and the part of the world that somebody reaches.

The table at the top of `ALLOWED` is the whole truth: an action that does not name a role is not that role's. A principal is a person's
log-in or a machine's key; what it reaches is a set of estates, resolved anew at every request. Both are kept twice: by the API, and by
row-level security in the database, which is told the estates and the sights of `Principal.sees`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.alerting import AlertClass
from domain.wire import CommandKind


class Role(StrEnum):
    """What a principal does for a living."""

    GUARD = "guard"
    PROPERTY_MANAGER = "property_manager"
    COMMUNITY_OFFICER = "community_officer"
    COMPLIANCE = "compliance"
    DEVICE_ENGINEER = "device_engineer"
    PRIVACY_OFFICER = "privacy_officer"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    SIMULATOR = "simulator"


class Action(StrEnum):
    """What can be done, as routes declare it and as a machine's key is given it."""

    SEE_PLACES = "see_places"
    SEE_DEVICES = "see_devices"
    SEE_UNITS = "see_units"
    SEE_ALERTS = "see_alerts"
    STEP_ON_ALERTS = "step_on_alerts"
    TAKE_OUT_OF_SERVICE = "take_out_of_service"
    HOLD_BACK_LIFE_SAFETY = "hold_back_life_safety"
    PLAN = "plan"
    KEEP_WELFARE = "keep_welfare"
    SEE_LEADS = "see_leads"
    RECORD_VISITS = "record_visits"
    SEE_COMMANDS = "see_commands"
    GIVE_COMMANDS = "give_commands"
    SEE_CHANNELS = "see_channels"
    EXPORT = "export"
    SEE_PEOPLE = "see_people"
    UNMASK = "unmask"
    APPROVE_UNMASK = "approve_unmask"
    KEEP_PEOPLE = "keep_people"
    SEE_CONSENTS = "see_consents"
    KEEP_CONSENTS = "keep_consents"
    MANAGE_USERS = "manage_users"
    SEE_AUDIT = "see_audit"
    OWN_SESSION = "own_session"


_R = Role
#: The truth table. Guards see no leads and no people, device engineers no homes and no people, administrators keep the site and read
#: no identities, privacy officers keep identities and see no behaviour, auditors look and change nothing, simulators only exist.
ALLOWED: dict[Action, frozenset[Role]] = {
    Action.OWN_SESSION: frozenset(Role),
    Action.SEE_PLACES: frozenset(Role),
    Action.SEE_DEVICES: frozenset(
        {
            _R.GUARD,
            _R.PROPERTY_MANAGER,
            _R.COMPLIANCE,
            _R.DEVICE_ENGINEER,
            _R.AUDITOR,
            _R.ADMINISTRATOR,
        }
    ),
    Action.SEE_UNITS: frozenset(
        {_R.PROPERTY_MANAGER, _R.COMMUNITY_OFFICER, _R.COMPLIANCE, _R.AUDITOR, _R.ADMINISTRATOR}
    ),
    Action.SEE_ALERTS: frozenset(Role) - {_R.SIMULATOR},
    Action.STEP_ON_ALERTS: frozenset(Role) - {_R.SIMULATOR, _R.AUDITOR},
    Action.TAKE_OUT_OF_SERVICE: frozenset(
        {_R.PROPERTY_MANAGER, _R.DEVICE_ENGINEER, _R.ADMINISTRATOR}
    ),
    Action.HOLD_BACK_LIFE_SAFETY: frozenset({_R.ADMINISTRATOR}),
    Action.PLAN: frozenset({_R.PROPERTY_MANAGER, _R.ADMINISTRATOR}),
    Action.KEEP_WELFARE: frozenset({_R.PROPERTY_MANAGER, _R.COMMUNITY_OFFICER, _R.ADMINISTRATOR}),
    Action.SEE_LEADS: frozenset(
        {_R.COMMUNITY_OFFICER, _R.COMPLIANCE, _R.AUDITOR, _R.ADMINISTRATOR}
    ),
    Action.RECORD_VISITS: frozenset({_R.COMMUNITY_OFFICER, _R.COMPLIANCE, _R.ADMINISTRATOR}),
    Action.SEE_COMMANDS: frozenset(
        {_R.GUARD, _R.PROPERTY_MANAGER, _R.COMPLIANCE, _R.AUDITOR, _R.ADMINISTRATOR}
    ),
    Action.GIVE_COMMANDS: frozenset({_R.GUARD, _R.PROPERTY_MANAGER, _R.ADMINISTRATOR}),
    Action.SEE_CHANNELS: frozenset({_R.AUDITOR, _R.ADMINISTRATOR}),
    Action.EXPORT: frozenset({_R.COMPLIANCE, _R.AUDITOR, _R.ADMINISTRATOR}),
    Action.SEE_PEOPLE: frozenset(
        {_R.PROPERTY_MANAGER, _R.COMMUNITY_OFFICER, _R.COMPLIANCE, _R.PRIVACY_OFFICER}
    ),
    Action.UNMASK: frozenset(
        {_R.PROPERTY_MANAGER, _R.COMMUNITY_OFFICER, _R.COMPLIANCE, _R.PRIVACY_OFFICER}
    ),
    Action.APPROVE_UNMASK: frozenset({_R.COMPLIANCE, _R.PRIVACY_OFFICER}),
    Action.KEEP_PEOPLE: frozenset({_R.PRIVACY_OFFICER}),
    Action.SEE_CONSENTS: frozenset({_R.PROPERTY_MANAGER, _R.PRIVACY_OFFICER}),
    Action.KEEP_CONSENTS: frozenset({_R.PROPERTY_MANAGER, _R.PRIVACY_OFFICER}),
    Action.MANAGE_USERS: frozenset({_R.ADMINISTRATOR}),
    Action.SEE_AUDIT: frozenset({_R.AUDITOR, _R.PRIVACY_OFFICER}),
}

#: Actions that nobody takes on a password alone: the session must have shown a second factor (GB/T 22239-2019, 8.1.4.1 d).
NEEDS_SECOND_FACTOR = frozenset(
    {Action.UNMASK, Action.APPROVE_UNMASK, Action.KEEP_PEOPLE, Action.MANAGE_USERS}
)
#: Actions that a machine's key may be given: none that touches people's names, log-ins or the audit.
FOR_KEYS = (
    frozenset(Action)
    - NEEDS_SECOND_FACTOR
    - {Action.SEE_PEOPLE, Action.SEE_AUDIT, Action.SEE_CONSENTS, Action.KEEP_CONSENTS}
)

_ALL = frozenset(AlertClass) - {AlertClass.PRIVACY}
#: Alert classes that a role sees. Who looks at people unusually often is told to those who keep watch over that, and to nobody else.
CLASSES_OF: dict[Role, frozenset[str]] = {
    Role.GUARD: frozenset({AlertClass.LIFE_SAFETY, AlertClass.HAZARD}),
    Role.PROPERTY_MANAGER: _ALL - {AlertClass.COMPLIANCE},
    Role.COMMUNITY_OFFICER: _ALL - {AlertClass.DATA},
    Role.COMPLIANCE: _ALL,
    Role.DEVICE_ENGINEER: frozenset({AlertClass.DATA}),
    Role.PRIVACY_OFFICER: frozenset({AlertClass.PRIVACY}),
    Role.AUDITOR: frozenset(AlertClass),
    Role.ADMINISTRATOR: _ALL,
    Role.SIMULATOR: frozenset(),
}

_DOOR, _VALVE = CommandKind.DOOR, CommandKind.VALVE
#: Commands that a role may give.
COMMANDS_OF: dict[Role, frozenset[CommandKind]] = {
    Role.GUARD: frozenset({_DOOR}),
    Role.PROPERTY_MANAGER: frozenset({_DOOR, _VALVE}),
    Role.ADMINISTRATOR: frozenset({_DOOR, _VALVE}),
}


def actions_of(role: Role) -> frozenset[Action]:
    """Return what a role may do."""
    return frozenset(action for action, roles in ALLOWED.items() if role in roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A log-in or a key, with its role, what it may do, and the estates that it reaches now."""

    user_id: int
    name: str
    role: Role
    estate_ids: tuple[int, ...]
    #: Whether it reaches every estate there is, and every one to come.
    everywhere: bool = False
    #: What a key narrows its owner's actions to; None for a person.
    key_actions: frozenset[Action] | None = None
    key_id: int | None = None
    second_factor: bool = False
    must_change_password: bool = False

    def may(self, action: Action) -> bool:
        """Tell whether an action is allowed, second factor aside."""
        return self.role in ALLOWED[action] and (
            self.key_actions is None or action in self.key_actions
        )

    @property
    def classes(self) -> frozenset[str]:
        """Alert classes that this principal sees."""
        return (
            CLASSES_OF[self.role]
            if self.may(Action.SEE_ALERTS) or self.may(Action.SEE_LEADS)
            else frozenset()
        )

    @property
    def sees(self) -> frozenset[str]:
        """What the database shows this principal: alert classes, and `units`, `people`, `commands`, `users`, `audit`."""
        sights = {
            "units": Action.SEE_UNITS,
            "people": Action.SEE_PEOPLE,
            "commands": Action.SEE_COMMANDS,
            "users": Action.MANAGE_USERS,
            "audit": Action.SEE_AUDIT,
            "channels": Action.SEE_CHANNELS,
            "leads": Action.SEE_LEADS,
            "welfare": Action.KEEP_WELFARE,
        }
        return self.classes | {sight for sight, action in sights.items() if self.may(action)}
