"""What device would remedy an abstention: who cannot judge says what is needed to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from store.analytics.findings import AbstentionCount

#: A text in each language of `analytics.policy.LANGUAGES`.
Texts = dict[str, str]

#: By the reason of an abstention: what to fit or mend, in both languages.
REMEDIES: dict[str, Texts] = {
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
        "en": "fit a water or electricity meter that reports, "
        "or have the lock report its battery every day",
    },
    "meters_silent": {"zh": "检修水表、电表通信", "en": "mend the meters' line to the gateway"},
    "no_tenancy_known": {
        "zh": "在登记表中补录租约起止日期",
        "en": "enter past tenancies into the register",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededRemedy:
    """A remedy, and how many units at most it would let be judged."""

    reason: str
    units: int
    remedy: Texts


def remedy_of(reason: str) -> Texts:
    """Return what remedies an abstention's reason, in both languages."""
    return REMEDIES[reason]


def needed_remedies(counts: Sequence[AbstentionCount]) -> list[NeededRemedy]:
    """Add up what would remedy an estate's abstentions, the one for most units first."""
    units: defaultdict[str, int] = defaultdict(int)
    for count in counts:
        # The same units lack the same device for several detectors.
        units[count.reason] = max(units[count.reason], count.units)
    most_first = sorted(units.items(), key=lambda item: (-item[1], item[0]))
    return [
        NeededRemedy(reason=reason, units=number, remedy=remedy_of(reason))
        for reason, number in most_first
    ]
