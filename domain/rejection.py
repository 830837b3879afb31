"""Wrong input is data: a refusal carries a reason from a closed list.

The list is also the metric's labels. Adding a reason here is all it takes for it to be counted,
stored and shown; free text goes into `detail`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a message was put into quarantine, or a device's bytes were refused."""

    BAD_TOPIC = "bad_topic"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    BAD_SHAPE = "bad_shape"
    BAD_VERSION = "bad_version"
    BAD_ID = "bad_id"
    BAD_TIME = "bad_time"
    CLOCK_AHEAD = "clock_ahead"
    BAD_VALUE = "bad_value"
    BAD_EVENT = "bad_event"
    UNKNOWN_GATEWAY = "unknown_gateway"
    UNKNOWN_DEVICE = "unknown_device"
    FOREIGN_DEVICE = "foreign_device"
    CONFLICT = "conflict"
    UNSTORABLE = "unstorable"
    TRUNCATED = "truncated"
    BAD_FRAME = "bad_frame"
    BAD_CHECKSUM = "bad_checksum"
    NOT_UNDERSTOOD = "not_understood"
    DEVICE_REFUSED = "device_refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A refusal: the reason, and a sentence that names what, where and how to mend it."""

    reason: Reason
    detail: str
