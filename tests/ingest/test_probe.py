"""What a broker keeps is found by trying: ours keeps all, mosquitto's default a thousand, and a stranger is told why it cannot be tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from anju.embedded import Broker, find_program
from anju.processes import answers, free_port, start, wait_for
from domain.broker import BrokerAddress
from ingest.probe import BrokerRefused, try_broker

pytestmark = pytest.mark.real


def test_a_broker_that_keeps_all(broker: Broker) -> None:
    trial = try_broker(broker.address, 3000)
    assert (trial.published, trial.kept, trial.shares) == (3000, 3000, True)


@pytest.mark.parametrize("protocol", [5, 311])
def test_the_default_keeps_a_thousand(tmp_path: Path, protocol: int) -> None:
    program = find_program("mosquitto")
    if program is None:
        pytest.skip("mosquitto is not on this machine")
    port = free_port()
    (tmp_path / "default.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", "utf-8")
    child = start("mosquitto", [program, "-c", tmp_path / "default.conf"], tmp_path / "log")
    try:
        wait_for(lambda: answers(port), child)
        assert try_broker(BrokerAddress(port=port, protocol=protocol), 3000).kept <= 1100
    finally:
        child.stop()


def test_a_broker_that_cannot_be_tried_says_why(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(BrokerRefused, match="does not answer"):
        try_broker(BrokerAddress(port=port))
    program = find_program("mosquitto")
    if program is None:
        pytest.skip("mosquitto is not on this machine")
    (tmp_path / "acl").write_text("topic read nothing\n", "utf-8")
    (tmp_path / "closed.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\n", "utf-8")
    child = start("mosquitto", [program, "-c", tmp_path / "closed.conf"], tmp_path / "log")
    try:
        wait_for(lambda: answers(port), child)
        with pytest.raises(BrokerRefused, match="refused the log-in"):
            try_broker(BrokerAddress(port=port))
    finally:
        child.stop()
