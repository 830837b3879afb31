"""Detectors: pure functions from a frame of facts to findings and abstentions, and the table that names them.

To add one, write its module (a record named DETECTOR), its golden folder under `tests/analytics/detectors/golden/`,
its policy in `analytics/policy.toml`, and a line here.
"""

from __future__ import annotations

from analytics.detectors import continuous_flow, unoccupied
from analytics.detectors.contract import Detector

DETECTORS: tuple[Detector, ...] = (
    unoccupied.DETECTOR,
    continuous_flow.DETECTOR,
)
