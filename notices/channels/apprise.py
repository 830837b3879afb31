"""Any other way, by the library apprise (an extra: `pip install anju[notify]`)."""

from __future__ import annotations

from importlib import import_module

from notices import rules
from notices.channels.contract import AWAY, DeliveryFailed, NoticeMessage


class AppriseChannel:
    """A URL of apprise, such as tgram://… or wxpusher://…."""

    def __init__(self, table: rules.AppriseSettings) -> None:
        self._table = table

    def send(self, message: NoticeMessage) -> None:
        """Let apprise carry it; it says yes or no and never why."""
        try:
            library = import_module("apprise")
        except ImportError:
            raise DeliveryFailed(
                "the library apprise is not installed: pip install 'anju[notify]'", gone=True
            ) from None
        ways = library.Apprise()
        if not ways.add(self._table.url):
            raise DeliveryFailed("apprise does not know this URL", gone=True)
        if not ways.notify(title=message.subject, body=message.body):
            raise DeliveryFailed("apprise could not deliver", hold=AWAY)
