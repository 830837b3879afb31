"""Sealed values: authenticated encryption by AES-256-GCM, or by SM4-GCM (GB/T 32907-2016) where a
site's profile asks for it.

A sealed value is one byte for the scheme, a nonce of twelve random bytes (NIST SP 800-38D, 8.2.2),
and the ciphertext with its tag. The name of what it belongs to is authenticated too, so that one
value cannot take another's place.
"""

from __future__ import annotations

import os
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

#: Lengths in bytes.
_NONCE = 12
_TAG = 16


class NotOpened(Exception):
    """A sealed value was changed or moved, or its key is gone."""


class Scheme(IntEnum):
    """How a value is sealed; the number is the value's first byte."""

    AES_256_GCM = 1
    SM4_GCM = 2

    @property
    def key_bytes(self) -> int:
        """Length of a key."""
        return 32 if self is Scheme.AES_256_GCM else 16


NAMES = {"aes-256-gcm": Scheme.AES_256_GCM, "sm4-gcm": Scheme.SM4_GCM}


def seal(scheme: Scheme, key: bytes, plain: bytes, belongs_to: str) -> bytes:
    """Seal a value for one place. `key` has `scheme.key_bytes` bytes."""
    nonce = os.urandom(_NONCE)
    associated = belongs_to.encode()
    if scheme is Scheme.AES_256_GCM:
        return bytes([scheme]) + nonce + AESGCM(key).encrypt(nonce, plain, associated)
    encryptor = Cipher(SM4(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(associated)
    ciphertext = encryptor.update(plain) + encryptor.finalize()
    return bytes([scheme]) + nonce + ciphertext + encryptor.tag


def unseal(key: bytes, sealed: bytes, belongs_to: str) -> bytes:
    """Open what `seal` made.

    Raises: NotOpened.
    """
    try:
        return _unseal(key, sealed, belongs_to.encode())
    except (InvalidTag, ValueError, IndexError):
        raise NotOpened(
            f"the sealed value of {belongs_to} cannot be opened: it was changed, moved, or its "
            f"key is another"
        ) from None


def _unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    scheme = Scheme(sealed[0])
    nonce = sealed[1 : 1 + _NONCE]
    body = sealed[1 + _NONCE :]
    if len(key) != scheme.key_bytes:
        raise NotOpened("this value was sealed in another way")
    if scheme is Scheme.AES_256_GCM:
        return AESGCM(key).decrypt(nonce, body, associated)
    ciphertext = body[:-_TAG]
    tag = body[-_TAG:]
    decryptor = Cipher(SM4(key), modes.GCM(nonce, tag)).decryptor()
    decryptor.authenticate_additional_data(associated)
    return decryptor.update(ciphertext) + decryptor.finalize()
