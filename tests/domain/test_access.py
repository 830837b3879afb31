"""The truth table: every action names its roles, and what must never meet never does."""

from __future__ import annotations

from dataclasses import replace

from domain.access import (
    ALLOWED,
    CLASSES_OF,
    COMMANDS_OF,
    KEY_ACTIONS,
    NEEDS_SECOND_FACTOR,
    Action,
    Principal,
    Role,
    actions_of,
)
from domain.alerting import AlertClass

#: The whole table, written down a second time: whoever changes who may do what changes it in two
#: places, on purpose.
TABLE = {
    Role.GUARD: "own_session see_places see_devices see_alerts step_on_alerts see_commands "
    "give_commands",
    Role.PROPERTY_MANAGER: "own_session see_places see_devices see_units see_alerts "
    "step_on_alerts take_out_of_service plan keep_welfare "
    "see_commands give_commands see_people unmask see_consents keep_consents",
    Role.COMMUNITY_OFFICER: "own_session see_places see_units see_alerts step_on_alerts "
    "keep_welfare see_leads record_visits see_people unmask",
    Role.COMPLIANCE: "own_session see_places see_devices see_units see_alerts step_on_alerts "
    "see_leads record_visits see_commands export "
    "see_people unmask approve_unmask",
    Role.DEVICE_ENGINEER: "own_session see_places see_devices see_alerts step_on_alerts "
    "take_out_of_service",
    Role.PRIVACY_OFFICER: "own_session see_places see_alerts step_on_alerts see_people unmask "
    "approve_unmask keep_people see_consents keep_consents see_audit",
    Role.AUDITOR: "own_session see_places see_devices see_units see_alerts see_leads "
    "see_commands see_channels export see_audit",
    Role.ADMINISTRATOR: "own_session see_places see_devices see_units see_alerts step_on_alerts "
    "take_out_of_service hold_back_life_safety "
    "plan keep_welfare see_leads record_visits see_commands give_commands see_channels export "
    "manage_users",
    Role.SIMULATOR: "own_session see_places",
}


def who(role: Role) -> Principal:
    return Principal(user_id=1, name="x", role=role, estate_ids=(1,))


def test_the_table() -> None:
    for role in Role:
        assert sorted(actions_of(role)) == sorted(TABLE[role].split()), role
        assert all(who(role).may(action) == (action in TABLE[role].split()) for action in Action)
    assert set(ALLOWED) == set(Action) and set(CLASSES_OF) == set(Role) >= set(COMMANDS_OF)


def test_what_never_meets() -> None:
    assert not CLASSES_OF[Role.GUARD] & {
        AlertClass.COMPLIANCE,
        AlertClass.WELFARE,
        AlertClass.PRIVACY,
    }
    for role in (
        Role.GUARD,
        Role.DEVICE_ENGINEER,
        Role.ADMINISTRATOR,
        Role.AUDITOR,
        Role.SIMULATOR,
    ):
        assert "people" not in who(role).permissions, f"{role} reads no identities"
    for role in (Role.GUARD, Role.DEVICE_ENGINEER, Role.PRIVACY_OFFICER):
        assert "units" not in who(role).permissions, f"{role} sees no behaviour"
    assert not ALLOWED[Action.STEP_ON_ALERTS] & {Role.AUDITOR}
    assert {Action.UNMASK, Action.MANAGE_USERS, Action.KEEP_PEOPLE} <= NEEDS_SECOND_FACTOR
    assert not KEY_ACTIONS & (
        NEEDS_SECOND_FACTOR
        | {Action.SEE_PEOPLE, Action.SEE_AUDIT, Action.SEE_CONSENTS, Action.KEEP_CONSENTS}
    )
    assert [role for role in Role if AlertClass.PRIVACY in CLASSES_OF[role]] == [
        Role.PRIVACY_OFFICER,
        Role.AUDITOR,
    ]


def test_a_key_narrows_and_never_widens() -> None:
    key = replace(
        who(Role.GUARD), key_actions=frozenset({Action.SEE_LEADS, Action.SEE_PLACES}), key_id=3
    )
    assert (
        key.may(Action.SEE_PLACES)
        and not key.may(Action.SEE_LEADS)
        and not key.may(Action.SEE_ALERTS)
    )
    assert key.classes == frozenset() and key.permissions == frozenset()
