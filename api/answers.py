"""What the answers of routes have in common: their models are built from typed rows and carry an
example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """The model of an answer.

    It may be made of any object that has its fields, such as a row of the store.
    """

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)


def example(values: Mapping[str, Any]) -> ConfigDict:
    """Return a model's configuration with an example, which the OpenAPI document shows."""
    return ConfigDict(json_schema_extra={"examples": [dict(values)]})
