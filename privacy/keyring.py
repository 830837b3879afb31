"""The site's keys. They wrap each person's own key, seal second factors, and make blind indexes.

They are in a file, never in the database.

To rotate: a new key becomes the current one, what older keys have wrapped is wrapped again, and the
older keys are taken out of the file.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import tomllib
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

from crypto.sealed_values import NAMES, NotOpened, Scheme, seal, unseal
from domain.errors import UserError

#: What ends the name of a key in front of a sealed value.
_NAME_END = b"\0"
#: Characters that are left out of a text before it is compared.
_IGNORED = "-·•"
MIN_INDEX_KEY_BYTES = 32


class BadKeyring(UserError):
    """The key file cannot be used; the message says why and how to mend it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteKey:
    """One of the site's keys, and how it seals."""

    scheme: Scheme
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyring:
    """The keys of a site: the name of the current one, all that still open something, and the one
    for indexes.
    """

    current: str
    keys: dict[str, SiteKey]
    index_key: bytes

    @property
    def scheme(self) -> Scheme:
        """How new values are sealed."""
        return self.keys[self.current].scheme

    def new_data_key(self) -> bytes:
        """Make a key for one person."""
        return os.urandom(self.scheme.key_bytes)

    def wrap(self, data_key: bytes, belongs_to: str) -> tuple[str, bytes]:
        """Wrap a key under the current one; returns that one's name and the wrapped key."""
        return self.current, self._seal(data_key, f"key|{belongs_to}")

    def unwrap(self, name: str, wrapped: bytes, belongs_to: str) -> bytes:
        """Open a wrapped key.

        Raises: NotOpened.
        """
        if name not in self.keys:
            raise NotOpened(
                f"the site's key {name!r} is not in the key file; put it back, or rotate before "
                f"taking it out"
            )
        return unseal(self.keys[name].key, wrapped, f"key|{belongs_to}")

    def seal(self, plain: bytes, belongs_to: str) -> bytes:
        """Seal a value of the site's own under the current key; the key's name and a zero byte
        stand in front.
        """
        return self.current.encode() + _NAME_END + self._seal(plain, belongs_to)

    def unseal(self, sealed: bytes, belongs_to: str) -> bytes:
        """Open what `seal` made.

        Raises: NotOpened.
        """
        name, _, body = sealed.partition(_NAME_END)
        site_key = self.keys.get(name.decode("ascii", "replace"))
        if site_key is None:
            raise NotOpened("the key of this value is not in the key file")
        return unseal(site_key.key, body, belongs_to)

    def sealed_by_current(self, sealed: bytes) -> bool:
        """Tell whether `seal` made a value with the key that is current now."""
        return sealed.partition(_NAME_END)[0] == self.current.encode()

    def index(self, kind: str, text: str) -> bytes:
        """Return a blind index of a text: equal texts have equal indexes, and without the key an
        index tells nothing.
        """
        return hmac.digest(self.index_key, f"{kind}|{normalise(text)}".encode(), "sha256")

    def _seal(self, plain: bytes, belongs_to: str) -> bytes:
        site_key = self.keys[self.current]
        return seal(site_key.scheme, site_key.key, plain, belongs_to)


def normalise(text: str) -> str:
    """Write a text in the one way in which it is compared: full-width as half-width, no spaces or
    hyphens, upper case.
    """
    folded = unicodedata.normalize("NFKC", text)
    return "".join(c for c in folded if not c.isspace() and c not in _IGNORED).upper()


def load_keyring(path: Path) -> Keyring:
    """Read a key file.

    Raises: BadKeyring.
    """
    try:
        if path.stat().st_mode & 0o022:
            raise BadKeyring(f"{path.name}: others may write it; run chmod 600 on it")
        keyring = _parse(path.read_text("utf-8"))
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
    wrong_length = sorted(
        name for name, key in keyring.keys.items() if len(key.key) != key.scheme.key_bytes
    )
    is_usable = keyring.current in keyring.keys and len(keyring.index_key) >= MIN_INDEX_KEY_BYTES
    if wrong_length or not is_usable:
        raise BadKeyring(
            f"{path.name}: current = {keyring.current!r} must be one of its keys,"
            f" each as long as its scheme asks for ({wrong_length or 'all are'})"
        )
    return keyring


def _parse(text: str) -> Keyring:
    table = tomllib.loads(text)
    keys = {
        name: SiteKey(
            scheme=NAMES[entry["scheme"]], key=base64.b64decode(entry["key"], validate=True)
        )
        for name, entry in table["keys"].items()
    }
    return Keyring(
        current=table["current"],
        keys=keys,
        index_key=base64.b64decode(table["index_key"], validate=True),
    )


def save_keyring(path: Path, keyring: Keyring) -> None:
    """Write a key file, whole or not at all; only the owner of a new one may read it."""
    scheme_names = {scheme: name for name, scheme in NAMES.items()}
    lines = [
        "# Anju's keys. Whoever has this file and the database can read people's names: keep it "
        "apart from every backup.",
        f'current = "{keyring.current}"',
        f'index_key = "{base64.b64encode(keyring.index_key).decode()}"',
    ]
    for name, site_key in sorted(keyring.keys.items()):
        lines += [
            "",
            f"[keys.{name}]",
            f'scheme = "{scheme_names[site_key.scheme]}"',
            f'key = "{base64.b64encode(site_key.key).decode()}"',
        ]
    new_path = path.with_name(path.name + ".new")
    new_path.touch(mode=0o600)
    new_path.write_text("\n".join(lines) + "\n", "utf-8")
    if path.exists():
        # Whoever could read the file before, such as a container's user, still can.
        new_path.chmod(path.stat().st_mode & 0o777)
    new_path.replace(path)


def with_new_key(keyring: Keyring | None, scheme: Scheme) -> Keyring:
    """Return a keyring with one more key, which is the current one; None begins a keyring."""
    name = f"k{secrets.token_hex(4)}"
    new_key = SiteKey(scheme=scheme, key=os.urandom(scheme.key_bytes))
    if keyring is None:
        return Keyring(
            current=name, keys={name: new_key}, index_key=os.urandom(MIN_INDEX_KEY_BYTES)
        )
    return replace(keyring, current=name, keys={**keyring.keys, name: new_key})


class KeyFile:
    """A key file that may be replaced while the process runs; then it is read again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: tuple[int, int] | None = None
        self._keyring: Keyring | None = None

    def ring(self) -> Keyring:
        """Return the keys of the file as it is now.

        Raises: BadKeyring.
        """
        try:
            status = self._path.stat()
        except OSError as error:
            raise BadKeyring(f"{self._path.name}: {error.strerror}") from None
        version = (status.st_mtime_ns, status.st_ino)
        if self._keyring is None or self._version != version:
            self._keyring = load_keyring(self._path)
            self._version = version
        return self._keyring
