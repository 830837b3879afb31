"""The doctor: it finds what a promise cannot rest on, and says why and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from anju.demo.embedded import Broker, Redis
from anju.doctor import Check, CheckVerdict, examine
from anju.processes import free_port
from anju.settings import Settings
from tests.shipped import plain_broker

pytestmark = pytest.mark.real


def checks(**settings: object) -> dict[str, Check]:
    found = list(examine(Settings(**settings), 5000))  # type: ignore[arg-type]
    return {check.what: check for check in found}


def test_a_fit_site(dsn: str, broker: Broker, redis: Redis) -> None:
    found = checks(dsn=dsn, broker_port=broker.address.port, redis_url=redis.url, ingest_readings=2)
    assert (
        found["broker"].verdict is CheckVerdict.FIT and "kept all 5000" in found["broker"].message
    )
    assert (
        found["tables"].verdict is CheckVerdict.FIT and found["Redis"].verdict is CheckVerdict.FIT
    )
    # The tests' own server is started without fsync, for speed; the doctor notices.
    assert found["database fsync"].verdict is CheckVerdict.REFUSES


def test_a_broker_with_its_default_configuration_is_refused(tmp_path: Path, dsn: str) -> None:
    with plain_broker(tmp_path, "allow_anonymous true") as port:
        found = checks(dsn=dsn, broker_port=port)["broker"]
    assert found.verdict is CheckVerdict.REFUSES
    assert "of 5000 messages" in found.message and "max_queued_messages 1000000" in found.message


def test_what_does_not_answer_is_named(tmp_path: Path) -> None:
    port = free_port()
    found = checks(
        dsn=f"postgresql://127.0.0.1:{port}/anju",
        broker_port=port,
        redis_url=f"redis://127.0.0.1:{port}/0",
    )
    assert found["database"].verdict is found["broker"].verdict is CheckVerdict.REFUSES
    assert "ANJU_DSN" in found["database"].message and "does not answer" in found["broker"].message
    assert found["Redis"].verdict is CheckVerdict.WARNS
