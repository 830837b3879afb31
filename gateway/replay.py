"""A file of real meter readings, sent through a gateway's topic as a gateway would send it.

The file's own columns are named by options; local times become UTC instants, also in the hour that
summer time repeats (rows stand in the order in which the meter wrote them, so the second pass is
told by time running backwards). The same file gives the same messages, byte for byte, so sending it
twice changes nothing.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from domain.errors import UserError
from domain.ids import slug
from domain.measures import REGISTER_OF, Supply
from domain.wire import ReadingItem

#: Readings in one message.
ITEMS = 500
#: How many rows that cannot be read are named one by one.
NAMED_FAULTS = 20

#: To the register's uom (m³, kWh).
FACTORS: dict[Supply, dict[str, float]] = {
    Supply.WATER: {"m3": 1.0, "l": 0.001, "gal": 0.003785411784},
    Supply.ELECTRICITY: {"kwh": 1.0, "wh": 0.001, "mwh": 1000.0, "kwmin": 1 / 60},
}


class BadFile(UserError):
    """The file does not hold what the options say.

    The message names the file, the column and the fix.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How to read a file: which columns hold the meter, the time and the value, and in what form.

    A file of one meter has no column for it; then `device` names the meter and `device_column` is
    None.
    """

    supply: Supply
    device_column: str | None
    time_column: str
    value_column: str
    uom: str
    timezone: ZoneInfo
    time_format: str | None = None
    interval: bool = False
    device: str = ""


@dataclass(slots=True, kw_only=True)
class ReplayFile:
    """A file as it is read.

    `devices` maps the codes found to the file's own keys. `faults` names rows that were left out.
    """

    path: Path
    layout: Layout
    rows: int = 0
    faulty: int = 0
    faults: list[str] = field(default_factory=list)
    devices: dict[str, str] = field(default_factory=dict)
    first_at: dict[str, int] = field(default_factory=dict)
    last_at: dict[str, int] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)

    @property
    def boot(self) -> str:
        """A boot that is the file's and the layout's own, so that a second sending is a resend."""
        digest = hashlib.sha256(repr(self.layout).encode())
        with self.path.open("rb") as stream:
            for block in iter(lambda: stream.read(1 << 20), b""):
                digest.update(block)
        return f"r{digest.hexdigest()[:15]}"

    def usual_interval_s(self) -> float:
        """Return how often the meters of a file report, in seconds.

        It is the median over meters of their mean interval, once the file has been read.
        """
        means = sorted(
            (self.last_at[code] - self.first_at[code]) / 1000 / (count - 1)
            for code, count in self.readings.items()
            if count > 1
        )
        return means[len(means) // 2] if means else 0.0

    def messages(self) -> Iterator[list[ReadingItem]]:
        """Read the file as messages, in its own order.

        Raises: BadFile for a file or a column that is not there.
        """
        batch: list[ReadingItem] = []
        for item in self._items():
            batch.append(item)
            if len(batch) == ITEMS:
                yield batch
                batch = []
        if batch:
            yield batch

    def _items(self) -> Iterator[ReadingItem]:
        layout = self.layout
        point = REGISTER_OF[layout.supply]
        factor = FACTORS[layout.supply][layout.uom]
        latest: dict[str, datetime] = {}
        total: dict[str, float] = {}
        codes: dict[str, str] = {}
        for line, row in self._rows():
            self.rows += 1
            try:
                key = row[layout.device_column].strip() if layout.device_column else layout.device
                code = codes.get(key) or codes.setdefault(key, self._code(key))
                amount = float(row[layout.value_column])
                if not math.isfinite(amount):
                    raise ValueError(f"{row[layout.value_column]!r} is not a finite number")
                if layout.interval:
                    # What was used since the row before: summed up it is the register that a meter
                    # would show.
                    amount = total[code] = total.get(code, 0.0) + amount
                at = self._instant(row[layout.time_column].strip(), latest.get(code))
            except (ValueError, TypeError, AttributeError) as error:
                self.faulty += 1
                if len(self.faults) < NAMED_FAULTS:
                    self.faults.append(f"{self.path.name}:{line}: {error}")
                continue
            latest[code] = max(latest.get(code, at), at)
            ms = round(at.timestamp() * 1000)
            self.first_at[code] = min(self.first_at.get(code, ms), ms)
            self.last_at[code] = max(self.last_at.get(code, ms), ms)
            self.readings[code] = self.readings.get(code, 0) + 1
            yield ReadingItem(device=code, at=ms, values={point: round(amount * factor, 6)})

    def _rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        try:
            opened = gzip.open if self.path.suffix == ".gz" else open
            raw = opened(self.path, "rt", encoding="utf-8-sig", newline="")
        except OSError as error:
            raise BadFile(f"{self.path}: cannot be opened: {error.strerror}") from None
        with raw as stream:
            reader = csv.DictReader(stream)
            headings = reader.fieldnames or []
            for option, column in (
                ("--device-column", self.layout.device_column),
                ("--time-column", self.layout.time_column),
                ("--value-column", self.layout.value_column),
            ):
                if column is not None and column not in headings:
                    raise BadFile(
                        f"{self.path.name}: no column {column!r}; its columns are "
                        f"{', '.join(headings)}: correct {option}"
                    )
            try:
                for row in reader:
                    yield reader.line_num, row
            except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
                raise BadFile(
                    f"{self.path.name}: cannot be read after line {reader.line_num}: {error}"
                ) from None

    def _code(self, key: str) -> str:
        if not key:
            raise ValueError(f"{self.layout.device_column} is empty")
        code = slug(key)
        taken = self.devices.setdefault(code, key)
        if taken != key:
            raise BadFile(
                f"{self.path.name}: {key!r} and {taken!r} would both be device {code!r}; rename one"
            )
        return code

    def _instant(self, text: str, latest: datetime | None) -> datetime:
        form = self.layout.time_format
        local = datetime.strptime(text, form) if form else datetime.fromisoformat(text)  # noqa: DTZ007
        if local.tzinfo is not None:
            return local.astimezone(UTC)
        first = local.replace(tzinfo=self.layout.timezone, fold=0).astimezone(UTC)
        second = local.replace(tzinfo=self.layout.timezone, fold=1).astimezone(UTC)
        if second > first and latest is not None and first <= latest:
            return second
        if second < first:
            raise ValueError(
                f"{text} does not exist in {self.layout.timezone.key} (summer time begins); "
                "the file may keep "
                "standard time: use a zone without summer time"
            )
        return first
