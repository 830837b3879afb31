"""When bad messages are our own fault: the limits past which a worker stops loudly rather than fill the quarantine.

One gateway that talks nonsense is that gateway's fault, however much it talks: its messages go into quarantine and nothing
stops. A database that refuses what we hold to be right, message after message, or nearly every gateway refused at once,
is ours: a wrong schema, a wrong version, a wrong rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.account import BatchOutcome


class Poisoned(Exception):
    """Too much cannot be stored: something is wrong with us, not with them."""


@dataclass(slots=True, kw_only=True)
class Poison:
    """Counts what goes wrong; shared by the lanes of a worker.

    `unstorable_in_a_row`: messages that the database refused with none stored between them. `ratio` of what was received
    over a window of `window` items that may be refused when it comes from at least `sources` gateways and from more than
    half of those that spoke in it.
    """

    unstorable_in_a_row: int = 50
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
                f"{self._in_a_row} messages in a row could not be stored; see `anju quarantine list`"
            )

    def note(self, outcome: BatchOutcome) -> None:
        """Note what a batch led to.

        Raises: Poisoned.
        """
        self._in_a_row = 0
        for (source, _), tally in outcome.tallies.items():
            if source not in outcome.registered:
                # Names that nobody registered are no gateways, however many somebody makes up.
                continue
            self._received[source] = self._received.get(source, 0) + tally.received
            self._refused[source] = self._refused.get(source, 0) + tally.quarantined
        received = sum(self._received.values())
        if received < self.window:
            return
        refused = sum(self._refused.values())
        bad = sum(
            count > self.ratio * self._received[source] for source, count in self._refused.items()
        )
        spoke = len(self._received)
        self._received.clear()
        self._refused.clear()
        if refused > self.ratio * received and bad >= self.sources and 2 * bad > spoke:
            raise Poisoned(
                f"{refused} of the last {received} items were refused, from {bad} of {spoke} gateways at once: this is not theirs; "
                "see `anju quarantine list`, mend what is wrong here, and replay"
            )
