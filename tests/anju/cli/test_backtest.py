"""Options of `anju backtest` are read by the detector's own parameters.

What does not fit ends the command.
"""

from __future__ import annotations

import pytest
import typer

from analytics.detectors import DETECTORS, unoccupied
from anju.cli.backtest import find_detector, read_params


def test_every_detector_is_found_by_its_key() -> None:
    assert [find_detector(detector.key) for detector in DETECTORS] == list(DETECTORS)


def test_options_become_numbers() -> None:
    options = ["warn_days=45", "max_visited=0.5"]
    assert read_params(unoccupied.DETECTOR, options) == {"warn_days": 45.0, "max_visited": 0.5}
    assert read_params(unoccupied.DETECTOR, []) == {}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("warm_days=45", "unoccupied has"),
        ("warn_days", "must be name=number"),
        ("warn_days=soon", "must be name=number"),
        ("warn_days=-3", "out of bounds; use 1 to 3660"),
        ("warn_days=2.5", "no whole number"),
        ("max_visited=1.5", "out of bounds; use 0 to 1"),
    ],
)
def test_an_option_that_does_not_fit_is_named(
    option: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        read_params(unoccupied.DETECTOR, [option])
    assert option in (error := capsys.readouterr().err) and message in error
