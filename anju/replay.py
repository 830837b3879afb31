"""`anju replay`: wiring the gateway's file reader, the uplink and the register together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from anju.register_files import import_rows
from anju.settings import Settings
from domain.calendar import from_ms
from domain.errors import UserError
from domain.measures import Supply
from gateway.outbox import Outbox
from gateway.replay import Layout, ReplayFile
from gateway.uplink import Uplink
from store.database.connection import Connection, connect
from store.ingest import log
from store.register import places

_HOURLY = {Supply.WATER: "water-dn20", Supply.ELECTRICITY: "electricity-1p-100a"}
_DAILY = {Supply.WATER: "water-daily", Supply.ELECTRICITY: "electricity-daily"}
#: Meters that speak less often than this are registered as daily ones.
_DAILY_FROM_S = 6 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayTarget:
    """Where the readings of a file go: the gateway that they are sent as.

    With `make_register` the estate, its units and its meters are registered first; `profile` is
    the meters' profile, found from how often they report where it is None.
    """

    estate: str
    gateway: str
    make_register: bool
    profile: str | None

    @property
    def source_name(self) -> str:
        """Return the name by which ingest counts what the gateway sent."""
        return f"{self.estate}/{self.gateway}"


def run_replay(
    settings: Settings, file: Path, layout: Layout, target: ReplayTarget, out: Console
) -> int:
    """Send a file, wait until the server has acknowledged all of it, and return the exit code.

    Raises: UserError where the estate is not in the register.
    """
    survey = ReplayFile(path=file, layout=layout)
    message_count = sum(1 for _ in survey.messages())
    with connect(settings.conninfo()) as connection:
        if target.make_register:
            _register(connection, survey, target)
        elif places.find_estate(connection, places.estate_ids(connection), target.estate) is None:
            raise UserError(
                f"--estate {target.estate!r} is not in the register: import it, or add --register"
            )
        before = _read_tally(connection, target.source_name)
        source = ReplayFile(path=file, layout=layout)
        with (
            Uplink(
                settings.broker(), target.estate, target.gateway, Outbox(None, source.boot)
            ) as uplink,
            Progress(console=out) as bar,
        ):
            uplink.wait_connected()
            task = bar.add_task("sending", total=message_count)
            for items in source.messages():
                uplink.send_readings(items, replayed=True)
                bar.advance(task)
            uplink.drain()
        connection.rollback()
        after = _read_tally(connection, target.source_name)
    out.print(
        f"{source.rows} rows of {len(source.devices)} meters in {message_count} messages, "
        f"all acknowledged: {after.stored - before.stored} new, "
        f"{after.duplicates - before.duplicates} known already, "
        f"{after.quarantined - before.quarantined} quarantined"
    )
    for fault in source.faults:
        out.print(f"left out: {fault}")
    if source.faulty:
        out.print(
            f"{source.faulty} rows could not be read and were left out; the file still holds them"
        )
        return 1
    return 0


def _read_tally(connection: Connection, source_name: str) -> log.IngestTally:
    """Read how many readings of one gateway were received and what became of them."""
    return log.read_tallies(connection).get(
        log.TallyKey(source_name, "readings"), log.IngestTally()
    )


def _register(connection: Connection, survey: ReplayFile, target: ReplayTarget) -> None:
    """Register a unit, a household, a tenancy and a meter for every device of the file."""
    estate = target.estate
    gateway = target.gateway
    zone = survey.layout.timezone
    supply = survey.layout.supply
    kind = f"{supply}_meter"
    usual = _DAILY if survey.usual_interval_s() >= _DAILY_FROM_S else _HOURLY
    profile = target.profile or usual[supply]
    codes = sorted(survey.first_at)
    since = {code: from_ms(survey.first_at[code]) for code in codes}
    sheets: dict[str, list[dict[str, str]]] = {
        "estates": [{"code": estate, "name": estate, "timezone": zone.key}],
        "units": [{"estate": estate, "code": code} for code in codes],
        "households": [{"code": f"{estate}/{code}"} for code in codes],
        "tenancies": [
            {
                "code": f"{estate}/{code}",
                "estate": estate,
                "unit": code,
                "household": f"{estate}/{code}",
                "valid_from": since[code].astimezone(zone).date().isoformat(),
            }
            for code in codes
        ],
        "gateways": [{"estate": estate, "code": gateway}],
        "devices": [
            {"estate": estate, "gateway": gateway, "code": code, "kind": kind, "profile": profile}
            for code in codes
        ],
        "mounts": [
            {
                "code": f"{estate}/{code}",
                "estate": estate,
                "device": code,
                "unit": code,
                "valid_from": since[code].isoformat(),
            }
            for code in codes
        ],
    }
    report = import_rows(connection, sheets)
    if report.errors:
        raise UserError("\n".join(str(error) for error in report.errors))
