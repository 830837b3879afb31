"""What a site lets people do with people's data: for which purposes, with whose consent, how often,
and how long it is kept.

The defaults are strict; a site's own file replaces what it names, and a wrong one stops the start
with one line.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from domain.errors import UserError


class BadPeoplePolicy(UserError):
    """A site's people policy cannot be used; the message names where and how to mend it."""


class Purpose(BaseModel):
    """One reason for which somebody may look at a person."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    zh: str
    en: str
    #: Fields that may be looked at for it, and those that need a second person's yes.
    fields: tuple[str, ...] = ("name", "phone")
    second_person: tuple[str, ...] = ("id_number",)


FIELDS = ("name", "id_number", "phone")
_ALL = {"fields": FIELDS}
DEFAULT_PURPOSES = {
    "emergency": Purpose(
        zh="生命安全处置", en="a life-safety alert", fields=("name", "phone"), second_person=()
    ),
    "welfare_check": Purpose(zh="关爱走访", en="looking after somebody who asked for it"),
    "visit": Purpose(zh="入户核查准备", en="preparing a home visit"),
    "rectification": Purpose(zh="整改与退出办理", en="rectification or exit", **_ALL),
    "subject_request": Purpose(zh="本人申请查阅或更正", en="the person's own request", **_ALL),
    "legal_order": Purpose(
        zh="司法或行政机关依法调取",
        en="a court's or authority's order",
        fields=FIELDS,
        second_person=FIELDS,
    ),
}


class PeoplePolicy(BaseModel):
    """The whole policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    purposes: dict[str, Purpose] = DEFAULT_PURPOSES
    #: How long a granted look-up shows, and how long one that was asked for waits.
    shown_minutes: int = Field(15, ge=1, le=24 * 60)
    waits_hours: int = Field(24, ge=1, le=24 * 14)
    #: Persons that one log-in looks at in a day at most.
    persons_per_day: int = Field(50, ge=1, le=10_000)
    #: From here on looks are unusual, and somebody is told: persons in a day, looks between 22 and
    #: 6 o'clock, looks at one person in 30 days, homes looked at in a day.
    unusual_per_day: int = Field(20, ge=1)
    unusual_at_night: int = Field(5, ge=1)
    unusual_at_one: int = Field(6, ge=1)
    unusual_homes_per_day: int = Field(300, ge=1)
    #: Days that things are kept; a person is kept so long after the last tenancy's end.
    keep_person_days: int = Field(365, ge=0)
    keep_deliveries_days: int = Field(180, ge=1)
    keep_quarantine_days: int = Field(30, ge=1)
    keep_lookups_days: int = Field(
        1095,
        ge=1095,
        description="records of who looked are kept three years at least (PIPL art. 56)",
    )
    #: Homes that a cell of an export for people outside has at least.
    least_homes: int = Field(10, ge=3)


def load_people_policy(path: Path | None) -> PeoplePolicy:
    """Read a site's policy; None gives the defaults.

    Raises: BadPeoplePolicy.
    """
    if path is None:
        return PeoplePolicy()
    try:
        policy = PeoplePolicy.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadPeoplePolicy(f"{path.name}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise BadPeoplePolicy(
            f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from None
    for name, purpose in policy.purposes.items():
        odd = (set(purpose.fields) | set(purpose.second_person)) - set(FIELDS)
        if odd:
            raise BadPeoplePolicy(
                f"{path.name}: purposes.{name}: {sorted(odd)}: use {', '.join(FIELDS)}"
            )
    return policy
