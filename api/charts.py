"""Evidence as a picture: a unit's days as an SVG that needs no script, with the lead's time shaded.

A day of which nothing is known leaves a gap and is hatched; it is never drawn as zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from store.alerts.alerts import Alert

WIDTH, HEIGHT, PAD = 640, 92, 4
_COVERED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One day's bar; `known` false is a gap."""

    x: float
    width: float
    y: float
    height: float
    known: bool
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """One quantity over time."""

    name: str
    top: str
    bars: list[Bar]

    @property
    def drawn(self) -> Markup:
        """The bars as SVG. They are numbers, dates and units of our own, put together here: a page has thousands of them."""
        return Markup(  # noqa: S704
            "".join(
                f'<rect class="{"bar" if bar.known else "gap"}" x="{bar.x}" y="{bar.y}" width="{bar.width}" height="{bar.height}">'
                f"<title>{bar.label}</title></rect>"
                for bar in self.bars
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What the template draws."""

    first: str
    last: str
    shade_x: float
    shade_width: float
    strips: list[Strip]
    width: int = WIDTH
    height: int = HEIGHT


def evidence_chart(row: Alert, days: list[dict[str, Any]], names: dict[str, str]) -> Chart | None:
    """Lay out the days behind an alert; None where there are none."""
    if not days:
        return None
    zone = ZoneInfo(row.timezone)
    first, last = days[0]["day"], days[-1]["day"]
    count = (last - first).days + 1
    step = WIDTH / count
    begin = row.since_at.astimezone(zone).date()
    end = row.until_at.astimezone(zone).date() if row.until_at else last + timedelta(days=1)
    x0 = max(0, (begin - first).days) * step
    x1 = min(count, (end - first).days) * step
    by_day = {day["day"]: day for day in days}
    strips = [
        _strip(by_day, first, count, step, value, cover, f"{names[value]}", uom)
        for value, cover, uom in (
            ("water_l", "water_cover", "L"),
            ("energy_kwh", "energy_cover", "kWh"),
        )
        if any(day[value] is not None for day in days)
    ]
    return Chart(
        first=first.isoformat(),
        last=last.isoformat(),
        shade_x=round(x0, 1),
        shade_width=round(max(1.0, x1 - x0), 1),
        strips=strips,
    )


def _strip(
    by_day: dict[date, dict[str, Any]],
    first: date,
    count: int,
    step: float,
    value: str,
    cover: str,
    name: str,
    uom: str,
) -> Strip:
    amounts = sorted(day[value] for day in by_day.values() if day[value] is not None)
    # The tallest two days in a hundred may run out of the picture: one flooded day must not flatten the rest.
    top = max(amounts[min(len(amounts) - 1, int(0.98 * len(amounts)))], 1e-9)
    bars = []
    for i in range(count):
        day = by_day.get(first + timedelta(days=i))
        known = day is not None and day[value] is not None and day[cover] >= _COVERED
        height = (
            min(1.0, day[value] / top) * (HEIGHT - 2 * PAD)
            if known and day is not None
            else HEIGHT - 2 * PAD
        )
        amount = f"{day[value]:.1f} {uom}" if known and day is not None else "?"
        bars.append(
            Bar(
                x=round(i * step, 2),
                width=round(max(0.6, step * 0.82), 2),
                y=round(HEIGHT - PAD - height, 1),
                height=round(height, 1),
                known=known,
                label=f"{first + timedelta(days=i)}: {amount}",
            )
        )
    return Strip(name=name, top=f"{top:.0f} {uom}", bars=bars)
