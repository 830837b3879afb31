"""Real meters, replayed through the gateway's topic by the command itself, on both levels.

The truth comes with the data. The tests skip, by name, where the data are not beside the
repository.
"""

from __future__ import annotations

import csv
import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from anju.demo.embedded import Broker
from anju.processes import start_anju
from store.database.connection import connect
from store.ingest import log
from tests.conftest import DATA

pytestmark = [pytest.mark.real, pytest.mark.data, pytest.mark.long]
WATER, POWER, DAILY = (
    DATA / "water_daiad",
    DATA / "electricity_sgsc",
    DATA / "electricity_uci_household",
)
MADRID = ZoneInfo("Europe/Madrid")
WATER_ARGUMENTS = [
    "--kind",
    "water",
    "--estate",
    "daiad",
    "--device-column",
    "user_key",
    "--time-column",
    "local_time",
    "--value-column",
    "meter_reading_l",
    "--uom",
    "l",
    "--timezone",
    "Europe/Madrid",
    "--time-format",
    "%d/%m/%Y %H:%M:%S",
    "--register",
]
POWER_ARGUMENTS = [
    "--kind",
    "electricity",
    "--estate",
    "sgsc",
    "--device-column",
    "customer_id",
    "--time-column",
    "reading_datetime",
    "--value-column",
    "general_supply_kwh",
    "--uom",
    "kwh",
    "--timezone",
    "Australia/Brisbane",
    "--interval",
    "--register",
]


@pytest.fixture
def anju(any_dsn: str, broker: Broker, tmp_path: Path) -> Iterator[Any]:
    environment = {
        "ANJU_DSN": any_dsn,
        "ANJU_BROKER_PORT": str(broker.address.port),
        "ANJU_INGEST_NAME": f"ingest-{os.getpid()}",
    }
    child = start_anju("ingest", ["ingest"], tmp_path / "ingest.log", environment)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "anju", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=280,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run.dsn = any_dsn  # type: ignore[attr-defined]
    yield run
    child.stop()


def alerts(dsn: str) -> list[dict[str, Any]]:
    with connect(dsn) as connection:
        assert all(tally.balanced for tally in log.read_tallies(connection).values())
        return connection.execute(
            "SELECT * FROM alerts WHERE detector = 'unoccupied' ORDER BY subject, since_at"
        ).fetchall()


def snapshot(dsn: str) -> list[Any]:
    with connect(dsn) as connection:
        return [
            connection.execute(query).fetchall()
            for query in (
                "SELECT count(*) AS n, sum(value)::numeric(20, 3) AS s FROM readings",
                "SELECT unit_id, day, water_l, energy_kwh, water_cover, faults FROM "
                "unit_days ORDER BY 1, 2",
                "SELECT detector, subject, since_at, until_at, condition, version FROM "
                "alerts ORDER BY 1, 2, 3",
                "SELECT count(*) AS n FROM quarantine",
            )
        ]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


@pytest.mark.skipif(
    not WATER.exists(), reason="the real water meters are not beside the repository"
)
def test_water_forty_homes_a_year(anju: Any) -> None:
    sent = anju("replay", str(WATER / "readings.csv.gz"), *WATER_ARGUMENTS)
    with gzip.open(WATER / "readings.csv.gz", "rt") as opened:
        lines = sum(1 for _ in opened) - 1
    assert f"{lines} rows" in sent and f"{lines} new" in sent
    anju("nightly")
    with connect(anju.dsn) as connection:
        days = connection.execute(
            "SELECT min(water_l) AS least, max(water_l) AS most FROM unit_days"
        ).fetchone()
        codes = {row["code"] for row in connection.execute("SELECT code FROM units")}
    assert days is not None and days["least"] >= 0 and days["most"] < 100_000
    found = alerts(anju.dsn)
    spells = [row for row in rows(WATER / "zero_water_spells.csv") if float(row["days"]) >= 30]
    told = [(a["subject"], str(a["since_at"]), str(a["until_at"]), a["evidence"]) for a in found]
    assert len(spells) == len(found) > 0, "\n".join(map(str, told))
    for spell in spells:
        begin, end = (
            datetime.fromisoformat(spell[k]).replace(tzinfo=MADRID) for k in ("from", "to")
        )
        matching = [
            a
            for a in found
            if a["subject"] == spell["user_key"]
            and a["since_at"] < end
            and (a["until_at"] is None or a["until_at"] > begin)
        ]
        assert len(matching) == 1, spell
        # Where somebody looked in, the lead began before this spell did.
        early = timedelta(days=120 if matching[0]["evidence"]["visits"] else 1)
        assert -early <= matching[0]["since_at"] - begin <= timedelta(days=1), (spell, matching)
    long_away = {
        row["user_key"] for row in rows(WATER / "zero_water_spells.csv") if float(row["days"]) >= 14
    }
    assert {a["subject"] for a in found} <= long_away and len(codes - long_away) > 30
    before = snapshot(anju.dsn)
    again = anju("replay", str(WATER / "readings.csv.gz"), *WATER_ARGUMENTS)
    assert "0 new" in again and "0 quarantined" in again
    anju("nightly")
    assert snapshot(anju.dsn) == before


@pytest.mark.skipif(
    not WATER.exists(), reason="the real water meters are not beside the repository"
)
def test_leaks_are_found_where_water_ran_every_hour(anju: Any) -> None:
    """Every run of 48 hours with flow in every hour is in an alert; what else is raised has no hour
    without flow either.
    """
    anju("replay", str(WATER / "readings.csv.gz"), *WATER_ARGUMENTS)
    anju("nightly")
    with connect(anju.dsn) as connection:
        found = connection.execute(
            "SELECT subject, since_at, until_at FROM alerts WHERE detector = 'continuous_flow'"
        ).fetchall()
    truth = rows(WATER / "continuous_flow_runs.csv")
    hit = 0
    for run in truth:
        begin, end = (datetime.fromisoformat(run[k]).replace(tzinfo=MADRID) for k in ("from", "to"))
        hit += any(
            a["subject"] == run["user_key"]
            and a["since_at"] < end
            and (a["until_at"] is None or a["until_at"] > begin)
            for a in found
        )
    homes = {run["user_key"] for run in truth}
    print(
        f"continuous flow: {hit} of {len(truth)} runs, {len(found)} alerts in "
        f"{len({a['subject'] for a in found})} homes, truth in {len(homes)}"
    )
    assert hit >= 0.8 * len(truth)
    assert {a["subject"] for a in found} <= homes


@pytest.mark.skipif(
    not POWER.exists(), reason="the real electricity meters are not beside the repository"
)
def test_electricity_five_homes(anju: Any) -> None:
    anju("replay", str(POWER / "readings.csv.gz"), *POWER_ARGUMENTS)
    anju("nightly")
    found = alerts(anju.dsn)
    away = [a for a in found if a["subject"] == "10006704"]
    assert len(away) == 1 and away[0]["evidence"]["families"] == ["electricity"]
    assert abs(
        away[0]["since_at"] - datetime(2012, 10, 9, tzinfo=ZoneInfo("Australia/Brisbane"))
    ) <= timedelta(days=1)
    assert away[0]["evidence"]["days"] in (107, 108, 109)
    with connect(anju.dsn) as connection:
        low = connection.execute(
            "SELECT from_day, to_day FROM abstentions a JOIN units u ON u.id = a.unit_id "
            "WHERE u.code = '10006704' "
            "AND reason = 'low_but_not_empty' AND from_day BETWEEN '2013-01-24' AND "
            "'2013-01-28' AND superseded_at IS NULL"
        ).fetchall()
    assert len(low) == 1 and (low[0]["to_day"] - low[0]["from_day"]).days >= 28
    stayed_in = {row["customer_id"] for row in rows(POWER / "low_use_spells.csv")} ^ {
        "10006486",
        "10006704",
        "10017562",
        "10017994",
        "10018250",
    }
    never = {"10006486", "10017562", "10018250"} | (stayed_in - {"10006704", "10017994"})
    assert not {a["subject"] for a in found} & never


@pytest.mark.skipif(not DAILY.exists(), reason="the real daily meter is not beside the repository")
def test_a_meter_that_speaks_once_a_day(anju: Any) -> None:
    """Four years of one lived-in home, with a holiday of 25 days: covered day by day, no lead, and
    no leak from coarse data.
    """
    anju(
        "replay",
        str(DAILY / "days.csv"),
        "--kind",
        "electricity",
        "--estate",
        "uci",
        "--device",
        "home-1",
        "--time-column",
        "datetime",
        "--value-column",
        "Global_active_power",
        "--uom",
        "kwmin",
        "--timezone",
        "Europe/Paris",
        "--interval",
        "--register",
    )
    anju("nightly")
    with connect(anju.dsn) as connection:
        row = connection.execute(
            "SELECT count(*) AS days, avg(energy_cover) AS cover, avg(energy_kwh) AS kwh "
            "FROM unit_days"
        ).fetchone()
        raised = connection.execute(
            "SELECT count(*) AS n FROM alerts WHERE alert_class <> 'data'"
        ).fetchone()
    assert row is not None and row["days"] > 1400 and row["cover"] > 0.98 and 20 < row["kwh"] < 35
    assert raised == {"n": 0}
