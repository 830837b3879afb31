"""Evidence as a picture: a unit's days as an SVG that needs no script, with the lead's time shaded.

A day of which nothing is known leaves a gap and is hatched; it is never drawn as zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from markupsafe import Markup

from store.alerts.alerts import Alert
from store.alerts.evidence import EvidenceDay

#: Size of the picture and the space above and below the bars, in user units of the SVG.
WIDTH = 640
HEIGHT = 92
PADDING = 4
#: Share of a day that readings must cover for its amount to be known.
_COVERED = 0.5
#: Share of a day's width that its bar fills, and the least width of a bar.
_BAR_SHARE = 0.82
_LEAST_BAR_WIDTH = 0.6
#: The share of days that lie within the picture: one flooded day must not flatten the others.
_SHARE_WITHIN = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartBar:
    """One day's bar; where nothing is known it is a gap."""

    x: float
    width: float
    y: float
    height: float
    known: bool
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartStrip:
    """One quantity over time."""

    name: str
    top: str
    """The amount at the upper edge, with its unit."""
    bars: Sequence[ChartBar]

    @property
    def drawn(self) -> Markup:
        """The bars as SVG.

        It is put together here because a page has thousands of them. They hold numbers, dates and
        units of our own, so nothing has to be escaped.
        """
        return Markup("".join(map(_draw_bar, self.bars)))  # noqa: S704


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceChart:
    """What the template draws; the shade covers the lead's time."""

    first: str
    last: str
    shade_x: float
    shade_width: float
    strips: Sequence[ChartStrip]
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Amount:
    """One day's amount of a quantity, and the share of the day that readings cover."""

    day: date
    value: float | None
    cover: float

    @property
    def known_value(self) -> float | None:
        """The amount; None where too little of the day is covered."""
        return self.value if self.cover >= _COVERED else None


def make_evidence_chart(
    alert: Alert, days: Sequence[EvidenceDay], names: Mapping[str, str]
) -> EvidenceChart | None:
    """Lay out the days behind an alert; None where there are none.

    `names` are the names of `water_l` and `energy_kwh` in the reader's language.
    """
    if not days:
        return None
    first = days[0].day
    last = days[-1].day
    calendar = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    day_width = WIDTH / len(calendar)
    water = [_Amount(day=day.day, value=day.water_l, cover=day.water_cover) for day in days]
    energy = [_Amount(day=day.day, value=day.energy_kwh, cover=day.energy_cover) for day in days]
    strips = []
    if any(amount.value is not None for amount in water):
        strips.append(_make_strip(water, calendar, name=names["water_l"], uom="L"))
    if any(amount.value is not None for amount in energy):
        strips.append(_make_strip(energy, calendar, name=names["energy_kwh"], uom="kWh"))
    begin = _local_day(alert.since_at, alert.timezone)
    end = last + timedelta(days=1)
    if alert.until_at is not None:
        end = _local_day(alert.until_at, alert.timezone)
    shade_from = max(0, (begin - first).days) * day_width
    shade_to = min(len(calendar), (end - first).days) * day_width
    return EvidenceChart(
        first=first.isoformat(),
        last=last.isoformat(),
        shade_x=round(shade_from, 1),
        shade_width=round(max(1.0, shade_to - shade_from), 1),
        strips=strips,
    )


def _make_strip(
    amounts: Sequence[_Amount], calendar: Sequence[date], *, name: str, uom: str
) -> ChartStrip:
    """Lay out one quantity, a bar or a gap for each day of the calendar."""
    by_day = {amount.day: amount for amount in amounts}
    top = _find_top([amount.value for amount in amounts if amount.value is not None])
    day_width = WIDTH / len(calendar)
    bars = []
    for n, day in enumerate(calendar):
        amount = by_day.get(day)
        value = amount.known_value if amount is not None else None
        # A gap is hatched over the whole height.
        share = 1.0 if value is None else min(1.0, value / top)
        text = "?" if value is None else f"{value:.1f} {uom}"
        height = share * (HEIGHT - 2 * PADDING)
        bars.append(
            ChartBar(
                x=round(n * day_width, 2),
                width=round(max(_LEAST_BAR_WIDTH, day_width * _BAR_SHARE), 2),
                y=round(HEIGHT - PADDING - height, 1),
                height=round(height, 1),
                known=value is not None,
                label=f"{day}: {text}",
            )
        )
    return ChartStrip(name=name, top=f"{top:.0f} {uom}", bars=bars)


def _find_top(values: Sequence[float]) -> float:
    """Return the amount at the upper edge: 98 in 100 days lie below it."""
    index = min(len(values) - 1, int(_SHARE_WITHIN * len(values)))
    return max(sorted(values)[index], 1e-9)


def _draw_bar(bar: ChartBar) -> str:
    kind = "bar" if bar.known else "gap"
    return (
        f'<rect class="{kind}" x="{bar.x}" y="{bar.y}" width="{bar.width}" height="{bar.height}">'
        f"<title>{bar.label}</title></rect>"
    )


def _local_day(at: datetime, timezone: str) -> date:
    return at.astimezone(ZoneInfo(timezone)).date()
