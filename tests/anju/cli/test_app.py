"""The commands on a real database, as a person types them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anju.demo.embedded import Broker
from anju.processes import start_anju

pytestmark = pytest.mark.real


@pytest.fixture
def anju(dsn: str, broker: Broker) -> Any:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANJU_")}
    environment |= {"ANJU_DSN": dsn, "ANJU_BROKER_PORT": str(broker.address.port), "COLUMNS": "200"}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "anju", *arguments],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout + done.stderr

    return run


def test_a_register_is_tried_written_and_then_known(anju: Any, tmp_path: Path) -> None:
    anju("simulate", "write", str(tmp_path / "register"), "--units", "24")
    assert "nothing was written. Run it again with --apply" in anju(
        "register", "import", str(tmp_path / "register")
    )
    assert "written" in anju("register", "import", str(tmp_path / "register"), "--apply")
    again = anju("register", "import", str(tmp_path / "register"), "--apply")
    units = next(line for line in again.splitlines() if "│ units" in line)
    assert [cell.strip() for cell in units.split("│")[2:6]] == ["24", "0", "0", "24"]
    units_file = tmp_path / "register" / "units.csv"
    units_file.write_text(
        units_file.read_text("utf-8-sig").replace("01-1-101", "01 1 101", 1), "utf-8"
    )
    wrong = anju("register", "import", str(tmp_path / "register"), "--apply", code=2)
    assert "units.csv:2: code '01 1 101': must be" in wrong and "nothing was written" in wrong
    assert "0 leads" in anju("leads") and "open: none" in anju("quarantine", "list")
    assert "no such estate" in anju("leads", "--estate", "nowhere", code=2)
    assert "24 units judged, 0 unit-days, 0 findings" in anju("nightly")
    assert "to be changed at the first log-in" in anju(
        "users", "add", "wang", "--role", "guard", "--estate", "qingnian"
    )
    assert "| `estate`* |" in anju("register", "columns")


def test_a_small_file_is_replayed_and_known_the_second_time(
    anju: Any, dsn: str, broker: Broker, tmp_path: Path
) -> None:
    file = tmp_path / "meters.csv"
    rows = [
        f"meter {m},2026-01-{d:02d} {h:02d}:00:00,{1000 + 24 * d + h}"
        for m in (1, 2)
        for d in (1, 2, 3)
        for h in range(24)
    ]
    file.write_text("id,at,litres\n" + "\n".join(rows) + "\n", "utf-8")
    arguments = [
        "replay",
        str(file),
        "--kind",
        "water",
        "--estate",
        "small",
        "--device-column",
        "id",
        "--time-column",
        "at",
        "--value-column",
        "litres",
        "--uom",
        "l",
    ]
    assert "not in the register: import it, or add --register" in anju(*arguments, code=2)
    assert "no column 'liters'" in anju(*[a.replace("litres", "liters") for a in arguments], code=2)
    ingest = start_anju(
        "ingest",
        ["ingest"],
        tmp_path / "log",
        {
            "ANJU_DSN": dsn,
            "ANJU_BROKER_PORT": str(broker.address.port),
            "ANJU_INGEST_NAME": "ingest-cli",
        },
    )
    try:
        assert "144 new, 0 known already, 0 quarantined" in anju(*arguments, "--register")
        assert "0 new, 144 known already, 0 quarantined" in anju(*arguments, "--register")
        assert "2 units judged, 6 unit-days" in anju("nightly")
        file.write_text(file.read_text("utf-8") + "meter 1,yesterday,5\n", "utf-8")
        assert "1 rows could not be read" in anju(*arguments, code=1)
    finally:
        ingest.stop()
