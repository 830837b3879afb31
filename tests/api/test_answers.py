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


def test_an_answer_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        HoldExample(id=4).id = 5  # type: ignore[misc]


def test_the_document_shows_the_example() -> None:
    assert HoldExample.model_json_schema()["examples"] == [{"id": 4}]
