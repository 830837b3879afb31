"""Conversations with polled devices, sans-I/O: what to query and what a reply says.

One module per protocol.

`POLLS` is the table by the name that profiles use. A module gives a `PolledProtocol`: which codec
the line speaks, how a device's address is written, the queries of a profile, and the fields of a
reply.
"""

from devices.polls import cjt188, dlt645, mbus, modbus
from devices.polls.query import PolledProtocol
from devices.profiles import Profile, check_profile
from devices.pushes import PUSHES

POLLS: dict[str, PolledProtocol] = {
    "dlt645": dlt645.POLL,
    "cjt188": cjt188.POLL,
    "mbus": mbus.POLL,
    "modbus-rtu": modbus.RTU,
    "modbus-tcp": modbus.TCP,
}

#: Protocols whose profiles name no items that a codec could check.
_UNCHECKED = ("gb26875", *PUSHES)


def check(profile: Profile) -> None:
    """Compare a profile with the protocol that it names.

    Raises: BadProfile.
    """
    checks = {name: protocol.check for name, protocol in POLLS.items()}
    checks.update(dict.fromkeys(_UNCHECKED, _accept))
    check_profile(profile, checks)


def _accept(_profile: Profile) -> None:
    """Accept any profile."""
