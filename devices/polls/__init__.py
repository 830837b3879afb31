"""Conversations with polled devices, sans-I/O: what to ask, and what an answer says. One module per protocol.

`POLLS` is the table by the name that profiles use. A module gives a `Poll`: which codec the line speaks, how a device's
address is written, the questions of a profile, and the fields of an answer.
"""

from devices.polls import cjt188, dlt645, mbus, modbus
from devices.polls.asking import Poll
from devices.profiles import Profile, check_profile
from devices.pushes import PUSHES

POLLS: dict[str, Poll] = {
    "dlt645": dlt645.POLL,
    "cjt188": cjt188.POLL,
    "mbus": mbus.POLL,
    "modbus-rtu": modbus.RTU,
    "modbus-tcp": modbus.TCP,
}


def check(profile: Profile) -> None:
    """Hold a profile against the protocol that it names.

    Raises: BadProfile.
    """
    known = {name: poll.check for name, poll in POLLS.items()}
    known["gb26875"] = lambda _profile: None
    for name in PUSHES:
        known[name] = lambda _profile: None
    check_profile(profile, known)
