"""Roles, the actions that each role may take, and the principal that takes them.

`ALLOWED` is the whole table: a role may take an action only if the action names the role. A
principal is a user, or an API key that acts for one. Its grants cover a set of estates, which is
resolved anew at every request. The API applies both, and so does row-level security in the
database, to which the API passes the estates and `Principal.permissions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from domain.alerting import AlertClass
from domain.wire import CommandKind


class Role(StrEnum):
    """The job of a user."""

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
    """What a route does, and what an API key may be given."""

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
#: The roles that may take each action. Guards see neither leads nor people. Device engineers see
#: neither homes nor people. Administrators configure the site and read no identities. Privacy
#: officers handle identities and see no behaviour. Auditors change nothing. Simulators see places
#: only.
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

#: Actions for which the session must have shown a second factor (GB/T 22239-2019, 8.1.4.1 d).
NEEDS_SECOND_FACTOR = frozenset(
    {Action.UNMASK, Action.APPROVE_UNMASK, Action.KEEP_PEOPLE, Action.MANAGE_USERS}
)
#: Actions that an API key may be given: none that concerns people's names, users or the audit
#: record.
KEY_ACTIONS = (
    frozenset(Action)
    - NEEDS_SECOND_FACTOR
    - {Action.SEE_PEOPLE, Action.SEE_AUDIT, Action.SEE_CONSENTS, Action.KEEP_CONSENTS}
)

_ALL_BUT_PRIVACY = frozenset(AlertClass) - {AlertClass.PRIVACY}
#: Alert classes that a role sees. Unusual look-ups of people are shown to privacy officers and
#: auditors only.
CLASSES_OF: dict[Role, frozenset[str]] = {
    Role.GUARD: frozenset({AlertClass.LIFE_SAFETY, AlertClass.HAZARD}),
    Role.PROPERTY_MANAGER: _ALL_BUT_PRIVACY - {AlertClass.COMPLIANCE},
    Role.COMMUNITY_OFFICER: _ALL_BUT_PRIVACY - {AlertClass.DATA},
    Role.COMPLIANCE: _ALL_BUT_PRIVACY,
    Role.DEVICE_ENGINEER: frozenset({AlertClass.DATA}),
    Role.PRIVACY_OFFICER: frozenset({AlertClass.PRIVACY}),
    Role.AUDITOR: frozenset(AlertClass),
    Role.ADMINISTRATOR: _ALL_BUT_PRIVACY,
    Role.SIMULATOR: frozenset(),
}

#: Commands that a role may give.
COMMANDS_OF: dict[Role, frozenset[CommandKind]] = {
    Role.GUARD: frozenset({CommandKind.DOOR}),
    Role.PROPERTY_MANAGER: frozenset({CommandKind.DOOR, CommandKind.VALVE}),
    Role.ADMINISTRATOR: frozenset({CommandKind.DOOR, CommandKind.VALVE}),
}


def actions_of(role: Role) -> frozenset[Action]:
    """Return what a role may do."""
    return frozenset(action for action, roles in ALLOWED.items() if role in roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A user or an API key, with its role, its actions, and the ids of the estates that its grants
    cover now.
    """

    user_id: int
    name: str
    role: Role
    estate_ids: tuple[int, ...]
    #: Whether it has a grant of every estate, also of those to come.
    everywhere: bool = False
    #: The actions that a key was given; None for a user.
    key_actions: frozenset[Action] | None = None
    key_id: int | None = None
    second_factor: bool = False
    must_change_password: bool = False

    def may(self, action: Action) -> bool:
        """Tell whether the role, and the key, may take an action.

        Does not ask for the second factor.
        """
        return self.role in ALLOWED[action] and (
            self.key_actions is None or action in self.key_actions
        )

    @property
    def classes(self) -> frozenset[str]:
        """Alert classes that this principal sees."""
        if self.may(Action.SEE_ALERTS) or self.may(Action.SEE_LEADS):
            return CLASSES_OF[self.role]
        return frozenset()

    @property
    def permissions(self) -> frozenset[str]:
        """What row-level security shows this principal: its alert classes, and the names of
        `_PERMISSIONS`.
        """
        return self.classes | {name for name, action in _PERMISSIONS.items() if self.may(action)}


#: The action that each permission of row-level security follows from.
_PERMISSIONS = {
    "units": Action.SEE_UNITS,
    "people": Action.SEE_PEOPLE,
    "approvals": Action.APPROVE_UNMASK,
    "commands": Action.SEE_COMMANDS,
    "users": Action.MANAGE_USERS,
    "audit": Action.SEE_AUDIT,
    "channels": Action.SEE_CHANNELS,
    "leads": Action.SEE_LEADS,
    "welfare": Action.KEEP_WELFARE,
}
