"""The simulation's ledger against PostgreSQL's: the same work, in the same order, comes to the same
answers.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from domain import sequence
from domain.rejection import Reason, Rejected
from ingest.ledger import LaneLedger
from store.database.connection import DuplicateKey, connect
from store.ingest.ledger import PostgresLedger
from store.ingest.log import IngestTally, TallyKey
from store.ingest.progress import ProgressKey
from store.ingest.quarantine import QuarantinedMessage
from store.series.readings import EventRow, ReadingColumns
from tests.ingest.conftest import register
from tests.simulation.database import Database, SimLedger
from tests.simulation.world import World

pytestmark = pytest.mark.real
AT = 1_795_220_000_000


def work(ledger: LaneLedger, dice: random.Random, gateway: int, device: int) -> list[Any]:
    """Do sixty batches of everything, some of them undone; returns every answer."""
    said: list[Any] = []
    ledger.cover(AT, AT + 100_000)
    for _ in range(60):
        rows = [
            (AT + dice.randrange(40), dice.randrange(1, 4), float(dice.randrange(2)))
            for _ in range(dice.randrange(1, 6))
        ]
        at, point, value = (np.array(column) for column in zip(*rows, strict=True))
        batch = ReadingColumns(at=at, point=point.astype(np.int32), value=value.astype(float))
        told = [
            EventRow(
                device_id=device,
                at_ms=AT + n % 3,
                event_id=str(n),
                kind="hazard",
                data={"n": n % 2},
            )
            for n in [dice.randrange(9)]
        ]
        refused = [
            QuarantinedMessage(
                topic="t",
                payload=b"%d" % dice.randrange(9),
                why=Rejected(reason=Reason.BAD_ID, detail="x"),
            )
        ] * dice.randrange(3)
        low = dice.randrange(1, 40)
        merge, undone = dice.random() < 0.7, dice.random() < 0.2
        try:
            with ledger.batch(10.0):
                written = ledger.write_readings(batch, merge=merge)
                events = ledger.write_events(told)
                said.append(
                    (
                        written.fresh.sum(),
                        sorted(written.conflicts),
                        events.fresh.tolist(),
                        events.conflicts,
                    )
                )
                said.append(ledger.keep_refused(refused))
                said.append(
                    sorted(
                        ledger.note_seen(
                            {
                                ProgressKey(gateway, "readings", "b1"): sequence.runs(
                                    [low, low + 1, low + 5]
                                )
                            }
                        ).values()
                    )
                )
                ledger.add_tallies(
                    {TallyKey("es/gw", "readings"): IngestTally(received=1, stored=1)}
                )
                if undone:
                    raise KeyError("undone")
                ledger.commit()
        except DuplicateKey:
            said.append("there already")
        except KeyError:
            said.append("undone")
    return said


@pytest.mark.parametrize("seed", range(5))
def test_both_ledgers_say_the_same(dsn: str, seed: int) -> None:
    with connect(dsn) as connection:
        register(connection)
        row = connection.execute(
            "SELECT g.id AS g, d.id AS d FROM gateways g, devices d WHERE g.code = 'gw' AND "
            "d.code = 'smoke-1'"
        ).fetchone()
    assert row is not None
    real, simulated = PostgresLedger.open(dsn), SimLedger(Database(World(0), 2, 3))
    answers = [
        work(ledger, random.Random(seed), row["g"], row["d"]) for ledger in (real, simulated)
    ]
    real.close()
    assert answers[0] == answers[1]
    assert "there already" in answers[0] and "undone" in answers[0]
