"""A small hard city through the whole of it: register, play, nights of the past, leads as of a day,
visits, calibration, backtest.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anju.demo.embedded import Broker
from anju.processes import start_anju
from store.database.connection import connect

pytestmark = [pytest.mark.real, pytest.mark.long]
FIRST, MIDDLE, LAST = "2024-09-01", "2024-10-20", "2024-11-19"


@pytest.fixture
def anju(any_dsn: str, broker: Broker, tmp_path: Path) -> Iterator[Any]:
    environment = {
        "ANJU_DSN": any_dsn,
        "ANJU_BROKER_PORT": str(broker.address.port),
        "ANJU_INGEST_NAME": f"ingest-{os.getpid()}",
    }
    child = start_anju("ingest", ["ingest"], tmp_path / "ingest.log", environment)

    def run(*arguments: str, rc: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "anju", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=240,
        )
        assert done.returncode == rc, done.stderr + done.stdout
        return done.stdout + done.stderr

    run.dsn, run.environment = any_dsn, environment  # type: ignore[attr-defined]
    yield run
    child.stop()


def said(dsn: str) -> list[Any]:
    with connect(dsn) as connection:
        return [
            connection.execute(
                "SELECT detector, unit_id, since_at, until_at, score, reasons, evidence, "
                "found_at, superseded_at, raised_at "
                "FROM findings ORDER BY id"
            ).fetchall(),
            connection.execute(
                "SELECT detector, unit_id, from_day, to_day, reason, found_at, "
                "superseded_at FROM abstentions ORDER BY id"
            ).fetchall(),
            connection.execute(
                "SELECT detector, subject, condition, raised_at, ended_at FROM alerts ORDER BY id"
            ).fetchall(),
            connection.execute("SELECT * FROM judged_days").fetchall(),
        ]


def test_a_world_is_played_and_judged_night_by_night(anju: Any, tmp_path: Path) -> None:
    world = tmp_path / "world"
    anju("simulate", "world", str(world), "--units", "96", "--days", "80", "--seed", "18")
    anju("register", "import", str(world / "register"), "--apply")
    with gzip.open(world / "traffic" / "world-001-b02.jsonl.gz") as stream:
        rows = stream.readlines()
    # A month's outage of one gateway's line: what it sends late was not known before.
    late = [json.loads(row) for row in rows]
    anju("play", str(world / "traffic"), "--received-as-sent")
    anju("nightly", "--from", FIRST, "--to", MIDDLE)
    first_half = json.loads(anju("leads", "--as-of", MIDDLE, "--json"))
    kill = subprocess.Popen(
        [sys.executable, "-m", "anju", "nightly", "--from", FIRST, "--to", LAST],
        env={**os.environ, **anju.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(4)
    kill.send_signal(signal.SIGKILL)
    kill.wait()
    anju("nightly", "--from", FIRST, "--to", LAST)
    assert len(late) > 80 and first_half["as_of"] == MIDDLE
    # What was said of a day stays said, whatever came after it.
    assert json.loads(anju("leads", "--as-of", MIDDLE, "--json")) == first_half
    before = said(anju.dsn)
    anju("nightly", "--from", FIRST, "--to", LAST)
    assert said(anju.dsn) == before
    told = json.loads(anju("leads", "--as-of", LAST, "--json", "--visits", "12"))
    truth = json.loads((world / "truth.json").read_text())["truth"]
    for lead in told["leads"]:
        assert (
            lead["start_low"] <= lead["start_day"] <= lead["start_high"]
            and FIRST <= lead["raised_day"] <= LAST
        )
        assert lead["reasons"] and lead["why"]["zh"] and lead["why"]["en"] and 0 < lead["score"] < 1
    away = {
        row["unit"]
        for row in truth
        if row["kind"] == "unoccupied"
        and row["lasts"]
        and row["start_day"] < "2024-10-15"
        and row["fitting"] not in ("lock-only", "water-only")
    }
    assert away and away <= {lead["unit"] for lead in told["leads"] if lead["kind"] == "unoccupied"}
    assert len(told["visits"]["list"]) == 12 and any(v["control"] for v in told["visits"]["list"])
    assert all(a["remedy"]["en"] for a in told["abstentions"])
    visits_calibrate(anju, tmp_path, told)
    report = json.loads(
        anju(
            "backtest",
            "unoccupied",
            "--from",
            "2024-10-01",
            "--to",
            LAST,
            "--param",
            "warn_days=40",
            "--json",
        )
    )
    assert (
        report["params"]["warn_days"] == 40 and report["raised"] >= 1 and said(anju.dsn) == before
    )
    assert "such as" not in anju("backtest", "unoccupied", "--from", LAST, "--to", FIRST, rc=2)


def visits_calibrate(anju: Any, tmp_path: Path, told: dict[str, Any]) -> None:
    lead = next(row for row in told["leads"] if row["kind"] == "unoccupied")
    control = next(v for v in told["visits"]["list"] if v["control"])
    file = tmp_path / "visits.csv"
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(
            stream, ["estate", "unit", "visited_on", "outcome", "kind", "reason"]
        )
        writer.writeheader()
        writer.writerow(
            {
                "estate": lead["estate"],
                "unit": lead["unit"],
                "visited_on": LAST,
                "outcome": "confirmed",
                "kind": "unoccupied",
            }
        )
        writer.writerow(
            {
                "estate": control["estate"],
                "unit": control["unit"],
                "visited_on": LAST,
                "outcome": "unfounded",
                "reason": "control",
            }
        )
    assert "2 visits recorded" in anju("visits", "import", str(file))
    anju("visits", "import", str(file))
    report = json.loads(anju("visits", "calibration", "--json"))
    assert [(r["detector"], r["hits"], r["visits"]) for r in report["hit_rates"]] == [
        ("unoccupied", 1, 1)
    ]
    assert (report["control_visits"]["hits"], report["control_visits"]["visits"]) == (0, 1)
    wrong = anju(
        "visits",
        "record",
        "--estate",
        lead["estate"],
        "--unit",
        lead["unit"],
        "--on",
        LAST,
        "--outcome",
        "confirmed",
        rc=2,
    )
    assert "kind" in wrong and "subletting" in wrong


def test_what_comes_late_is_not_known_before(anju: Any, tmp_path: Path) -> None:
    """A home whose meter's backlog arrives weeks later is not judged by it in the nights before."""
    world = tmp_path / "world"
    anju("simulate", "world", str(world), "--units", "48", "--days", "60", "--seed", "8")
    anju("register", "import", str(world / "register"), "--apply")
    (file,) = (world / "traffic").iterdir()
    lines = [json.loads(row) for row in gzip.decompress(file.read_bytes()).splitlines()]
    base = min(line["payload"]["sent_at"] for line in lines)
    back = base + 45 * 86_400_000
    for line in lines:
        if base + 10 * 86_400_000 < line["payload"]["sent_at"] < back:
            line["payload"]["sent_at"] = back
    held = tmp_path / "late.jsonl.gz"
    with gzip.open(held, "wb") as out:
        out.writelines(json.dumps(line).encode() + b"\n" for line in lines)
    anju("play", str(held), "--received-as-sent")
    anju("nightly", "--from", FIRST, "--to", "2024-10-10")
    with connect(anju.dsn) as connection:
        known = connection.execute(
            "SELECT max(day) AS last FROM unit_days WHERE water_samples + energy_samples > 0"
        ).fetchone()
        silent = connection.execute(
            "SELECT count(*) AS n FROM findings WHERE detector = 'coverage_thin' AND "
            "superseded_at IS NULL"
        ).fetchone()
    assert known is not None and str(known["last"]) <= "2024-09-13"
    assert silent is not None and silent["n"] > 0
    anju("nightly", "--from", FIRST, "--to", "2024-10-28")
    with connect(anju.dsn) as connection:
        days = connection.execute(
            "SELECT count(DISTINCT day) AS n FROM unit_days WHERE water_samples + "
            "energy_samples > 0"
        ).fetchone()
        still = connection.execute(
            "SELECT count(*) AS n FROM findings WHERE detector = 'coverage_thin' AND "
            "superseded_at IS NULL "
            "AND until_at IS NULL"
        ).fetchone()
    assert days is not None and days["n"] >= 56 and still is not None and still["n"] < silent["n"]
