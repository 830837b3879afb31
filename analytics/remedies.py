"""What device would cure an abstention: the other half of having the courage not to judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analytics.policy import LANGUAGES

#: By the reason of an abstention: what to fit or mend, in both languages.
REMEDIES: dict[str, dict[str, str]] = {
    "no_data": {"zh": "检修表计与网关通信", "en": "mend the meter or its line to the gateway"},
    "thin_coverage": {
        "zh": "检修表计通信，补传缺失数据",
        "en": "mend the meter's line; have what is missing sent again",
    },
    "low_but_not_empty": {"zh": "加装远传水表", "en": "fit a water meter that reports"},
    "looked_in_one_family": {
        "zh": "加装电表远传或智能门锁",
        "en": "fit an electricity meter or a door lock",
    },
    "too_coarse": {"zh": "水表改为每小时上报", "en": "have the water meter report every hour"},
    "no_door": {
        "zh": "加装单元门禁或入户智能门锁",
        "en": "fit an entrance terminal or a door lock",
    },
    "door_silent": {"zh": "检修门禁设备", "en": "mend the door terminal"},
    "no_meter": {
        "zh": "加装远传水表或电表，或让门锁每日上报电量",
        "en": "fit a water or electricity meter that reports, or have the lock tell its battery every day",
    },
    "meters_silent": {"zh": "检修水表、电表通信", "en": "mend the meters' line to the gateway"},
    "no_tenancy_known": {
        "zh": "在登记表中补录租约起止日期",
        "en": "enter past tenancies into the register",
    },
}


def cure_of(reason: str) -> dict[str, str]:
    """Return what cures an abstention's reason."""
    return REMEDIES[reason]


def shopping_list(counts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add up what would cure an estate's abstentions: by cure, how many units at most it would let be judged."""
    units: dict[str, int] = {}
    for row in counts:
        units[row["reason"]] = max(units.get(row["reason"], 0), int(row["units"]))
    return [
        {"reason": reason, "units": n, "cure": {lang: REMEDIES[reason][lang] for lang in LANGUAGES}}
        for reason, n in sorted(units.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
