"""Evidence of doors: registered residents are no longer seen, strangers stay, guests change by the
week, a card is lent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analytics.detectors.subletting.signs import (
    LEAST_PAST_DAYS,
    PAST_DOOR_DAYS,
    SightingParams,
    Stretch,
    SublettingSigns,
    share_of_days,
    strength_of_share,
)
from analytics.frame import UnitDayFrame
from analytics.fusion import Weight, limit_ratio, unseen_ratio
from analytics.parameters import Count, LikelihoodRatio
from domain.people import PersonKind

#: Columns of the frame that are read here.
INPUTS = frozenset({"entries", "lent_passages", "residents_seen"})
FAMILY = "access"
#: Days by which a sighting rate is known that is not the home's own.
_UNKNOWN_STRENGTH = 8.0
#: Log likelihood ratios that are added to the absence of residents: guests by the week, strangers
#: who stay, several of them.
_GUESTS = 5.0
_STRANGERS = 3.0
_SEVERAL = 6.0
_SEVERAL_BESIDE_RESIDENTS = 4.0
#: A dormitory is another matter (`change_of_use`): its log likelihood ratio.
_CROWD = -2.0
#: Nights of guests from which they change by the week; share of days from which a stranger stays.
_TURNOVER_NIGHTS = 8
_STAYING_SHARE = 0.3
#: Least log ratio of absent residents beside a stranger who stays; least that residents beside
#: several strangers count.
_ABSENT = 1.0
_LEAST_BESIDE_SEVERAL = -0.5
#: Share of days on which others come in alone, under which nobody else lives there.
_OTHERS_SHARE = 0.2
#: A resident is gone who would have been seen on so many days and was seen on this share of them at
#: most.
_REGULAR_DAYS = 5
_GONE_SHARE = 0.2
#: Strangers a night on average from which there are several.
_MORE_THAN_ONE = 1.5
_FOUR_WEEKS = 28
_FORTNIGHT = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessWeights:
    """Limits of what doors say: how much rarer than subletting the commonest innocent explanation
    is.
    """

    crowd: Count = 4.5
    """Strangers a night from which it is a dormitory."""
    limit_unseen: LikelihoodRatio = 60.0
    """One resident is not seen any more: a lost card, a broken reader, a patient in bed."""
    limit_all_unseen: LikelihoodRatio = 250.0
    """The same of all of several residents at once."""
    limit_never_seen: LikelihoodRatio = 6.0
    """A resident who was never seen: who never went out, or never carries a card."""
    limit_strangers: LikelihoodRatio = 6.0
    """One stranger stays: a partner, a carer, a nanny."""
    limit_several: LikelihoodRatio = 300.0
    """Several strangers stay while some who used to live there are gone."""
    limit_kin: LikelihoodRatio = 4.0
    """Several strangers stay beside all who used to live there: kin, and a crowd, as a rule."""
    limit_both_single: LikelihoodRatio = 6.0
    """Residents gone and strangers staying, of one resident and one stranger: a carer, as a rule.
    """
    limit_both: LikelihoodRatio = 500.0
    """Residents gone and strangers staying."""
    limit_turnover: LikelihoodRatio = 700.0
    """Guests who change by the week."""
    nobody_else: LikelihoodRatio = 8.0
    """How much likelier the flat's own lock sees nobody else where nobody else lives there."""
    lent_passages: Count = 6.0
    """Passages of somebody else with a resident's card from which it is lent."""
    limit_lent: LikelihoodRatio = 8.0
    """A lent card: cards are lent to a neighbour's child, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doors:
    """What doors saw of one unit in the recent days of a stretch.

    `absent` is the log likelihood ratio of the residents being gone. `regulars` counts the
    residents who were seen before, `gone` those of them who are not seen any more.
    `known_past_days` counts the days before on which a door saw anything.
    """

    days: int
    days_seen: int
    known_past_days: int
    absent: float
    regulars: int
    gone: int


def weigh_access(
    frame: UnitDayFrame,
    signs: SublettingSigns,
    stretch: Stretch,
    sightings: SightingParams,
    weights: AccessWeights,
    *,
    least_days: int,
) -> list[Weight]:
    """Weigh what doors saw; nothing where they saw too few days."""
    row = stretch.row
    recent = stretch.recent
    judged_days = int((signs.known[row, recent] & ~signs.presence.empty[row, recent]).sum())
    if judged_days < least_days:
        return []
    doors = _read_doors(frame, signs, stretch, sightings)
    return [
        *_weigh_people(frame, signs, stretch, doors, weights),
        *_weigh_lent_cards(frame, stretch, weights),
    ]


def _read_doors(
    frame: UnitDayFrame, signs: SublettingSigns, stretch: Stretch, sightings: SightingParams
) -> _Doors:
    row = stretch.row
    recent = stretch.recent
    past = stretch.before(PAST_DOOR_DAYS)
    judged = signs.known[row] & ~signs.presence.empty[row]
    days = int(judged[recent].sum())
    days_seen = int((signs.seen[row, recent] & judged[recent]).sum())
    past_days = int(judged[past].sum())
    past_seen = int((signs.seen[row, past] & judged[past]).sum())
    if past_days >= LEAST_PAST_DAYS:
        usual = share_of_days(past_seen, past_days, sightings.usual_seen)
        strength = strength_of_share(past_days)
    else:
        usual = float(signs.usual_seen[row])
        strength = _UNKNOWN_STRENGTH
    absent = unseen_ratio(
        np.array(days_seen),
        np.array(days),
        np.array(usual),
        strength=strength,
        rate=sightings.gone_seen,
    )
    regulars, gone = _count_gone_residents(frame, stretch, past_days, days)
    return _Doors(
        days=days,
        days_seen=days_seen,
        known_past_days=past_days,
        absent=float(absent),
        regulars=regulars,
        gone=gone,
    )


def _count_gone_residents(
    frame: UnitDayFrame, stretch: Stretch, past_days: int, days: int
) -> tuple[int, int]:
    """Count the residents who were seen before, and those of them who were seen regularly and are
    not any more.
    """
    past = stretch.before(PAST_DOOR_DAYS)
    recent = stretch.recent
    seen = frame.tokens.of(stretch.row)
    resident = seen.person_kind == PersonKind.RESIDENT
    tokens, which = np.unique(seen.token[resident], return_inverse=True)
    day = seen.day[resident]
    in_past = (day >= past.start) & (day < past.stop)
    in_recent = (day >= recent.start) & (day < recent.stop)
    days_before = np.bincount(which[in_past], minlength=len(tokens))
    days_now = np.bincount(which[in_recent], minlength=len(tokens))
    expected = days_before / max(past_days, 1) * days
    gone = (expected >= _REGULAR_DAYS) & (days_now <= _GONE_SHARE * expected)
    return int((days_before > 0).sum()), int(gone.sum())


def _weigh_people(
    frame: UnitDayFrame,
    signs: SublettingSigns,
    stretch: Stretch,
    doors: _Doors,
    weights: AccessWeights,
) -> Iterator[Weight]:
    """Weigh who lives there: the strongest explanation alone counts."""
    row = stretch.row
    recent = stretch.recent
    staying = signs.staying[row, recent]
    nights_of_guests = float((signs.fleeting[row, recent] > 0).sum())
    stranger_stays = float((staying > 0).sum()) / doors.days > _STAYING_SHARE
    several = bool(signs.several[row, recent][-_FORTNIGHT:].any())
    if staying[-_FOUR_WEEKS:].mean() >= weights.crowd:
        yield Weight(family=FAMILY, reason="crowd", doubt=0.5, ratio=_CROWD)
    elif nights_of_guests >= _TURNOVER_NIGHTS:
        ratio = limit_ratio(doors.absent + _GUESTS, weights.limit_turnover)
        yield Weight(family=FAMILY, reason="guests_by_the_week", doubt=1.0, ratio=ratio)
    elif stranger_stays and doors.absent > _ABSENT:
        # One person who is seen no more and one stranger who stays: that is how a carer of someone
        # bedridden looks, too.
        more_than_one = doors.regulars >= 2 or staying.mean() >= _MORE_THAN_ONE
        limit = weights.limit_both if more_than_one else weights.limit_both_single
        ratio = limit_ratio(doors.absent + _STRANGERS, limit)
        yield Weight(family=FAMILY, reason="residents_gone_strangers_stay", doubt=0.9, ratio=ratio)
    elif several:
        ratio = _ratio_of_several(doors, weights)
        yield Weight(family=FAMILY, reason="several_strangers_stay", doubt=1.0, ratio=ratio)
    else:
        ratio = limit_ratio(doors.absent, _limit_of_unseen(frame, stretch, doors, weights))
        yield Weight(family=FAMILY, reason="residents_not_seen", doubt=0.8, ratio=ratio)
        if stranger_stays:
            ratio = float(np.log(weights.limit_strangers))
            yield Weight(family=FAMILY, reason="stranger_stays", doubt=0.8, ratio=ratio)
        elif _nobody_else_comes(frame, stretch, doors):
            ratio = -float(np.log(weights.nobody_else))
            yield Weight(family=FAMILY, reason="nobody_else_seen", doubt=0.5, ratio=ratio)


def _ratio_of_several(doors: _Doors, weights: AccessWeights) -> float:
    """Weigh several strangers who stay.

    Room by room the tenant may stay: being seen says nothing against it. But the rest of the
    household makes room.
    """
    if doors.gone or doors.days_seen == 0:
        strength = _SEVERAL
        limit = weights.limit_several
    else:
        strength = _SEVERAL_BESIDE_RESIDENTS
        limit = weights.limit_kin
    return limit_ratio(strength + max(doors.absent, _LEAST_BESIDE_SEVERAL), limit)


def _limit_of_unseen(
    frame: UnitDayFrame, stretch: Stretch, doors: _Doors, weights: AccessWeights
) -> float:
    """Return the limit of residents who are not seen: one may lose a card, that all lose theirs is
    rarer.

    Where a carer is declared, the one who is cared for is expected to stay in: the limit is a step
    lower.
    """
    if doors.known_past_days < LEAST_PAST_DAYS:
        return weights.limit_never_seen
    cared_for = bool(frame.spoken_for[stretch.row, stretch.recent].mean() > 0.5)
    if doors.regulars >= 2:
        return weights.limit_unseen if cared_for else weights.limit_all_unseen
    return weights.limit_never_seen if cared_for else weights.limit_unseen


def _nobody_else_comes(frame: UnitDayFrame, stretch: Stretch, doors: _Doors) -> bool:
    """Tell whether the flat's own lock, by which anybody who lives there would come in, saw hardly
    anybody else.
    """
    row = stretch.row
    recent = stretch.recent
    if not frame.fitted["lock"][row, recent].any():
        return False
    with np.errstate(invalid="ignore"):
        entered = frame["entries"][row, recent] > 0
        resident = frame["residents_seen"][row, recent] > 0
    return int((entered & ~resident).sum()) < _OTHERS_SHARE * doors.days


def _weigh_lent_cards(
    frame: UnitDayFrame, stretch: Stretch, weights: AccessWeights
) -> Iterator[Weight]:
    passages = np.nansum(frame["lent_passages"][stretch.row, stretch.recent])
    if passages >= weights.lent_passages:
        ratio = float(np.log(weights.limit_lent))
        yield Weight(family=FAMILY, reason="card_lent", doubt=0.6, ratio=ratio)
