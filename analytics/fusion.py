"""How sure: evidence of several families, each a likelihood ratio with a limit, added to the base
rate.

A campaign of 50,000 home visits found 176 sublet flats, 0.35 % (docs/design.md). From there a
posterior is reached only by evidence of several kinds, and no kind is ever surer than its commonest
innocent explanation: the limit of a family is how much rarer that explanation is than the
violation. Limits are judgement, not measurement, until visits have come in; `analytics.calibration`
proposes better ones from outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Share of let homes that are sublet.
BASE_RATE = 0.0035
#: Standard deviations of a normal law within which nine in ten lie.
_NINE_IN_TEN = 1.645
#: Days by which the sighting rate of someone who is gone is known.
_GONE_STRENGTH = 20.0
#: Least parameter of a beta law here; nearer to nothing a single day would decide.
_LEAST_BETA = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Evidence of one family for one unit: `ratio` is a log likelihood ratio, `doubt` its standard
    error.
    """

    family: str
    reason: str
    ratio: float
    doubt: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """How likely something is, 0 to 1, and the bounds between which that lies nine times in ten."""

    chance: float
    low: float
    high: float

    def calibrated(self, shift: float, stretch: float) -> Posterior:
        """Return it with shifted and stretched log odds (see `calibrate`)."""
        return Posterior(
            chance=calibrate(self.chance, shift, stretch),
            low=calibrate(self.low, shift, stretch),
            high=calibrate(self.high, shift, stretch),
        )


def fuse_weights(weights: Sequence[Weight], base_rate: float) -> Posterior:
    """Add evidence to a base rate (0 to 1); the families are taken as independent."""
    odds = float(np.log(base_rate / (1.0 - base_rate))) + sum(w.ratio for w in weights)
    spread = _NINE_IN_TEN * float(np.sqrt(sum(w.doubt**2 for w in weights)))
    return Posterior(chance=_chance(odds), low=_chance(odds - spread), high=_chance(odds + spread))


def calibrate(chance: float, shift: float, stretch: float) -> float:
    """Return the chance whose log odds are `shift` + `stretch` × the old ones (J. Platt, 1999), as
    outcomes taught.
    """
    inside = min(max(chance, 0.001), 0.999)
    return _chance(shift + stretch * float(np.log(inside / (1.0 - inside))))


def _chance(odds: float) -> float:
    return float(1.0 / (1.0 + np.exp(-odds)))


def unseen_ratio(
    seen: NDArray[Any], days: NDArray[Any], usual: NDArray[Any], *, strength: float, rate: float
) -> NDArray[np.float64]:
    """Return log P(seen | they are gone) - log P(seen | they live there), for `seen` of `days`
    days.

    Beta-binomial: someone who lives there is seen on a share `usual` of days that is known as well
    as `strength` days tell; of someone who is gone, on a share around `rate` (the landlord who
    collects the rent). Arrays of any one shape.
    """
    gone = _beta_binomial(seen, days, rate * _GONE_STRENGTH, (1.0 - rate) * _GONE_STRENGTH)
    lives_there = _beta_binomial(seen, days, usual * strength, (1.0 - usual) * strength)
    return gone - lives_there


def _beta_binomial(
    hits: NDArray[Any], trials: NDArray[Any], a: NDArray[Any] | float, b: NDArray[Any] | float
) -> NDArray[np.float64]:
    """Return the log probability of hits in trials under a beta law, but for the binomial
    coefficient.
    """
    a = np.maximum(a, _LEAST_BETA)
    b = np.maximum(b, _LEAST_BETA)
    log_probability: NDArray[np.float64] = _log_beta(hits + a, trials - hits + b) - _log_beta(a, b)
    return log_probability


def _log_beta(a: Any, b: Any) -> Any:
    return _log_gamma(a) + _log_gamma(b) - _log_gamma(a + b)


def _log_gamma(x: Any) -> Any:
    """Return the logarithm of the gamma function (Stirling's series after shifting the argument;
    error under 1e-9 for x > 0).
    """
    x = np.asarray(x, dtype=np.float64)
    shift = np.zeros_like(x)
    for _ in range(6):
        shift = shift - np.log(x)
        x = x + 1.0
    inverse = 1.0 / (x * x)
    series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse / 1680))) / x
    return shift + (x - 0.5) * np.log(x) - x + 0.5 * np.log(2 * np.pi) + series


def limit_ratio(ratio: float, limit: float) -> float:
    """Bound a log ratio: with a chance of one in `limit` an innocent explanation looks the same."""
    return float(ratio - np.logaddexp(0.0, ratio - np.log(limit)))


def changed_ratio(shift: float, error: float, *, normal: float, other: float) -> float:
    """Return log P(shift | others live there) - log P(shift | the same people do).

    `shift` is a log ratio of consumption, known to within `error`; `normal` and `other` are its
    standard deviations where the same people or others live there.
    """
    return _log_normal(shift, np.hypot(other, error)) - _log_normal(shift, np.hypot(normal, error))


def _log_normal(x: float, sigma: Any) -> float:
    return float(-0.5 * (x / sigma) ** 2 - np.log(sigma))
