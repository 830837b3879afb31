"""What the benchmark reports is what it measured, share by share within a round."""

from __future__ import annotations

from anju.bench import ingest, latency
from anju.bench.ingest import Figures


def test_shares_are_taken_within_a_round() -> None:
    def made(whole: float, broker: float) -> Figures:
        return Figures(
            rates={
                "broker": broker,
                "copy": 900.0,
                "copy × 2": 1000.0,
                ingest.PYTHON_ROWS: 800.0,
                "whole": whole,
                "whole, stock paho": 20.0,
                "whole, 50 a message × 2": 500.0,
            }
        )

    found = ingest.shares([made(50.0, 100.0), made(30.0, 40.0)])
    assert found["one reading a message, of the lower limit"] == [0.5, 0.75]
    assert (
        "over Node-RED, one reading a message" not in found
        and latency.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    )
