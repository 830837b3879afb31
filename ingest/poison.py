"""When bad messages are our own fault: the limits past which a worker stops loudly.

One gateway that talks nonsense is that gateway's fault, however much it talks: its messages go into
quarantine and nothing stops. It is our fault where the database refuses what we hold to be right,
message after message, or where nearly every gateway is refused at once: a wrong schema, a wrong
version, a wrong rule. Then the worker stops rather than fill the quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.account import BatchOutcome


class Poisoned(Exception):
    """Too much cannot be stored: something is wrong with us, not with them."""


@dataclass(slots=True, kw_only=True)
class Poison:
    """Counts what goes wrong; shared by the lanes of a worker."""

    #: Messages that the database may refuse with none stored between them.
    unstorable_in_a_row: int = 50
    #: Share of what is received that may be refused, over `window` items. It counts only where the
    #: refusals come from at least `sources` gateways, and from more than half of those that spoke.
    ratio: float = 0.5
    window: int = 20_000
    sources: int = 8
    _in_a_row: int = 0
    _received: dict[str, int] = field(default_factory=dict)
    _refused: dict[str, int] = field(default_factory=dict)

    def unstorable(self) -> None:
        """Note a message that the database refused.

        Raises: Poisoned.
        """
        self._in_a_row += 1
        if self._in_a_row >= self.unstorable_in_a_row:
            raise Poisoned(
                f"{self._in_a_row} messages in a row could not be stored; "
                "see `anju quarantine list`"
            )

    def note(self, outcome: BatchOutcome) -> None:
        """Note what a batch led to.

        Raises: Poisoned.
        """
        self._in_a_row = 0
        for key, tally in outcome.tallies.items():
            source = key.source
            # A source that is not registered is no gateway, however many names somebody makes up.
            if source in outcome.registered:
                self._received[source] = self._received.get(source, 0) + tally.received
                self._refused[source] = self._refused.get(source, 0) + tally.quarantined
        if sum(self._received.values()) >= self.window:
            self._judge_window()

    def _judge_window(self) -> None:
        """Judge what has been counted, and begin a new window.

        Raises: Poisoned.
        """
        received = sum(self._received.values())
        refused = sum(self._refused.values())
        gateways = len(self._received)
        refused_gateways = sum(
            count > self.ratio * self._received[source] for source, count in self._refused.items()
        )
        self._received.clear()
        self._refused.clear()
        is_widespread = refused_gateways >= self.sources and 2 * refused_gateways > gateways
        if is_widespread and refused > self.ratio * received:
            raise Poisoned(
                f"{refused} of the last {received} items were refused, from {refused_gateways} of "
                f"{gateways} gateways at once: this is not theirs; see `anju quarantine list`, "
                "mend what is wrong here, and replay"
            )
