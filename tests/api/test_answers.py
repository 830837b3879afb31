"""Answers: made of any row that has their fields, and shown with an example."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import Field, ValidationError

from api.answers import Answer, example


class HoldExample(Answer):
    """A hold."""

    model_config = example({"id": 4})
    id: int = Field(description="number of the hold")


@dataclass(frozen=True)
class HoldRow:
    id: int
    secret: str = "not shown"


def test_an_answer_is_made_of_a_row_and_shows_its_own_fields_only() -> None:
    assert HoldExample.model_validate(HoldRow(id=4)).model_dump() == {"id": 4}


def test_the_document_shows_the_example() -> None:
    assert HoldExample.model_json_schema()["examples"] == [{"id": 4}]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    code: str
    from_day: str
    secret: str


class PlaceItem(Answer):
    code: str
    from_day: str = Field(alias="from")


def test_a_row_becomes_an_answer_without_what_it_does_not_name() -> None:
    item = PlaceItem.model_validate({"code": "a", "from": "2026-01-01", "secret": "s"})
    assert item.model_dump(by_alias=True) == {"code": "a", "from": "2026-01-01"}
    assert PlaceItem(code="a", from_day="2026-01-01") == item


def test_a_row_that_lacks_a_field_is_refused() -> None:
    class Other(Answer):
        name: str

    with pytest.raises(ValidationError, match="name"):
        Other.model_validate(Place(code="a", from_day="2026-01-01", secret="s"))
