"""Who came through a door, as far as a unit's facts may know: never a name, only what they are to
the home.
"""

from __future__ import annotations

from enum import IntEnum


class PersonKind(IntEnum):
    """Whose token it was."""

    RESIDENT = 0
    STRANGER = 1
    FORMER = 2
    GUEST = 3
