"""An answer is read from a typed row with fields of the same names."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from pydantic import Field, ValidationError

from api.answers import Answer


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
