"""The answers about people, look-ups and holds."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import Field

from api.answers import Answer, example


class PurposeAnswer(Answer):
    """A purpose for which one may look at a person."""

    model_config = example(
        {
            "purpose": "visit",
            "zh": "入户核查准备",
            "en": "preparing a home visit",
            "fields": ["name", "phone"],
            "second_person": ["id_number"],
        }
    )
    purpose: str = Field(description="name of the purpose")
    zh: str = Field(description="what it means, in Chinese")
    en: str = Field(description="what it means, in English")
    fields: list[str] = Field(description="fields that may be looked at")
    second_person: list[str] = Field(description="fields that need a second person's consent")


class PurposeList(Answer):
    """The purposes of this site."""

    model_config = example({"items": []})
    items: list[PurposeAnswer] = Field(description="purposes")


class PersonAnswer(Answer):
    """A person with masked fields."""

    model_config = example(
        {
            "code": "r-1024",
            "estate": "qingnian",
            "unit": "3-1-201",
            "readable": True,
            "name": "王**",
            "id_number": "4****************3",
            "phone": "139****0000",
        }
    )
    code: str = Field(description="code of the resident")
    estate: str = Field(description="code of the estate")
    unit: str | None = Field(description="code of the home where the person lived last")
    readable: bool = Field(description="whether the fields could be opened")
    name: str | None = Field(description="masked name")
    id_number: str | None = Field(description="masked number of the identity document")
    phone: str | None = Field(description="masked phone number")


class PersonPage(Answer):
    """A page of persons."""

    model_config = example({"items": [], "next": None})
    items: list[PersonAnswer] = Field(description="persons by code")
    next: str | None = Field(description="`after` of the following page; null on the last")


class PersonList(Answer):
    """Persons that were found."""

    model_config = example({"items": []})
    items: list[PersonAnswer] = Field(description="persons by code")


class AskedLookupAnswer(Answer):
    """A look-up that was asked for."""

    model_config = example({"id": 31, "state": "granted"})
    id: int = Field(description="number of the look-up")
    state: str = Field(description="granted, or asked while it waits for a second person")


class LookupAnswer(Answer):
    """A look-up; it holds no field of the person."""

    model_config = example(
        {
            "id": 31,
            "code": "r-1024",
            "estate": "qingnian",
            "asked_by": "wang",
            "role": "compliance",
            "asked_at": "2026-11-01T08:00:00Z",
            "purpose": "visit",
            "reference": "visit 2026-w47-03",
            "fields": ["name"],
            "state": "granted",
            "decided_by": None,
            "decided_at": "2026-11-01T08:00:00Z",
            "shown_at": None,
            "expires_at": "2026-11-01T08:15:00Z",
            "over": False,
        }
    )
    id: int = Field(description="number of the look-up")
    code: str | None = Field(description="code of the resident; null once the person is gone")
    estate: str = Field(description="code of the estate")
    asked_by: str = Field(description="who has asked")
    role: str = Field(description="role of who has asked")
    asked_at: datetime = Field(description="when it was asked for")
    purpose: str = Field(description="name of the purpose")
    reference: str = Field(description="what it rests on")
    fields: list[str] = Field(description="fields that it shows")
    state: str = Field(description="asked, granted or refused")
    decided_by: str | None = Field(description="second person who has decided")
    decided_at: datetime | None = Field(description="when it was granted or refused")
    shown_at: datetime | None = Field(description="when it was used first")
    expires_at: datetime = Field(description="when it is over")
    over: bool = Field(description="whether it is over")


class LookupPage(Answer):
    """A page of look-ups."""

    model_config = example({"items": [], "next": None})
    items: list[LookupAnswer] = Field(description="look-ups, newest first")
    next: int | None = Field(description="`before` of the following page; null on the last")


class ShownPersonAnswer(Answer):
    """The fields of a look-up."""

    model_config = example({"fields": {"name": "王小明", "phone": "13900000000"}})
    fields: dict[str, str | None] = Field(description="the fields; null where one is unknown")


class ResidenceAnswer(Answer):
    """A home of a person."""

    model_config = example(
        {
            "estate": "qingnian",
            "unit": "3-1-201",
            "role": "tenant",
            "from_day": "2024-01-01",
            "to_day": None,
        }
    )
    estate: str = Field(description="code of the estate")
    unit: str = Field(description="code of the home")
    role: str = Field(description="role in the household")
    from_day: date = Field(description="first day, local")
    to_day: date | None = Field(description="last day, local; null if it has not ended")


class ReportedLookupAnswer(Answer):
    """A look-up as the person is told of it."""

    model_config = example(
        {
            "asked_at": "2026-11-01T08:00:00Z",
            "role": "compliance",
            "purpose": "visit",
            "reference": "visit 2026-w47-03",
            "fields": ["name"],
            "state": "granted",
            "shown_at": None,
        }
    )
    asked_at: datetime = Field(description="when it was asked for")
    role: str = Field(description="role of who has asked")
    purpose: str = Field(description="name of the purpose")
    reference: str = Field(description="what it rests on")
    fields: list[str] = Field(description="fields that it shows")
    state: str = Field(description="asked, granted or refused")
    shown_at: datetime | None = Field(description="when it was used first")


class ReportedHoldAnswer(Answer):
    """A hold as the person is told of it."""

    model_config = example(
        {"reason": "case 7 is open", "made_at": "2026-11-01T08:00:00Z", "released_at": None}
    )
    reason: str = Field(description="why the person is not erased")
    made_at: datetime = Field(description="when the hold was made")
    released_at: datetime | None = Field(description="when it was released")


class PersonReportAnswer(Answer):
    """What is stored about a person, for that person."""

    model_config = example(
        {
            "code": "r-1024",
            "estate": "qingnian",
            "collected_for": "tenancy",
            "fields": {"name": "王小明"},
            "residences": [],
            "looked_at": [],
            "holds": [],
        }
    )
    code: str = Field(description="code of the resident")
    estate: str = Field(description="code of the estate")
    collected_for: str = Field(description="what the fields were collected for")
    fields: dict[str, str] = Field(description="the fields that are known, open")
    residences: list[ResidenceAnswer] = Field(description="homes, oldest first")
    looked_at: list[ReportedLookupAnswer] = Field(description="look-ups, oldest first")
    holds: list[ReportedHoldAnswer] = Field(description="holds, oldest first")


class HoldAnswer(Answer):
    """A hold that was made."""

    model_config = example({"id": 4})
    id: int = Field(description="number of the hold")
