"""Pseudonyms for unregistered people at one entrance, with a short life and no name.

An unknown face gets a random token, sealed like a template under a key of its own. Seen again
within its life it keeps the token. Evidence can then say "the same unregistered person on nine
nights", and nothing more.

At the end of its life the key is destroyed, and the next time the same person gets another
pseudonym. It is never compared with residents afterwards, nor with another entrance's. Only its
token leaves the gateway.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from domain.calendar import DAY_MS
from gateway.faces.matching import Encodings, MatchVerdict, Thresholds, decide
from gateway.faces.template_store import Vault
from gateway.outbox import Outbox, OutboxEntry

#: Pseudonyms at one door; the one seen longest ago makes room.
MOST = 200


@dataclass(slots=True)
class Regulars:
    """The pseudonyms of one door.

    The outbox's memory holds, in clear, when each began: a token and an instant.
    """

    door: str
    vault: Vault
    outbox: Outbox
    life_days: float
    _entry: dict[str, str] = field(default_factory=dict)

    def name(
        self, frames: Sequence[Encodings], thresholds: Thresholds, engine: str, now_ms: int
    ) -> tuple[str | None, OutboxEntry]:
        """Return the pseudonym of an unknown face, and what to write into the outbox with it.

        The pseudonym is None where the face cannot be told from another.
        """
        known = self._known(now_ms)
        gallery = {
            token: templates
            for token in known
            if (templates := self.vault.templates(token, engine)) is not None
        }
        answer = decide(frames, gallery, thresholds)
        if answer.verdict is MatchVerdict.UNDECIDED:
            return None, OutboxEntry()
        token = (
            answer.subject
            if answer.verdict is MatchVerdict.MATCH and answer.subject
            else f"q-{secrets.token_hex(8)}"
        )
        if token not in known:
            self.vault.keep(
                token, [np.mean(np.stack(frames), axis=0).astype(np.float32)], engine=engine
            )
            known[token] = now_ms
        while len(known) > MOST:
            oldest = min(known, key=lambda one: known[one])
            self.vault.destroy(oldest)
            del known[oldest]
        return token, OutboxEntry(memory={self._key: json.dumps(known)})

    @property
    def _key(self) -> str:
        return f"face-strangers/{self.door}"

    def _known(self, now_ms: int) -> dict[str, int]:
        known: dict[str, int] = json.loads(self.outbox.recall(self._key) or "{}")
        return {
            token: began
            for token, began in known.items()
            if now_ms - began < self.life_days * DAY_MS
        }

    def expire(self, now_ms: int) -> OutboxEntry:
        """Destroy the pseudonyms whose life is over."""
        known: dict[str, int] = json.loads(self.outbox.recall(self._key) or "{}")
        kept = self._known(now_ms)
        for token in set(known) - set(kept):
            self.vault.destroy(token)
        return (
            OutboxEntry(memory={self._key: json.dumps(kept)})
            if len(kept) != len(known)
            else OutboxEntry()
        )
