"""Subletting and lending (转租转借): others live in the flat than those to whom it is let.

No sign alone is worth a visit at a base rate of 0.35 %, so families of evidence are weighed together (`analytics.fusion`):

* access: registered residents are no longer seen while the flat lives; the same strangers spend many nights; guests change
  by the week; a resident's card opens for somebody else;
* plates: the household's car no longer passes the gate while the flat lives, or passes as before;
* water and electricity: the flat lives while its residents are not seen, and it lives differently than before;
* tip-offs, and facts that other offices told.

When it began is where the evidence of access, added up day by day, last left nothing. A declared guest or carer, a new
tenancy, a repair, a newborn's grandmother (residents are seen as before) speak against it. At least two families must
speak, or it is an abstention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics import fusion, presence, strangers
from analytics.detectors.contract import Abstention, Detector, Finding, Params, over_days
from analytics.episodes import OUTSIDE, Episode, episodes
from analytics.frame import Mask, UnitDayFrame, count, rolling
from analytics.fusion import Weight
from analytics.presence import Presence
from domain.calendar import HOUR_MS
from domain.people import PersonKind

DEFAULTS: Params = {
    **presence.DEFAULTS,
    "base_rate": fusion.BASE_RATE,
    "report_from": 0.1,  # what is less likely, before it is calibrated, is not worth a word
    "shift": 1.4,  # log odds become shift + stretch x log odds: so leads came true in six simulated cities (103 to 108), until a
    "stretch": 1.2,  # proposal made from visits is adopted here
    "settle_days": 28,  # after moving in: relatives help, cards are not registered yet
    "stay_nights": 4,  # nights in four weeks from which a stranger stays and does not visit
    "usual_seen": 0.75,  # share of days on which a resident who lives there is seen, where nothing is known yet
    "gone_seen": 0.04,  # share of days on which one who is gone is seen
    "crowd": 4.5,  # strangers a night
    "least_days": 28,  # weeks, not days
    "no_evenings": 0.3,  # share of days with water before half past seven or after half past nine under which nobody lives there
    "by_day": 0.58,  # share of electricity within nine working hours from which, day after day, nobody lives there
    "fire": 4.0,
    "drop": 5.0,
    "limit_unseen": 60.0,  # a lost card, a broken reader, a patient in bed: so much rarer than subletting
    "limit_all_unseen": 250.0,  # the same of all of several residents at once
    "limit_never_seen": 6.0,  # who never went out, or never carries a card
    "limit_strangers": 6.0,  # a partner, a carer, a nanny
    "limit_several": 300.0,  # several strangers who stay, while some who used to live there are gone
    "limit_kin": 4.0,  # several strangers who stay beside all who used to live there: kin, and a crowd, as a rule
    "limit_both_single": 6.0,  # residents gone and strangers staying, of one resident and one stranger: a carer, as a rule
    "nobody_else": 8.0,  # how much likelier than with others there it is that the flat's own lock sees nobody else come in
    "limit_both": 500.0,  # residents gone and strangers staying
    "lent_passages": 6.0,  # passages of somebody else with a resident's card
    "limit_lent": 8.0,  # cards are lent to a neighbour's child, too
    "limit_turnover": 700.0,  # guests who change by the week
    "limit_water": 6.0,
    "limit_energy": 4.0,
    "usual_driven": 0.6,  # share of days on which a household's car passes the gate, where nothing is known yet
    "limit_car": 5.0,  # cars are sold, or stand broken, so much more often than flats are sublet
    "limit_parked": 4.0,  # and some who sublet park on where it is cheap
    "limit_tip": 12.0,
    "limit_fact": 5.0,
}
#: Days over which the usual is learnt, and those of the present that are compared with it.
_PAST, _NOW = 84, 56
#: What a fall of consumption by half weighs where nobody else is seen.
_FELL = -1.25
#: Homes that are asked what the season is.
_ASKED = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signs:
    """What speaks day by day, as arrays of shape (units, days)."""

    p: Presence
    known: Mask
    seen: Mask
    usual: NDArray[np.float64]
    stayed: NDArray[np.float32]
    several: Mask
    fleeting: NDArray[np.float32]
    daily: NDArray[np.float32]


def detect(frame: UnitDayFrame, params: Params) -> tuple[list[Finding], list[Abstention]]:
    """Judge every unit that is let."""
    signs = _signs(frame, params)
    with np.errstate(invalid="ignore"):
        settled = np.arange(frame.days, dtype=np.float32) - frame.let_since >= np.float32(
            params["settle_days"]
        )
    evidence = signs.daily * (settled & ~frame.declared)
    evidence[~frame.let] = OUTSIDE
    findings: list[Finding] = []
    for episode in episodes(evidence, fire=params["fire"], drop=params["drop"]):
        finding = _weigh(frame, params, signs, episode)
        if finding is not None:
            findings.append(finding)
    return findings, _abstentions(frame, signs)


def _signs(frame: UnitDayFrame, params: Params) -> _Signs:
    p = presence.read(frame, params)
    with np.errstate(invalid="ignore"):
        known = ~np.isnan(frame["residents_seen"])
        seen = frame["residents_seen"] > 0
        entries = frame["entries"] > 0
    usual = _usual_seen(known, seen, p, params)
    who = strangers.read(frame, params["stay_nights"])
    stayed, several, fleeting = who.staying, who.several, who.fleeting
    stayed = stayed * ~frame.spoken_for
    lives = p.living | (entries & ~p.empty)
    # One resident seen, or not seen on a day on which the flat lived: what that says of whether they live there.
    gone = params["gone_seen"]
    miss = np.minimum(np.log((1 - gone) / np.maximum(1 - usual, 0.02)), 0.7).astype(np.float32)[
        :, None
    ]
    hit = np.maximum(np.log(gone / usual), -2.0).astype(np.float32)[:, None]
    daily = hit * seen
    daily += miss * (known & lives & ~seen)
    # Where rooms are let one by one the tenant is there: seeing them says little.
    daily[several & seen] = np.maximum(daily[several & seen], -0.3)
    # A stranger who stays speaks for others living there, whether or not residents are seen too.
    stays = stayed > 0
    daily[stays] += np.where(several[stays], 1.4, 0.3)
    daily[fleeting > 0] += 0.5
    # An empty home is another matter.
    daily[p.empty & ~lives] = -0.15
    return _Signs(
        p=p,
        known=known,
        seen=seen,
        usual=usual,
        stayed=stayed,
        several=several & ~frame.spoken_for,
        fleeting=fleeting,
        daily=daily,
    )


def _evenings(frame: UnitDayFrame, u: int, span: slice) -> Mask:
    """Tell of every day on which water was used and read by the hour whether it was used early or late."""
    first, last, midnight = (
        frame["water_first_use_at"][u, span],
        frame["water_last_use_at"][u, span],
        frame.day_starts[:-1][span],
    )
    with np.errstate(invalid="ignore"):
        homely = (first < midnight + 7.5 * HOUR_MS) | (last > midnight + 21.5 * HOUR_MS)
        timed = (frame["water_hours_known"][u, span] >= 18) & ~np.isnan(last)
    return np.asarray(homely[timed])


def _usual_seen(known: Mask, seen: Mask, p: Presence, params: Params) -> NDArray[np.float64]:
    """Return on which share of the days on which the home lives a resident is seen while they live there.

    What most of its months show; it is drawn towards what is usual elsewhere, as far as little is known.
    """
    lived = known & p.living
    counts = rolling(lived, 28)[:, ::7]
    share = rolling(lived & seen, 28)[:, ::7] / np.maximum(counts, 1)
    share[counts < 10] = np.nan
    ordered = np.sort(share, axis=1)
    months = np.sum(~np.isnan(ordered), axis=1)
    often = ordered[
        np.arange(len(ordered)),
        np.clip((0.65 * (months - 1)).round().astype(int), 0, ordered.shape[1] - 1),
    ]
    days = np.minimum(7.0 * months, 56.0)
    prior, weight = params["usual_seen"], 6.0
    # Who was never seen may always have been gone: then what is usual elsewhere counts, but less.
    usual = np.where(
        often > 0.1, (np.nan_to_num(often) * days + prior * weight) / (days + weight), 0.6 * prior
    )
    return np.clip(usual, 0.08, 0.98)


# Weighing ------------------------------------------------------------------------------------------------------------


def _weigh(frame: UnitDayFrame, params: Params, signs: _Signs, episode: Episode) -> Finding | None:
    """Weigh all evidence about one episode; None where it is not worth a word."""
    u, start = episode.unit, episode.start
    end = frame.days if episode.last is None else episode.last + 1
    if end - start < params["least_days"]:
        return None
    span = slice(max(start, end - _NOW), end)
    weights = _access(frame, params, signs, u, start, span) + _meters(
        frame, params, signs, u, start, span
    )
    plates = _plates(frame, params, u, start, span)
    if not any(w.reason.endswith("_changed") and w.ratio <= _FELL for w in weights):
        # Where consumption fell by half they left, as far as anybody can tell, and took their car along.
        weights += plates
    weights += _told(frame, params, u, start, end)
    positive = {w.family for w in weights if w.ratio > 0.5}
    chance, low, high = fusion.posterior(weights, params["base_rate"])
    if chance < params["report_from"] or len(positive) < 2:
        return None
    chance, low, high = (
        fusion.calibrated(c, params["shift"], params["stretch"]) for c in (chance, low, high)
    )
    seen_before = np.flatnonzero(signs.seen[u, :start])
    between = (
        int(seen_before[-1])
        if len(seen_before) and start - seen_before[-1] < 14
        else max(0, start - 7),
        min(start + 7, end - 1),
    )
    known = signs.known[u, span]
    return over_days(
        frame,
        u,
        start,
        episode.last,
        score=chance,
        reasons=tuple(w.reason for w in sorted(weights, key=lambda w: -w.ratio) if w.ratio > 0.3),
        evidence={
            "families": sorted(positive),
            "chance_low": round(low, 3),
            "chance_high": round(high, 3),
            "weights": {w.reason: round(w.ratio, 2) for w in weights},
            "days_known": int(known.sum()),
            "days_seen": int(signs.seen[u, span].sum()),
            "days_car_seen": int((frame["cars_seen"][u, span] > 0).sum()),
            "nights_strangers": int(signs.stayed[u, span].sum() + signs.fleeting[u, span].sum()),
            "usual_seen": round(float(signs.usual[u]), 2),
        },
        known=signs.known | signs.p.living | signs.p.empty,
        between=between,
    )


def _access(
    frame: UnitDayFrame, params: Params, signs: _Signs, u: int, start: int, span: slice
) -> list[Weight]:
    lives = signs.known[u] & ~signs.p.empty[u]
    days = int(lives[span].sum())
    if days < params["least_days"]:
        return []
    seen = int((signs.seen[u, span] & lives[span]).sum())
    # Before it began they were seen on so many of so many days; where that is not known, what is usual counts.
    past = slice(max(0, start - 120), start)
    before, of = int((signs.seen[u, past] & lives[past]).sum()), int(lives[past].sum())
    usual = (
        (before + 4.0 * params["usual_seen"]) / (of + 4.0) if of >= 21 else float(signs.usual[u])
    )
    strength = min(of, 60) / 3.0 + 4.0 if of >= 21 else 8.0
    absent = float(
        fusion.unseen(
            np.array(seen),
            np.array(days),
            np.array(usual),
            strength=strength,
            rate=params["gone_seen"],
        )
    )
    # One person may lose a card; that all who used to be seen do is rarer.
    regulars, gone = _who_is_gone(frame, u, past, of, span, days)
    several_gone = regulars >= 2
    # Where a carer is declared, that the one who is cared for goes out no more is what is to be expected: a step less of it is believed.
    steps = ("limit_never_seen", "limit_unseen", "limit_all_unseen")
    cared_for = bool(frame.spoken_for[u, span].mean() > 0.5)
    unseen_limit = steps[0] if of < 21 else steps[max(0, 1 + several_gone - cared_for)]
    # One person who is seen no more and one stranger who stays: that is how a carer of someone bedridden looks, too.
    both = (
        "limit_both" if several_gone or signs.stayed[u, span].mean() >= 1.5 else "limit_both_single"
    )
    nights = float((signs.stayed[u, span] > 0).sum())
    turnover = float((signs.fleeting[u, span] > 0).sum())
    stays, several = nights / days > 0.3, bool(signs.several[u, span][-14:].any())
    found = []
    if signs.stayed[u, span][-28:].mean() >= params["crowd"]:
        # So many sleep there that it is a dormitory, which is another matter.
        found.append(Weight(family="access", reason="crowd", doubt=0.5, ratio=-2.0))
    elif turnover >= 8:
        found.append(
            Weight(
                family="access",
                reason="guests_by_the_week",
                doubt=1.0,
                ratio=fusion.at_most(absent + 5.0, params["limit_turnover"]),
            )
        )
    elif stays and absent > 1.0:
        found.append(
            Weight(
                family="access",
                reason="residents_gone_strangers_stay",
                doubt=0.9,
                ratio=fusion.at_most(absent + 3.0, params[both]),
            )
        )
    elif several:
        # Room by room the tenant may stay: being seen says nothing against it. But the rest of the household makes room.
        limit, strong = ("limit_several", 6.0) if gone or seen == 0 else ("limit_kin", 4.0)
        found.append(
            Weight(
                family="access",
                reason="several_strangers_stay",
                doubt=1.0,
                ratio=fusion.at_most(strong + max(absent, -0.5), params[limit]),
            )
        )
    else:
        found.append(
            Weight(
                family="access",
                reason="residents_not_seen",
                doubt=0.8,
                ratio=fusion.at_most(absent, params[unseen_limit]),
            )
        )
        if stays:
            found.append(
                Weight(
                    family="access",
                    reason="stranger_stays",
                    doubt=0.8,
                    ratio=float(np.log(params["limit_strangers"])),
                )
            )
        elif frame.fitted["lock"][u, span].any() and _others_come(frame, u, span) < 0.2 * days:
            # Who else lives there would come in by the flat's own lock.
            against = -float(np.log(params["nobody_else"]))
            found.append(
                Weight(family="access", reason="nobody_else_seen", doubt=0.5, ratio=against)
            )
    if np.nansum(frame["lent_passages"][u, span]) >= params["lent_passages"]:
        lent = float(np.log(params["limit_lent"]))
        found.append(Weight(family="access", reason="card_lent", doubt=0.6, ratio=lent))
    return found


def _others_come(frame: UnitDayFrame, u: int, span: slice) -> int:
    """Count the days on which somebody came in and no resident was seen."""
    with np.errstate(invalid="ignore"):
        return int(
            ((frame["entries"][u, span] > 0) & ~(frame["residents_seen"][u, span] > 0)).sum()
        )


def _who_is_gone(
    frame: UnitDayFrame, u: int, past: slice, of: int, span: slice, days: int
) -> tuple[int, int]:
    """Count the registered residents who were seen before, and those of them who were seen regularly and are not any more."""
    t = frame.tokens.of(u)
    mine = t.who == PersonKind.RESIDENT
    tokens, which = np.unique(t.token[mine], return_inverse=True)
    day = t.day[mine]
    before = np.bincount(which[(day >= past.start) & (day < past.stop)], minlength=len(tokens))
    now = np.bincount(which[(day >= span.start) & (day < span.stop)], minlength=len(tokens))
    expected = before / max(of, 1) * days
    return int((before > 0).sum()), int(((expected >= 5) & (now <= 0.2 * expected)).sum())


def _plates(frame: UnitDayFrame, params: Params, u: int, start: int, span: slice) -> list[Weight]:
    """Weigh whether the household's car passes the gate as it used to."""
    with np.errstate(invalid="ignore"):
        passed, known = frame["cars_seen"][u] > 0, ~np.isnan(frame["cars_seen"][u])
    past = slice(max(0, start - 120), start)
    days, of = int(known[span].sum()), int(known[past].sum())
    if days < params["least_days"] or of < params["least_days"] or not passed[past].any():
        # A car that was never seen here says nothing by not being seen.
        return []
    usual = (float(passed[past].sum()) + 4.0 * params["usual_driven"]) / (of + 4.0)
    seen, of_days = np.array(int(passed[span].sum())), np.array(days)
    ratio = float(
        fusion.unseen(
            seen,
            of_days,
            np.array(usual),
            strength=min(of, 60) / 3.0 + 4.0,
            rate=params["gone_seen"],
        )
    )
    reason = "car_not_seen" if ratio > 0 else "car_seen"
    bounded = (
        fusion.at_most(ratio, params["limit_car"])
        if ratio > 0
        else -fusion.at_most(-ratio, params["limit_parked"])
    )
    return [Weight(family="plates", reason=reason, doubt=0.5, ratio=bounded)]


def _meters(
    frame: UnitDayFrame, params: Params, signs: _Signs, u: int, start: int, span: slice
) -> list[Weight]:
    """Weigh what the meters say: the flat lives while its residents are not seen, and lives differently than before."""
    found = []
    p, past_span = signs.p, slice(max(0, start - _PAST), start)
    still_seen = (
        float(np.mean(signs.seen[u, span][signs.known[u, span]]))
        if signs.known[u, span].any()
        else 0.0
    )
    crowd = bool(signs.several[u, span][-14:].any()) and still_seen > 0.5 * signs.usual[u]
    for family, amount, limit, told in (
        ("water", p.used_l, params["limit_water"], 1.0),
        ("electricity", frame["energy_kwh"], params["limit_energy"], 0.6),
    ):
        now = _lived(amount, p, u, span)
        if len(now) < 10:
            continue
        used = "water_used_while_unseen" if family == "water" else "power_used_while_unseen"
        found.append(Weight(family=family, reason=used, doubt=0.4, ratio=told))
        past = _lived(amount, p, u, past_span)
        if len(past) < 14:
            continue
        season = _seasons(frame, family, amount, p)
        usual = _season(season, span) - _season(season, past_span)
        shift = float(np.median(np.log(now)) - np.median(np.log(past)) - usual)
        error = 1.25 * float(
            np.hypot(
                np.std(np.log(now)) / np.sqrt(len(now) / 3),
                np.std(np.log(past)) / np.sqrt(len(past) / 3),
            )
        )
        ratio = fusion.at_most(fusion.changed(shift, error, normal=0.2, other=0.6), limit)
        alone = not signs.stayed[u, span].any()
        if (shift > 0 and crowd) or (shift < 0 and alone):
            # Kin who stay use more beside those who live there, and where nobody else is seen a fall is somebody who left.
            ratio = min(ratio, 0.0)
        if shift < -0.7 and alone:
            # By half: others who live there seldom use so little, who works there or looks after it mostly does.
            ratio = min(ratio, _FELL)
        if family == "electricity" and shift < -0.5 and not frame.fitted["water"][u].any():
            ratio = -3.0
        changed = "water_changed" if family == "water" else "power_changed"
        found.append(Weight(family=family, reason=changed, doubt=0.4, ratio=ratio))
    if _by_day_only(frame, params, u, span):
        # A shop is another matter, and everything else that was said here speaks for a shop as well.
        found.append(Weight(family="water", reason="used_by_day_only", doubt=0.5, ratio=-7.0))
    return found


def _by_day_only(frame: UnitDayFrame, params: Params, u: int, span: slice) -> bool:
    evenings = _evenings(frame, u, span)
    if len(evenings) >= 21 and evenings.mean() < params["no_evenings"]:
        return True
    with np.errstate(invalid="ignore", divide="ignore"):
        by_day = frame["energy_day_kwh"][u, span] / frame["energy_kwh"][u, span]
    known = ~np.isnan(by_day)
    return bool(known.sum() >= 21 and np.mean(by_day[known] > params["by_day"]) >= 0.7)


def _lived(amount: NDArray[Any], p: Presence, u: int, span: slice) -> NDArray[np.float64]:
    days = amount[u, span][p.living[u, span]].astype(np.float64)
    return days[~np.isnan(days) & (days > 0.05)]


def _seasons(
    frame: UnitDayFrame, family: str, amount: NDArray[Any], p: Presence
) -> NDArray[np.float64]:
    """Return for each day the logarithm of what homes that live use, so that a heat wave changes nobody's ways; NaN for few homes.

    Up to so many homes of the frame are asked, the first time that somebody wants to know.
    """
    key = ("season", family)
    if key not in frame.derived:
        step = max(1, len(amount) // _ASKED)
        values = np.where(
            p.living[::step],
            np.log(np.maximum(amount[::step], np.float32(0.05))),
            np.float32(np.nan),
        )
        enough = np.sum(~np.isnan(values), axis=0) >= 8
        out = np.full(values.shape[1], np.nan)
        if enough.any():
            out[enough] = np.nanmedian(values[:, enough], axis=0)
        frame.derived[key] = out
    found: NDArray[np.float64] = frame.derived[key]
    return found


def _season(season: NDArray[np.float64], span: slice) -> float:
    days = season[span]
    return 0.0 if np.isnan(days).all() else float(np.nanmean(days))


def _told(frame: UnitDayFrame, params: Params, u: int, start: int, end: int) -> list[Weight]:
    found = []
    tips = {
        t.kind
        for t in frame.told
        if t.unit == u and t.source == "tip_off" and start - 60 <= t.day < end + 30
    }
    if tips:
        found.append(
            Weight(
                family="tip_off",
                reason="tip_off",
                doubt=0.7,
                ratio=float(np.log(params["limit_tip"])),
            )
        )
    facts = {
        t.kind
        for t in frame.told
        if t.unit == u and t.source == "outside" and t.kind in ("owns_home", "lives_elsewhere")
    }
    if facts:
        found.append(
            Weight(
                family="outside",
                reason="lives_elsewhere",
                doubt=0.7,
                ratio=float(np.log(params["limit_fact"])),
            )
        )
    return found


def _abstentions(frame: UnitDayFrame, signs: _Signs) -> list[Abstention]:
    """Say which units could not be judged over the last eight weeks, and for want of what."""
    if frame.days < _NOW:
        return []
    first = frame.days - _NOW
    span = slice(first, frame.days)
    found = []
    doors = count(signs.known[:, span]) / _NOW
    meters = count(signs.p.living[:, span] | signs.p.empty[:, span]) / _NOW
    blind = frame.let[:, span].all(axis=1) & ((doors < 0.5) | (meters < 0.5))
    for u in np.flatnonzero(blind).tolist():
        door, water, energy = (
            bool(frame.fitted[name][u, span].any()) for name in ("door", "water", "energy")
        )
        no_door = "door_silent" if door else "no_door"
        reason = no_door if doors[u] < 0.5 else "meters_silent" if water or energy else "no_meter"
        found.append(
            Abstention(unit=int(frame.units[u]), first=first, last=frame.days - 1, reason=reason)
        )
    return found


DETECTOR = Detector(
    key="subletting",
    version="3",
    family="compliance",
    inputs=("residents_seen", "strangers_nights", "water_l", "energy_kwh", "cars_seen"),
    defaults=DEFAULTS,
    legal_basis="公共租赁住房管理办法 第二十七条（转借、转租）；长住建发〔2021〕120号 四（三）",
    runbook="docs/runbooks/subletting.md",
    detect=detect,
)
