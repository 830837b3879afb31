"""The placement: asked once, forgotten when the register changes, and strangers cost nothing."""

from __future__ import annotations

import numpy as np
import pytest

from store.database.connection import connect
from store.ingest.ledger import PostgresLedger
from store.register.placement import Placement
from tests.ingest.conftest import register

pytestmark = pytest.mark.real


def test_what_is_new_is_known_at_once_and_what_changed_soon(dsn: str) -> None:
    with connect(dsn, autocommit=True) as connection:
        register(connection)
        ledger, now = PostgresLedger.open(dsn), [0.0]
        placement = Placement(clock=lambda: now[0])
        placement.refresh(ledger)
        gateway = placement.gateway(ledger, "es", "gw")
        assert gateway is not None and placement.gateway(ledger, "other", "gw") is None
        keys = [(gateway.estate_id, code) for code in ("wm-1", "wm-8", "wm-9")]
        placement.learn(ledger, keys[:1] + keys[2:])
        connection.execute(
            "INSERT INTO devices (estate_id, code, kind, profile) "
            "SELECT id, unnest(ARRAY['wm-8', 'wm-9']), 'water_meter', 'x' "
            "FROM estates WHERE code = 'es'"
        )
        placement.learn(ledger, keys)
        known = [placement.device(*key) is not None for key in keys]
        assert known == [True, True, False], (
            "what is new is known at once, an absence is remembered for a moment"
        )
        now[0] = 3.0
        placement.refresh(ledger)
        placement.learn(ledger, keys)
        assert placement.device(*keys[2]) is not None
        assert placement.gateway(ledger, "es", "gw") is not None
        epoch = placement.epoch
        connection.execute("UPDATE gateways SET retired_on = current_date WHERE code = 'gw'")
        assert placement.gateway(ledger, "es", "gw") is not None
        now[0] = 4.5
        placement.refresh(ledger)
        assert placement.gateway(ledger, "es", "gw") is None and placement.epoch == epoch + 1
        now[0] = 6.0
        placement.refresh(ledger)
        assert placement.epoch == epoch + 1, "nothing changed, nothing is forgotten"
        ledger.close()


def test_points_are_made_once_and_carry_their_bounds(dsn: str) -> None:
    with connect(dsn) as connection:
        register(connection)
    ledger = PostgresLedger.open(dsn)
    placement = Placement(clock=lambda: 0.0)
    gateway = placement.gateway(ledger, "es", "gw")
    assert gateway is not None
    placement.learn(ledger, [(gateway.estate_id, "wm-1")])
    device = placement.device(gateway.estate_id, "wm-1")
    assert device is not None and device.points == {}
    placement.make_points(
        ledger, [(device, "water_m3"), (device, "water_m3"), (device, "odd_thing")]
    )
    ledger.commit()
    water, odd = device.points["water_m3"], device.points["odd_thing"]
    assert (placement.low[water], placement.high[water]) == (0.0, 1e8) and np.isinf(
        placement.high[odd]
    )
    assert placement.device_of[water] == device.id and ledger.point_names([water]) == {
        water: ("wm-1", "water_m3")
    }
    again = Placement(clock=lambda: 0.0)
    again.learn(ledger, [(gateway.estate_id, "wm-1")])
    learnt = again.device(gateway.estate_id, "wm-1")
    assert learnt is not None and learnt.points == device.points
    ledger.close()
