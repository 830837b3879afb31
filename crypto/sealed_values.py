"""A value sealed for one place: AES-256-GCM, or SM4-GCM (GB/T 32907-2016) where a site's profile asks for it.

A sealed value is one byte for the scheme, twelve random bytes (NIST SP 800-38D, 8.2.2), and the ciphertext with its tag; what it belongs
to is authenticated with it, so that no value can stand in for another.
"""

from __future__ import annotations

import os
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

_NONCE, _TAG = 12, 16


class NotOpened(Exception):
    """A sealed value is not what it claims to be, or its key is gone."""


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
    """Seal a value for one place."""
    nonce, more = os.urandom(_NONCE), belongs_to.encode()
    if scheme is Scheme.AES_256_GCM:
        return bytes([scheme]) + nonce + AESGCM(key).encrypt(nonce, plain, more)
    encryptor = Cipher(SM4(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(more)
    return bytes([scheme]) + nonce + encryptor.update(plain) + encryptor.finalize() + encryptor.tag


def unseal(key: bytes, sealed: bytes, belongs_to: str) -> bytes:
    """Open what `seal` made.

    Raises: NotOpened.
    """
    try:
        scheme, nonce, body = (Scheme(sealed[0]), sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :])
        if len(key) != scheme.key_bytes:
            raise NotOpened("this value was sealed in another way")
        if scheme is Scheme.AES_256_GCM:
            return AESGCM(key).decrypt(nonce, body, belongs_to.encode())
        decryptor = Cipher(SM4(key), modes.GCM(nonce, body[-_TAG:])).decryptor()
        decryptor.authenticate_additional_data(belongs_to.encode())
        return decryptor.update(body[:-_TAG]) + decryptor.finalize()
    except (InvalidTag, ValueError, IndexError):
        raise NotOpened(
            f"the sealed value of {belongs_to} cannot be opened: it was changed, moved, or its key is another"
        ) from None
