"""What all answers of the API have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """A part of an answer, which can be read from a typed row with fields of the same names."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)


def example(values: Mapping[str, Any]) -> ConfigDict:
    """Return a model's configuration with an example, which the OpenAPI document shows."""
    return ConfigDict(json_schema_extra={"examples": [dict(values)]})
