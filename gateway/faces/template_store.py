"""Templates on the estate, each sealed under a key of its own subject.

To destroy the key is to delete the subject. A subject is a consent and not a person: a withdrawn
consent never comes back, and a new one is another subject.

The server's list of consents for each door says what may be stored. Whatever is not in it is
destroyed when it arrives. Without a fresh list nobody is matched, so a restored or cut-off gateway
cannot go on for long.

The folder `keys` holds the wrapped keys and stays out of every backup. `templates` holds the sealed
templates. `gone` names the ended consents; one of those in a list is refused and reported.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from crypto.sealed_values import NotOpened, Scheme, seal, unseal
from domain.calendar import DAY_MS
from gateway.faces.matching import MOST_SUBJECTS, Encodings

#: Templates of one subject; the newest are kept.
MOST_TEMPLATES = 8
_SUBJECT = re.compile(r"[kq]-[a-z0-9]{8,40}")


class NotConsented(Exception):
    """No valid consent is known here, or the list is too old; the message says what to do."""


class FaceConsent(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a list: a consent, the person's token, and the last day on which it holds."""

    consent: str
    person: str
    to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a list led to: the stored, the destroyed and the refused subjects.

    A subject is refused when it was ended before.
    """

    stored: list[str] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Vault:
    """The templates of one gateway. `key` wraps the subjects' own (32 bytes, or 16 for SM4)."""

    def __init__(self, folder: Path, key: bytes, *, list_days: float = 7.0) -> None:
        self._folder = folder
        self._key = key
        self._list_ms = list_days * DAY_MS
        self._scheme = (
            Scheme.SM4_GCM if len(key) == Scheme.SM4_GCM.key_bytes else Scheme.AES_256_GCM
        )
        for name in ("keys", "templates", "gone", "lists"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)

    # Consents -------------------------------------------------------------------------------------

    def take_list(self, door: str, rows: Any, now_ms: int) -> Settled:
        """Take a door's list of consents, and destroy whatever no list allows any more.

        `rows` is the list as it was received.

        Raises: msgspec.ValidationError, for a list that cannot be read; then nothing changes.
        """
        consents = msgspec.convert(rows, list[FaceConsent])
        gone = set(_names(self._folder / "gone"))
        refused = sorted(one.consent for one in consents if one.consent in gone)
        kept = [
            one for one in consents if one.consent not in gone and _SUBJECT.fullmatch(one.consent)
        ][:MOST_SUBJECTS]
        body = {"heard_ms": now_ms, "consents": msgspec.to_builtins(kept)}
        self._write(self._folder / "lists" / f"{door}.json", json.dumps(body).encode())
        destroyed = self._settle()
        return Settled(stored=self.stored(), destroyed=destroyed, refused=refused)

    def keep_doors(self, doors: Iterable[str]) -> list[str]:
        """Forget the lists of all other doors, and destroy what only they allowed.

        Returns the destroyed subjects.
        """
        present = set(doors)
        for path in (self._folder / "lists").glob("*.json"):
            if path.stem not in present:
                path.unlink()
        return self._settle()

    def _settle(self) -> list[str]:
        allowed = {
            one.consent
            for path in (self._folder / "lists").glob("*.json")
            for one in self._list(path.stem)[1]
        }
        over = [
            subject
            for subject in self._subjects()
            if subject.startswith("k-") and subject not in allowed
        ]
        for subject in over:
            self.destroy(subject)
        return over

    def _list(self, door: str) -> tuple[int, list[FaceConsent]]:
        try:
            body = json.loads((self._folder / "lists" / f"{door}.json").read_bytes())
            return int(body["heard_ms"]), msgspec.convert(body["consents"], list[FaceConsent])
        except (OSError, ValueError, KeyError, msgspec.ValidationError):
            return 0, []

    def consents(self, door: str, now_ms: int, today: str) -> dict[str, str]:
        """Return who may be matched at a door now, as a map of consent to person.

        It is empty where the list is old. `today` is a local day (ISO).
        """
        received_ms, rows = self._list(door)
        if not received_ms or not 0 <= now_ms - received_ms <= self._list_ms:
            return {}
        return {one.consent: one.person for one in rows if one.to is None or one.to >= today}

    # Templates ------------------------------------------------------------------------------------

    def enrol(
        self,
        subject: str,
        encodings: Sequence[Encodings],
        *,
        engine: str,
        now_ms: int,
        doors: Iterable[str],
        today: str,
    ) -> int:
        """Keep templates of a consenting subject beside those before; returns how many there are.

        Raises: NotConsented.
        """
        if not any(subject in self.consents(door, now_ms, today) for door in doors):
            raise NotConsented(
                f"{subject}: not in the list of consents that the server sent; record the "
                "consent, and wait until this gateway is on line"
            )
        return self.keep(subject, encodings, engine=engine)

    def keep(self, subject: str, encodings: Sequence[Encodings], *, engine: str) -> int:
        """Seal templates; those of another engine are given up, since they cannot be compared."""
        if not _SUBJECT.fullmatch(subject) or subject in _names(self._folder / "gone"):
            raise NotConsented(f"{subject}: this consent has ended; a new one has another number")
        before = self.templates(subject, engine)
        stack = (
            np.concatenate([before, np.stack(list(encodings))])
            if before is not None
            else np.stack(list(encodings))
        )
        stack = stack[-MOST_TEMPLATES:].astype(np.float32)
        key = self._subject_key(subject)
        if key is None:
            key = os.urandom(self._scheme.key_bytes)
            self._write(
                self._folder / "keys" / subject,
                seal(self._scheme, self._key, key, f"key|{subject}"),
            )
        plain = msgspec.json.encode(
            {"engine": engine, "shape": stack.shape, "body": stack.tobytes()}
        )
        self._write(
            self._folder / "templates" / subject,
            seal(self._scheme, key, plain, f"template|{subject}"),
        )
        return len(stack)

    def templates(self, subject: str, engine: str) -> Encodings | None:
        """Open a subject's templates, of shape (n, d).

        Returns None where there are none of this engine, or where their key is gone.
        """
        key = self._subject_key(subject)
        if key is None:
            return None
        try:
            sealed = (self._folder / "templates" / subject).read_bytes()
            opened = msgspec.json.decode(
                unseal(key, sealed, f"template|{subject}"), type=_SealedTemplates
            )
        except (OSError, NotOpened, msgspec.DecodeError):
            return None
        return (
            np.frombuffer(opened.body, np.float32).reshape(opened.shape)
            if opened.engine == engine
            else None
        )

    def _subject_key(self, subject: str) -> bytes | None:
        try:
            return unseal(
                self._key, (self._folder / "keys" / subject).read_bytes(), f"key|{subject}"
            )
        except (OSError, NotOpened):
            return None

    def stored(self) -> list[str]:
        """Return the consents of which a template or a key lies here."""
        return [subject for subject in self._subjects() if subject.startswith("k-")]

    def _subjects(self) -> list[str]:
        return sorted({*_names(self._folder / "keys"), *_names(self._folder / "templates")})

    def strangers(self) -> list[str]:
        """Return the pseudonyms of which something lies here."""
        return [subject for subject in self._subjects() if subject.startswith("q-")]

    def destroy(self, subject: str) -> None:
        """Destroy a subject, and remember that it has ended.

        The key goes first; it is overwritten on disk before its name is removed.
        """
        self._write(self._folder / "gone" / subject, b"")
        for name in ("keys", "templates"):
            path = self._folder / name / subject
            if path.exists():
                with path.open("r+b") as file:
                    file.write(secrets.token_bytes(max(path.stat().st_size, 1)))
                    file.flush()
                    os.fsync(file.fileno())
                path.unlink()
                _sync(path.parent)

    @staticmethod
    def _write(path: Path, body: bytes) -> None:
        part = path.with_name(f".{path.name}.part")
        with part.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync(path.parent)


class _SealedTemplates(msgspec.Struct):
    engine: str
    shape: tuple[int, int]
    body: bytes


def destroy_all(folder: Path) -> int:
    """Destroy all templates and keys in a folder, since faces were turned off.

    Returns the number of subjects.
    """
    if not all((folder / name).is_dir() for name in ("keys", "templates", "gone", "lists")):
        return 0
    vault = Vault(folder, bytes(32))
    subjects = [*vault.stored(), *vault.strangers()]
    for subject in subjects:
        vault.destroy(subject)
    for path in (folder / "lists").glob("*.json"):
        path.unlink()
    return len(subjects)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
