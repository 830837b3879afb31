"""Parameters are checked against their class: every wrong table is refused by name, every right one
comes back.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.detectors import DETECTORS
from analytics.parameters import (
    BadParameter,
    DayCount,
    ParameterBounds,
    Share,
    build_params,
    numbers_of,
    parameter_names,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    share: Share = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    days: DayCount = 30


@given(share=st.floats(0, 1), days=st.integers(1, 3660))
def test_a_table_comes_back_as_it_was_given(share: float, days: int) -> None:
    table = {"share": share, "days": days}
    built = build_params(Outer, table)
    assert built == Outer(inner=Inner(share=share), days=days)
    assert numbers_of(built) == table


def test_what_is_left_out_keeps_its_default() -> None:
    assert build_params(Outer, {}) == Outer()
    assert build_params(Outer, {"days": 45.0}) == Outer(days=45)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sahre": 0.5}, r"unknown \['sahre'\]; use \['days', 'share'\]"),
        ({"inner": 0.5}, "unknown"),
        ({"share": 1.5}, "share = 1.5 is out of bounds; use 0 to 1"),
        ({"share": float("nan")}, "share = nan is out of bounds"),
        ({"days": 0}, "days = 0 is out of bounds; use 1 to 3660"),
        ({"days": 2.5}, "days = 2.5 is no whole number"),
        ({"days": True}, "days = True is no number"),
        ({"share": "0.5"}, "share = '0.5' is no number"),
    ],
)
def test_a_wrong_table_is_refused_by_name(table: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        build_params(Outer, table)


def test_a_name_stands_once_in_a_class_and_what_it_holds() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Twice:
        inner: Inner = field(default_factory=Inner)
        share: Annotated[float, ParameterBounds(low=0, high=2)] = 1.0

    with pytest.raises(TypeError, match="share"):
        parameter_names(Twice)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.key)
def test_the_defaults_of_every_detector_lie_within_their_bounds(detector: Any) -> None:
    defaults = detector.params_type()
    assert build_params(detector.params_type, numbers_of(defaults)) == defaults


def every_class(params: Any) -> list[type]:
    held = [getattr(params, f.name) for f in fields(params)]
    return [type(params), *(c for value in held if is_dataclass(value) for c in every_class(value))]


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: d.key)
def test_every_parameter_says_what_it_is(detector: Any) -> None:
    for params_type in every_class(detector.params_type()):
        tree = ast.parse(inspect.getsource(params_type)).body[0]
        assert isinstance(tree, ast.ClassDef)
        for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and not isinstance(statement.value, ast.Call):
                described = (
                    isinstance(following, ast.Expr)
                    and isinstance(following.value, ast.Constant)
                    and isinstance(following.value.value, str)
                )
                assert described, (
                    f"{params_type.__name__}.{ast.unparse(statement.target)}: "
                    "write a docstring below it (unit, reason, source)"
                )
