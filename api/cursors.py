"""Cursors of the stream of changes: a place in the stream as an opaque word.

A place counts the changes of all estates, so the bare number would tell every reader how much
happens elsewhere. It is enciphered as one AES block with eight zero bytes, so that a word that was
not made here is recognised.
"""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class Cursors:
    """Turns places into words and back."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = Cipher(algorithms.AES(secret[:32]), modes.ECB())  # noqa: S305

    def word(self, place: int) -> str:
        """Return the word for a place."""
        encryptor = self._cipher.encryptor()
        return (encryptor.update(struct.pack(">QQ", place, 0)) + encryptor.finalize()).hex()

    def place(self, word: str) -> int | None:
        """Return the place of a word; None for one that was not made here."""
        try:
            block = bytes.fromhex(word)
        except ValueError:
            return None
        if len(block) != 16:
            return None
        decryptor = self._cipher.decryptor()
        place, zero = struct.unpack(">QQ", decryptor.update(block) + decryptor.finalize())
        return place if zero == 0 and place < 2**62 else None
