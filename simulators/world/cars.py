"""Cars: who has one, when it passes the yard's gate, and what the camera there reads.

A car goes where its driver goes, most days. It may stand for weeks, be sold, or be replaced by one
whose plate is not registered. A tenant who sublets mostly takes the car along.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulators.world.city import WorldCity
from simulators.world.people import Car, Household, WorkPattern, spell
from simulators.world.stories import StoryHome

#: Households with a car, how many of them told the office its plate, and how often a camera reads a
#: plate right.
_OWN = 0.35
_REGISTERED = 0.85
_READ = 0.96


def drive(city: WorldCity, home: StoryHome, household: Household) -> Car | None:
    """Return a home's registered car, as the yard's gate recorded it.

    Returns None where there is no gate, no car, or no registration.
    """
    rng = city.rng(7, home.index)
    owns = rng.random() < _OWN
    registered = rng.random() < _REGISTERED
    adults = [
        p
        for p in household.passages
        if str(p.person.token).startswith("p-")
        and not p.person.caller
        and p.person.work in (WorkPattern.DAY, WorkPattern.HOME, WorkPattern.NIGHT)
    ]
    if not (city.gated(home.index) and owns and registered and adults):
        return None
    driver = adults[0]
    days = city.days
    driven = rng.random(days) < rng.beta(4, 2)
    ways = np.where(driven[:, None], driver.ways, np.nan)
    if any(t.kind == "subletting" for t in home.truths) and rng.random() < 0.12:
        # The yard is cheaper than where the driver lives now: the car is parked here by night as
        # before.
        gone = np.isnan(driver.ways).all(axis=1) & driven
        ways[gone, 0] = rng.normal(7.6, 0.5, int(gone.sum()))
        ways[gone, 1] = rng.normal(18.3, 1.0, int(gone.sum()))
    for chance, low, high in ((0.1, 10, 60), (0.06, days, days + 1)):
        # Stands broken for weeks; or is sold, and the next one's plate is nobody's business.
        if rng.random() < chance:
            start = int(rng.integers(0, days))
            ways[spell(days, start, start + int(rng.integers(low, high)))] = np.nan
    read = rng.random(ways.shape) < _READ
    return Car(
        token=f"n-{home.index:06d}", household=home.household, hours=np.where(read, ways, np.nan)
    )


def visitors(city: WorldCity, index: int) -> NDArray[np.int64]:
    """Return how many visitors' cars pass the gate of a home's building, of shape (days,).

    They are parcels, taxis and guests; there is always one or more.
    """
    count: NDArray[np.int64] = 1 + city.rng(9, city.block(index)).poisson(4.0, city.days)
    return count
