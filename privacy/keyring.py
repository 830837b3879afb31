"""The site's keys: they wrap each person's own key, seal second factors, and make blind indexes. They live in a file, never in the database.

A new key becomes the current one, what older keys wrapped is wrapped again, and then the old key is taken out of the file.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import tomllib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from crypto.sealed_values import NAMES, NotOpened, Scheme, seal, unseal
from domain.errors import UserError


class BadKeyring(UserError):
    """The key file cannot be used; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The keys of a site: which one is current, all that still open something, and the one for indexes."""

    current: str
    keys: dict[str, tuple[Scheme, bytes]]
    index_key: bytes

    @property
    def scheme(self) -> Scheme:
        """How new values are sealed."""
        return self.keys[self.current][0]

    def new_data_key(self) -> bytes:
        """Make a key for one person."""
        return os.urandom(self.scheme.key_bytes)

    def wrap(self, data_key: bytes, belongs_to: str) -> tuple[str, bytes]:
        """Wrap a key under the current one; returns that one's name and the wrapped key."""
        scheme, key = self.keys[self.current]
        return self.current, seal(scheme, key, data_key, f"key|{belongs_to}")

    def unwrap(self, name: str, wrapped: bytes, belongs_to: str) -> bytes:
        """Open a wrapped key.

        Raises: NotOpened.
        """
        if name not in self.keys:
            raise NotOpened(
                f"the site's key {name!r} is not in the key file; put it back, or rotate before taking it out"
            )
        return unseal(self.keys[name][1], wrapped, f"key|{belongs_to}")

    def seal(self, plain: bytes, belongs_to: str) -> bytes:
        """Seal a value of the site's own under the current key; its name stands in front."""
        scheme, key = self.keys[self.current]
        return self.current.encode() + b"\0" + seal(scheme, key, plain, belongs_to)

    def unseal(self, sealed: bytes, belongs_to: str) -> bytes:
        """Open what `seal` made.

        Raises: NotOpened.
        """
        name, _, body = sealed.partition(b"\0")
        if name.decode("ascii", "replace") not in self.keys:
            raise NotOpened("the key of this value is not in the key file")
        return unseal(self.keys[name.decode()][1], body, belongs_to)

    def index(self, kind: str, text: str) -> bytes:
        """Return what stands for a text in the database: equal texts give equal bytes, and nothing else can be learned without the key."""
        return hmac.digest(self.index_key, f"{kind}|{normal(text)}".encode(), "sha256")


def normal(text: str) -> str:
    """Write a text the one way it is compared: full-width as half-width, no spaces or hyphens, upper case."""
    return "".join(
        c for c in unicodedata.normalize("NFKC", text) if not c.isspace() and c not in "-·•"
    ).upper()


def load_keyring(path: Path) -> Keyring:
    """Read a key file.

    Raises: BadKeyring.
    """
    try:
        if path.stat().st_mode & 0o022:
            raise BadKeyring(f"{path.name}: others may write it; run chmod 600 on it")
        held = tomllib.loads(path.read_text("utf-8"))
        keys = {
            name: (NAMES[entry["scheme"]], base64.b64decode(entry["key"], validate=True))
            for name, entry in held["keys"].items()
        }
        index_key, current = base64.b64decode(held["index_key"], validate=True), held["current"]
    except OSError as error:
        raise BadKeyring(f"{path.name}: {error.strerror}; make one with `anju keys make`") from None
    except (
        tomllib.TOMLDecodeError,
        KeyError,
        TypeError,
        ValueError,
        binascii.Error,
        AttributeError,
    ) as error:
        raise BadKeyring(
            f"{path.name}: not a key file ({error!r}); make one with `anju keys make`"
        ) from None
    short = sorted(name for name, (scheme, key) in keys.items() if len(key) != scheme.key_bytes)
    if current not in keys or short or len(index_key) < 32:
        raise BadKeyring(
            f"{path.name}: current = {current!r} must be one of its keys, each as long as its scheme asks for ({short or 'all are'})"
        )
    return Keyring(current=current, keys=keys, index_key=index_key)


def save_keyring(path: Path, ring: Keyring) -> None:
    """Write a key file, whole or not at all; a new one is read by its owner alone."""
    words = {scheme: name for name, scheme in NAMES.items()}
    lines = [
        "# Anju's keys. Whoever has this file and the database can read people's names: keep it apart from every backup.",
        f'current = "{ring.current}"',
        f'index_key = "{base64.b64encode(ring.index_key).decode()}"',
    ]
    for name, (scheme, key) in sorted(ring.keys.items()):
        lines += [
            "",
            f"[keys.{name}]",
            f'scheme = "{words[scheme]}"',
            f'key = "{base64.b64encode(key).decode()}"',
        ]
    part = path.with_name(path.name + ".new")
    part.touch(mode=0o600)
    part.write_text("\n".join(lines) + "\n", "utf-8")
    if path.exists():
        # Whoever could read the file before, such as a container's user, still can.
        part.chmod(path.stat().st_mode & 0o777)
    part.replace(path)


def with_new_key(ring: Keyring | None, scheme: Scheme) -> Keyring:
    """Return a ring with one more key, which is the current one; None begins a ring."""
    name = f"k{secrets.token_hex(4)}"
    keys = {**(ring.keys if ring else {}), name: (scheme, os.urandom(scheme.key_bytes))}
    return Keyring(current=name, keys=keys, index_key=ring.index_key if ring else os.urandom(32))


class KeyFile:
    """A key file that may change while we run: read anew when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._ring: Keyring | None = None

    def ring(self) -> Keyring:
        """Return the keys as they stand.

        Raises: BadKeyring.
        """
        try:
            now = self._path.stat()
        except OSError as error:
            raise BadKeyring(f"{self._path.name}: {error.strerror}") from None
        if self._ring is None or self._seen != (now.st_mtime_ns, now.st_ino):
            self._ring, self._seen = load_keyring(self._path), (now.st_mtime_ns, now.st_ino)
        return self._ring
