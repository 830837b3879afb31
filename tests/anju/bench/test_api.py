"""The benchmark of the API requests every list and detail route, and each is answered."""

from __future__ import annotations

from pathlib import Path

import pytest

from analytics.policy import load_policy
from anju.bench import api as bench
from anju.bench import api_city
from api.app import create_app
from api.schema import api_routes
from store.database.connection import open_pool
from store.live.bus import LiveBus

pytestmark = pytest.mark.real
#: Routes that are neither a list nor a detail of a city's data.
NOT_ASKED = {
    "alive",
    "ready",
    "startSignIn",
    "finishSignIn",
    "streamAlerts",
    "fetchExport",
    "exportAudit",
    "getAuditIntegrity",
    "getFaceConsent",
    "countFaces",
}


def test_every_route_is_asked(dsn: str) -> None:
    pool = open_pool(dsn, size=1)
    routes = {
        r.operation_id
        for r in api_routes(create_app(pool, LiveBus(None), load_policy()))
        if "GET" in (r.methods or ())
    }
    pool.close()
    asked = {name.partition(",")[0] for name in bench.ROUTES} - {"live page"}
    assert routes - NOT_ASKED == asked


@pytest.mark.long
def test_a_small_city_answers(dsn: str, tmp_path: Path) -> None:
    bench.make_keys(tmp_path / "keys.toml")
    api_city.fill(dsn, tmp_path / "keys.toml", 60, 400)
    found = bench.measure(dsn, tmp_path / "keys.toml", tmp_path, rate=40, seconds=5)
    assert set(found) == set(bench.ROUTES) and sum(t.failed for t in found.values()) == 0
    assert all(bench.percentile_ms(times.spans, 0.5) > 0 for times in found.values())
