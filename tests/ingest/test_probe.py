"""What a broker keeps is found by trying: ours keeps all, mosquitto's default a thousand, and a
stranger is told why it cannot be tried.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from anju.demo.embedded import Broker
from anju.processes import free_port
from domain.broker import BrokerAddress
from ingest.probe import BrokerRefused, try_broker
from tests.shipped import plain_broker

pytestmark = pytest.mark.real


def test_a_broker_that_keeps_all(broker: Broker) -> None:
    trial = try_broker(broker.address, 3000)
    assert (trial.published, trial.kept, trial.shares) == (3000, 3000, True)


@pytest.mark.parametrize("protocol", [5, 311])
def test_the_default_keeps_a_thousand(tmp_path: Path, protocol: int) -> None:
    with plain_broker(tmp_path, "allow_anonymous true") as port:
        assert try_broker(BrokerAddress(port=port, protocol=protocol), 3000).kept <= 1100


def test_a_broker_that_cannot_be_tried_says_why(tmp_path: Path) -> None:
    with pytest.raises(BrokerRefused, match="does not answer"):
        try_broker(BrokerAddress(port=free_port()))
    with (
        plain_broker(tmp_path, "allow_anonymous false") as port,
        pytest.raises(BrokerRefused, match="refused the log-in"),
    ):
        try_broker(BrokerAddress(port=port))
