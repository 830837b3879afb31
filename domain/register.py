"""What the register's CSV files hold: one sheet for each table, one column for each line.

This table is the one source for `anju register import`, for its documentation (`docs/registers.md`
is generated from it), and for the simulator's own files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from domain.register_cells import (
    one_of,
    read_date,
    read_id,
    read_instant,
    read_integer,
    read_number,
    read_text,
    read_time_zone,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a sheet. `ref` names the sheet whose code the cell holds, if it holds one."""

    name: str
    read: Callable[[str], Any]
    about: str
    about_zh: str
    required: bool = False
    ref: str | None = None

    @property
    def target(self) -> str:
        """The column of the table."""
        return f"{self.name}_id" if self.ref else self.name

    def read_cell(self, cell: str) -> Any:
        """Return the value of a cell without blanks around it; None for an empty one.

        Raises: ValueError, which says how to mend the cell.
        """
        if cell:
            return self.read(cell)
        if self.required:
            raise ValueError("must not be empty")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One CSV file and the table that it fills. `key` are the columns that identify a row."""

    name: str
    about: str
    about_zh: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("code",)

    @property
    def in_estate(self) -> bool:
        """Tell whether codes of this sheet are unique within an estate only."""
        return "estate" in self.key

    @property
    def refers_to_itself(self) -> bool:
        """Tell whether rows of this sheet refer to others of the same sheet."""
        return any(column.ref == self.name for column in self.columns)

    def column(self, name: str) -> Column | None:
        """Find a column by its name."""
        return next((column for column in self.columns if column.name == name), None)


def _code(about: str, about_zh: str) -> Column:
    return Column(name="code", read=read_id, about=about, about_zh=about_zh, required=True)


def _token(about: str, about_zh: str) -> Column:
    return Column(name="code", read=read_text, about=about, about_zh=about_zh, required=True)


def _ref(sheet: str, name: str, about: str, about_zh: str, *, required: bool = True) -> Column:
    return Column(
        name=name, read=read_text, about=about, about_zh=about_zh, required=required, ref=sheet
    )


_ESTATE = _ref("estates", "estate", "the estate's code", "小区编号")
_UNIT = _ref("units", "unit", "the unit's code within the estate", "套(房屋)编号")
_FROM = Column(
    name="valid_from", read=read_date, about="first day it holds", about_zh="生效日", required=True
)
_TO = Column(
    name="valid_to",
    read=read_date,
    about="last day it holds; empty while it lasts",
    about_zh="截止日，仍有效则留空",
)
_KNOWN = Column(
    name="recorded_on",
    read=read_date,
    about="day the office learned of it; from its first day on if empty",
    about_zh="登记日；空则自生效日起视为已知",
)
_NAME = Column(
    name="name", read=read_text, about="name shown to people", about_zh="显示名称", required=True
)
_NOTE = Column(
    name="note",
    read=read_text,
    about="free text without names or numbers of people",
    about_zh="备注，不含个人信息",
)

_KEYED_IN_ESTATE = ("estate", "code")

SHEETS: tuple[Sheet, ...] = (
    Sheet(
        name="jurisdictions",
        about="City, districts, streets and communities; "
        "a parent stands above its children in the file.",
        about_zh="市、区、街道、社区；上级须排在下级之前。",
        columns=(
            _code("the jurisdiction's code", "辖区编号"),
            _NAME,
            Column(
                name="level",
                read=one_of("city", "district", "street", "community"),
                about="city, district, street or community",
                about_zh="级别",
                required=True,
            ),
            _ref(
                "jurisdictions", "parent", "the code of the level above", "上级编号", required=False
            ),
        ),
    ),
    Sheet(
        name="estates",
        about="Estates (小区).",
        about_zh="小区。",
        columns=(
            _code("the estate's code, as it stands in topics", "小区编号，用于主题"),
            _NAME,
            _ref(
                "jurisdictions",
                "jurisdiction",
                "the community it lies in",
                "所属社区",
                required=False,
            ),
            Column(
                name="programme",
                read=one_of("public_rental", "affordable_rental"),
                about="public_rental or affordable_rental",
                about_zh="公租房或保租房",
            ),
            Column(
                name="timezone",
                read=read_time_zone,
                about="its time zone; Asia/Shanghai if empty",
                about_zh="时区",
            ),
        ),
    ),
    Sheet(
        name="buildings",
        about="Buildings (栋).",
        about_zh="楼栋。",
        key=_KEYED_IN_ESTATE,
        columns=(_ESTATE, _code("the building's code", "楼栋编号"), _NAME),
    ),
    Sheet(
        name="entrances",
        about="Entrances (单元): a stairwell with its own door.",
        about_zh="单元（楼梯间）。",
        key=_KEYED_IN_ESTATE,
        columns=(
            _ESTATE,
            _ref("buildings", "building", "the building's code", "楼栋编号"),
            _code("the entrance's code", "单元编号"),
        ),
    ),
    Sheet(
        name="units",
        about="Units (套): one dwelling each.",
        about_zh="套（房屋）。",
        key=_KEYED_IN_ESTATE,
        columns=(
            _ESTATE,
            _ref("entrances", "entrance", "the entrance's code", "单元编号", required=False),
            _code("the unit's code", "套编号"),
            Column(name="floor", read=read_integer, about="floor", about_zh="楼层"),
            Column(
                name="area_m2",
                read=read_number,
                about="floor space in m²",
                about_zh="面积（平方米）",
            ),
        ),
    ),
    Sheet(
        name="households",
        about="Households that hold tenancies.",
        about_zh="家庭。",
        columns=(
            _token("an opaque token, no name", "不透明标识，不得为姓名"),
            Column(
                name="members", read=read_integer, about="registered members", about_zh="登记人数"
            ),
        ),
    ),
    Sheet(
        name="tenancies",
        about="Who holds which unit, from when to when.",
        about_zh="租约。",
        columns=(
            _token("the tenancy's code", "租约编号"),
            _ESTATE,
            _UNIT,
            _ref("households", "household", "the household's token", "家庭标识"),
            _FROM,
            _TO,
            _KNOWN,
        ),
    ),
    Sheet(
        name="residents",
        about="Registered residents as opaque tokens.",
        about_zh="登记居住人（仅标识）。",
        columns=(
            _token("an opaque token, as doors send it", "不透明标识，与门禁一致"),
            _ref("households", "household", "the household's token", "家庭标识"),
            Column(
                name="role",
                read=one_of("tenant", "member", "guest", "carer"),
                about="tenant, member, guest or carer",
                about_zh="角色",
            ),
            _FROM,
            _TO,
            _KNOWN,
        ),
    ),
    Sheet(
        name="credentials",
        about="Cards, phones and the like as opaque tokens.",
        about_zh="门禁凭证（仅标识）。",
        columns=(
            _token("an opaque token", "不透明标识"),
            _ref(
                "residents",
                "resident",
                "the resident's token; empty for staff",
                "居住人标识",
                required=False,
            ),
            Column(
                name="method",
                read=read_text,
                about="card, phone, …",
                about_zh="方式",
                required=True,
            ),
            _FROM,
            _TO,
        ),
    ),
    Sheet(
        name="vehicles",
        about="Vehicles of households as opaque tokens.",
        about_zh="家庭登记车辆（仅标识）。",
        columns=(
            _token(
                "an opaque token, as the gate's camera sends it (`anju gateway token plate`)",
                "不透明标识，与道闸相机一致",
            ),
            _ref("households", "household", "the household's token", "家庭标识"),
            _FROM,
            _TO,
            _KNOWN,
        ),
    ),
    Sheet(
        name="gateways",
        about="Gateways.",
        about_zh="网关。",
        key=_KEYED_IN_ESTATE,
        columns=(
            _ESTATE,
            _code("the gateway's code, as it stands in topics", "网关编号，用于主题"),
            Column(
                name="retired_on", read=read_date, about="day it was taken down", about_zh="停用日"
            ),
        ),
    ),
    Sheet(
        name="devices",
        about="Devices.",
        about_zh="设备。",
        key=_KEYED_IN_ESTATE,
        columns=(
            _ESTATE,
            _ref(
                "gateways", "gateway", "the gateway that speaks for it", "所属网关", required=False
            ),
            _code("the device's code, as its gateway sends it", "设备编号，与上报一致"),
            Column(
                name="kind",
                read=one_of(
                    "water_meter",
                    "electricity_meter",
                    "door",
                    "gate",
                    "camera",
                    "detector",
                    "other",
                ),
                about="what it is: water_meter, electricity_meter, door, "
                "gate (a number-plate camera), camera, detector or other",
                about_zh="类别（gate 为车牌识别道闸）",
                required=True,
            ),
            Column(
                name="profile",
                read=read_text,
                about="its profile (devices/profiles)",
                about_zh="设备型号档案",
                required=True,
            ),
            Column(name="serial", read=read_text, about="serial number", about_zh="出厂编号"),
            Column(
                name="retired_on", read=read_date, about="day it was taken down", about_zh="停用日"
            ),
        ),
    ),
    Sheet(
        name="mounts",
        about="Where a device is mounted: at a unit, an entrance or a building.",
        about_zh="安装位置。",
        columns=(
            _token("the mount's code", "安装编号"),
            _ESTATE,
            _ref("devices", "device", "the device's code", "设备编号"),
            _ref("units", "unit", "the unit that it measures or opens", "套编号", required=False),
            _ref("entrances", "entrance", "the entrance that it opens", "单元编号", required=False),
            _ref("buildings", "building", "the building", "楼栋编号", required=False),
            Column(
                name="place",
                read=read_text,
                about="where it is mounted, in words",
                about_zh="位置说明",
            ),
            Column(
                name="valid_from",
                read=read_instant,
                about="since when",
                about_zh="安装时间",
                required=True,
            ),
            Column(
                name="valid_to",
                read=read_instant,
                about="until when; empty while it is mounted",
                about_zh="拆除时间",
            ),
        ),
    ),
    Sheet(
        name="declarations",
        about="Declared absence, guests, carers, repair, objections.",
        about_zh="申报（外出、访客、护理、维修、异议）。",
        columns=(
            _token("the declaration's code", "申报编号"),
            _ESTATE,
            _UNIT,
            Column(
                name="kind",
                read=one_of("absence", "guest", "carer", "repair", "objection"),
                about="what is declared",
                about_zh="类别",
                required=True,
            ),
            _FROM,
            _TO,
            _KNOWN,
            _NOTE,
        ),
    ),
    Sheet(
        name="tip_offs",
        about="Reports from the public.",
        about_zh="举报。",
        columns=(
            _token("the tip-off's code", "举报编号"),
            _ESTATE,
            _UNIT,
            Column(
                name="received_on",
                read=read_date,
                about="day it came",
                about_zh="收到日期",
                required=True,
            ),
            Column(
                name="kind",
                read=read_text,
                about="what is reported",
                about_zh="类别",
                required=True,
            ),
            _NOTE,
        ),
    ),
    Sheet(
        name="outside_facts",
        about="Facts that other offices report on a household. They warn, and prove nothing.",
        about_zh="外部门共享信息（仅作预警）。",
        columns=(
            _token("the fact's code", "信息编号"),
            _ref("households", "household", "the household's token", "家庭标识"),
            Column(
                name="kind",
                read=one_of(
                    "owns_home",
                    "income_over_limit",
                    "disqualified",
                    "lives_elsewhere",
                    "deceased",
                    "arrears",
                ),
                about="owns_home, income_over_limit, disqualified, lives_elsewhere, "
                "deceased or arrears",
                about_zh="类别",
                required=True,
            ),
            Column(
                name="received_on",
                read=read_date,
                about="day it came",
                about_zh="收到日期",
                required=True,
            ),
            Column(
                name="withdrawn_on",
                read=read_date,
                about="day it was taken back",
                about_zh="撤回日期",
            ),
            _NOTE,
        ),
    ),
)

SHEET_OF: dict[str, Sheet] = {sheet.name: sheet for sheet in SHEETS}
