"""The answers about people hold masked fields, and never a number of the database."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from api import people_answers
from api.people_answers import LookupAnswer, PersonAnswer
from privacy.person_vault import MaskedPerson

INNER = {"person_id", "user_id", "estate_id", "decider_id"}


@pytest.mark.parametrize("model", [LookupAnswer, PersonAnswer, people_answers.PersonReportAnswer])
def test_an_answer_holds_no_inner_number(model: type[BaseModel]) -> None:
    assert INNER.isdisjoint(model.model_fields)


def test_a_masked_person_is_shown_as_it_is() -> None:
    person = MaskedPerson(
        code="r-1",
        estate="es",
        unit=None,
        readable=True,
        name="王**",
        id_number=None,
        phone="139****0000",
    )
    assert PersonAnswer.model_validate(person).model_dump() == {
        "code": "r-1",
        "estate": "es",
        "unit": None,
        "readable": True,
        "name": "王**",
        "id_number": None,
        "phone": "139****0000",
    }
