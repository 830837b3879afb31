"""The answers about estates, gateways and units."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import Field

from api.answers import Answer
from store.register.places import UnitSummary


class EstateItem(Answer):
    """An estate with the numbers of what stands in it."""

    code: str = Field(description="the estate's code", examples=["qingnian"])
    name: str = Field(description="its name", examples=["青年家园"])
    programme: str = Field(description="its housing programme", examples=["public_rental"])
    timezone: str = Field(description="its IANA time zone", examples=["Asia/Shanghai"])
    jurisdiction: str | None = Field(description="the community's name", examples=["青年社区"])
    units: int = Field(description="units", examples=[1248])
    open_alerts: int = Field(description="alerts that have not ended", examples=[3])
    gateways_online: int = Field(description="gateways that are connected", examples=[11])
    gateways: int = Field(description="gateways in use", examples=[12])


class EstateListAnswer(Answer):
    """Estates by code."""

    items: list[EstateItem] = Field(description="estates")


class GatewayItem(Answer):
    """A gateway with the last state that it reported; null where it has not reported."""

    code: str = Field(description="the gateway's code", examples=["gw-3"])
    online: bool = Field(description="whether it is connected", examples=[True])
    state_at: datetime | None = Field(
        description="when it reported, by its own clock", examples=["2026-11-18T08:12:00Z"]
    )
    heard_at: datetime | None = Field(
        description="when the report came", examples=["2026-11-18T08:12:01Z"]
    )
    clock_offset_ms: int | None = Field(
        description="gateway's clock minus server's, by the gateway, ms", examples=[12]
    )
    outbox: int | None = Field(description="messages that wait in its outbox", examples=[0])
    lost: int | None = Field(description="messages that its full outbox dropped", examples=[0])
    boot: str | None = Field(description="its name for its start", examples=["k3f9"])
    best_effort: bool = Field(description="whether it sends without numbers", examples=[False])
    devices: int = Field(description="devices behind it in use", examples=[86])
    skew_ms: int | None = Field(
        description="gateway's clock minus server's, by the server, ms", examples=[-40]
    )
    open_gaps: int = Field(description="ranges of numbers that are missing", examples=[0])
    certificate_until: datetime | None = Field(
        description="when its certificate runs out", examples=["2027-06-01T00:00:00Z"]
    )


class GatewayListAnswer(Answer):
    """Gateways by code."""

    items: list[GatewayItem] = Field(description="gateways in use")


class GatewayDeviceItem(Answer):
    """A device behind a gateway."""

    device: str = Field(description="the device's code", examples=["wm-3-1-502"])
    kind: str = Field(description="what it is", examples=["water_meter"])
    profile: str = Field(description="its profile's key", examples=["water-dn15"])
    heard_at: datetime | None = Field(
        description="when it last sent a value, by its own clock; null for never",
        examples=["2026-11-18T08:00:00Z"],
    )


class GatewayDevicePage(Answer):
    """Devices by code."""

    items: list[GatewayDeviceItem] = Field(description="devices in use")
    next: str | None = Field(
        description="`after` of the following page; null on the last", examples=["wm-3-1-502"]
    )


class UnitItem(Answer):
    """A unit. `let` is left out for who may not see it: whether a home is let is about people."""

    code: str = Field(description="the unit's code", examples=["3-1-502"])
    floor: int | None = Field(description="storey", examples=[5])
    area_m2: float | None = Field(description="floor area, m²", examples=[48.5])
    entrance: str | None = Field(description="the entrance's code", examples=["3-1"])
    building: str | None = Field(description="the building's code", examples=["3"])
    let: bool | None = Field(None, description="whether it is let today", examples=[True])

    @classmethod
    def of(cls, unit: UnitSummary, *, shows_let: bool) -> UnitItem:
        """Return the item of a unit, with `let` only where it may be shown."""
        item = cls(
            code=unit.code,
            floor=unit.floor,
            area_m2=unit.area_m2,
            entrance=unit.entrance,
            building=unit.building,
        )
        if shows_let:
            item.let = unit.let
        return item


class UnitPage(Answer):
    """Units by code."""

    items: list[UnitItem] = Field(description="units")
    next: str | None = Field(
        description="`after` of the following page; null on the last", examples=["3-1-502"]
    )


class UnitAbstentionItem(Answer):
    """What a detector could not judge of a unit."""

    detector: str = Field(description="the detector's key", examples=["subletting"])
    from_day: date = Field(description="first local day", examples=["2026-03-01"])
    to_day: date = Field(description="last local day", examples=["2026-03-31"])
    reason: str = Field(description="reason code", examples=["thin_coverage"])
    found_at: datetime = Field(
        description="the clock of the night", examples=["2026-04-01T02:00:00Z"]
    )


class UnitAnswer(Answer):
    """A unit, with what could not be judged of it."""

    code: str = Field(description="the unit's code", examples=["3-1-502"])
    estate: str = Field(description="the estate's code", examples=["qingnian"])
    floor: int | None = Field(description="storey", examples=[5])
    area_m2: float | None = Field(description="floor area, m²", examples=[48.5])
    abstentions: list[UnitAbstentionItem] = Field(description="what could not be judged")


class ReadingValueItem(Answer):
    """A value at an instant."""

    at: datetime = Field(
        description="when it was measured, by the device", examples=["2026-11-18T08:00:00Z"]
    )
    device: str = Field(description="the device's code", examples=["wm-3-1-502"])
    value: float = Field(description="the value, in `uom`", examples=[123.456])


class ReadingPage(Answer):
    """A unit's values of one point, oldest first."""

    point: str = Field(description="the point's name", examples=["water_m3"])
    uom: str | None = Field(description="its unit of measure", examples=["m3"])
    items: list[ReadingValueItem] = Field(description="values")
    next_since: datetime | None = Field(
        description="`since` of the following page; null on the last",
        examples=["2026-11-18T08:00:00.001Z"],
    )


class LatestValueItem(Answer):
    """The newest value of a point, by the device's own clock."""

    device: str = Field(description="the device's code", examples=["wm-3-1-502"])
    point: str = Field(description="the point's name, with its unit", examples=["water_m3"])
    at: datetime = Field(
        description="when it was measured, by the device", examples=["2026-11-18T08:00:00Z"]
    )
    value: float = Field(description="the value", examples=[123.456])


class LatestValuesAnswer(Answer):
    """The newest values of a unit's devices, by device and point."""

    items: list[LatestValueItem] = Field(description="values")


class UnitDayItem(Answer):
    """Facts of one local day; null is "not known", never zero."""

    day: date = Field(description="the estate's own day", examples=["2026-11-18"])
    energy_kwh: float | None = Field(description="electricity used, kWh", examples=[5.2])
    energy_cover: float = Field(description="share of the day that readings cover", examples=[1.0])
    energy_floor_w: float | None = Field(
        description="mean power of the quietest interval, W", examples=[38.0]
    )
    energy_peak_w: float | None = Field(
        description="mean power of the busiest interval, W", examples=[1850.0]
    )
    energy_night_kwh: float | None = Field(description="00:00 to 05:00, kWh", examples=[0.4])
    energy_day_kwh: float | None = Field(description="09:00 to 18:00, kWh", examples=[1.9])
    energy_plateau_w: float | None = Field(
        description="median power above the lowest hour, 00:00 to 05:00, W", examples=[12.0]
    )
    energy_plateau_h: float | None = Field(
        description="hours from 00:00 to 08:00 near that plateau", examples=[5.0]
    )
    water_l: float | None = Field(description="water used, litres", examples=[182.0])
    water_cover: float = Field(description="share of the day that readings cover", examples=[1.0])
    water_trickle_l: float | None = Field(description="drips, litres", examples=[0.0])
    water_least_l_h: float | None = Field(
        description="lowest flow of an interval, litres an hour", examples=[0.0]
    )
    water_hours: float | None = Field(description="hours in which water was drawn", examples=[7.0])
    water_hours_known: float | None = Field(
        description="hours of which the use is known", examples=[24.0]
    )
    water_night_l: float | None = Field(description="00:00 to 05:00, litres", examples=[0.0])
    water_peak_l: float | None = Field(
        description="water in the busiest hour, litres", examples=[64.0]
    )
    energy_samples: int = Field(description="electricity readings", examples=[96])
    water_samples: int = Field(description="water readings", examples=[24])
    entries: int | None = Field(description="passages in", examples=[3])
    exits: int | None = Field(description="passages out", examples=[3])
    residents_seen: int | None = Field(
        description="residents, guests and carers at its doors", examples=[2]
    )
    strangers_seen: int | None = Field(description="others at its doors", examples=[0])
    residents_nights: int | None = Field(
        description="residents, guests and carers that spent the night", examples=[2]
    )
    strangers_nights: int | None = Field(description="others that spent the night", examples=[0])
    lent_passages: int | None = Field(
        description="passages with another person's credential", examples=[0]
    )
    cars_seen: int | None = Field(description="its vehicles at the gates", examples=[1])
    cars_nights: int | None = Field(description="its vehicles inside overnight", examples=[1])
    water_first_use_at: datetime | None = Field(
        description="by when water had been used first", examples=["2026-11-17T22:40:00Z"]
    )
    water_last_use_at: datetime | None = Field(
        description="by when water had been used last", examples=["2026-11-18T14:20:00Z"]
    )
    water_first_still_at: datetime | None = Field(
        description="begin of the time that is proven to be without use", examples=[None]
    )
    water_last_still_at: datetime | None = Field(
        description="end of the time that is proven to be without use", examples=[None]
    )
    faults: list[str] = Field(description="faults of its meters", examples=[["water_reversed"]])


class UnitDaysAnswer(Answer):
    """Facts by local day, oldest first."""

    items: list[UnitDayItem] = Field(description="days of which anything is known")
