"""Detectors: pure functions from a frame of facts to findings and abstentions, and the table that
names them.

To add one, write its module (a record named DETECTOR), its golden folder under
`tests/analytics/detectors/golden/`, its policy in `analytics/policy.toml`, and a line here.
"""

from __future__ import annotations

from typing import Any

from analytics.detectors import (
    change_of_use,
    continuous_flow,
    coverage_thin,
    ebike_charging,
    exit_warning,
    meter_faults,
    meter_stuck,
    meter_tampered,
    over_occupancy,
    overload,
    unauthorised,
    unlet_too_long,
    unoccupied,
)
from analytics.detectors.contract import Detector
from analytics.detectors.subletting import detector as subletting

DETECTORS: tuple[Detector[Any], ...] = (
    unoccupied.DETECTOR,
    subletting.DETECTOR,
    unauthorised.UNAUTHORISED,
    unauthorised.ENDED,
    change_of_use.DETECTOR,
    over_occupancy.DETECTOR,
    unlet_too_long.DETECTOR,
    exit_warning.DETECTOR,
    continuous_flow.DETECTOR,
    overload.DETECTOR,
    ebike_charging.DETECTOR,
    meter_stuck.DETECTOR,
    meter_faults.REVERSED,
    meter_faults.SWAPPED,
    meter_tampered.DETECTOR,
    coverage_thin.DETECTOR,
)

#: The columns of a frame that any detector reads: the nightly run loads these and no others.
INPUTS: frozenset[str] = frozenset().union(*(detector.inputs for detector in DETECTORS))
