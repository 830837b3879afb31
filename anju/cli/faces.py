"""The `anju faces` commands, at a gateway: a key, a picture's quality, enrolment, what lies here,
and an engine's errors on a folder of people.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.table import Table

from anju.cli.gateway import CONFIG
from anju.cli.terminal import fail, out

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.faces.door import Encoder

faces_app = typer.Typer(
    no_args_is_help=True,
    help="Faces at doors, on the estate and with consent only (docs/faces.md).",
)
T = TypeVar("T")
Configured = Annotated[Path, typer.Option("--config", help="the gateway's configuration")]
#: Pairs of different people from which a false match rate of 0.001 is told from none.
MIN_PAIRS = 3000
#: Comparisons whose mean time is measured.
MATCH_ROUNDS = 200
KINDS = {".jpg", ".jpeg", ".png", ".webp"}


@faces_app.command()
def key(
    sm4: Annotated[
        bool, typer.Option("--sm4", help="a key for SM4-GCM in place of AES-256-GCM")
    ] = False,
) -> None:
    """Print a new random key, for `key_file`."""
    print(secrets.token_hex(16 if sm4 else 32))


def _faces_config(path: Path) -> Config:
    from gateway.config import load_config
    from gateway.config_tables import BadConfig

    try:
        config = load_config(path)
    except BadConfig as error:
        raise fail(str(error)) from None
    if config.table.faces is None:
        raise fail(f"{path}: has no [faces]; faces are off at this gateway")
    return config


def _with_encoder(orders: dict[str, Any], work: Callable[[Encoder], Awaitable[T]]) -> T:
    """Do something with an encoder of our own, and end it."""
    from gateway.faces.door import Encoder, PictureRefused

    async def run() -> T:
        encoder = Encoder(orders)
        try:
            await encoder.start()
            return await work(encoder)
        finally:
            await encoder.stop()

    try:
        return asyncio.run(run())
    except PictureRefused as error:
        raise fail(str(error)) from None


def _list_advice(faces: list[dict[str, Any]]) -> list[str]:
    from gateway.faces.quality import FaceQuality, advice

    return advice([FaceQuality(**face["measured"]) for face in faces])


@faces_app.command()
def quality(
    picture: Annotated[Path, typer.Argument(help="a picture of one person")],
    engine: Annotated[str, typer.Option(help="dlib, or onnx through a configuration")] = "dlib",
) -> None:
    """Say whether a picture is good enough to enrol, and what to do better.

    Exit code 1 where it is not.
    """
    words = _list_advice(
        _with_encoder({"engine": engine}, lambda encoder: encoder.faces(_read(picture)))
    )
    for line in words:
        out.print(f"- {line}")
    if words:
        raise typer.Exit(1)
    out.print("good enough")


def _read(picture: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise fail(f"{picture}: {error.strerror}") from None


@faces_app.command()
def enrol(
    consent: Annotated[str, typer.Argument(help="the consent's number, as the server gave it")],
    pictures: Annotated[
        list[Path],
        typer.Argument(help="one to four pictures of the person; delete them afterwards"),
    ],
    config: Configured = CONFIG,
) -> None:
    """Enrol a consenting person from pictures: only their sealed encodings stay."""
    import numpy as np

    from gateway.clock import GatewayClock
    from gateway.faces.tables import FOLDER
    from gateway.faces.template_store import NotConsented, Vault
    from gateway.intake import local_time

    loaded = _faces_config(config)
    table = loaded.table.faces
    assert table is not None
    vault = Vault(loaded.folder / FOLDER, loaded.face_key(), list_days=table.list_days)

    async def encode(encoder: Encoder) -> tuple[str, list[Any]]:
        encodings = []
        for picture in pictures:
            faces = await encoder.faces(_read(picture))
            for line in _list_advice(faces):
                raise fail(f"{picture}: {line}")
            encodings.append(np.array(faces[0]["encoding"], np.float32))
        return encoder.engine, encodings

    engine, encodings = _with_encoder(table.orders(loaded.folder), encode)
    now = GatewayClock().now_ms()
    try:
        template_count = vault.enrol(
            consent,
            encodings,
            engine=engine,
            now_ms=now,
            doors=[door.device for door in table.doors],
            today=local_time(now, loaded.zone).date().isoformat(),
        )
    except NotConsented as error:
        raise fail(str(error)) from None
    out.print(f"{consent}: {template_count} templates are sealed here; delete the pictures")


@faces_app.command()
def check(config: Configured = CONFIG) -> None:
    """Show which templates are at this gateway, and how old the lists of consents are.

    Show also whose matches fade, so that they are enrolled anew.
    """
    import json

    from gateway.clock import GatewayClock
    from gateway.faces.door import fades
    from gateway.faces.engine import THRESHOLDS
    from gateway.faces.tables import FOLDER
    from gateway.faces.template_store import Vault
    from gateway.intake import local_time
    from gateway.outbox_file import read_snapshot

    loaded = _faces_config(config)
    table = loaded.table.faces
    assert table is not None
    vault = Vault(loaded.folder / FOLDER, loaded.face_key(), list_days=table.list_days)
    now = GatewayClock().now_ms()
    today = local_time(now, loaded.zone).date().isoformat()
    memory = read_snapshot(loaded.outbox_path).memory if loaded.outbox_path.is_file() else {}
    enrolled = vault.stored()
    out.print(
        f"{len(enrolled)} consents have templates here, {len(vault.strangers())} pseudonyms live; "
        f"other ways in: {', '.join(table.other_ways)}"
    )
    for door in table.doors:
        allowed = vault.consents(door.device, now, today)
        waiting = sorted(set(allowed) - set(enrolled))
        state = "no fresh list with anybody in it: nobody is matched"
        if allowed:
            state = f"{len(allowed)} consents in a fresh list"
        out.print(f"{door.device}: {state}; not enrolled yet: {', '.join(waiting) or 'nobody'}")
        limits = door.thresholds(THRESHOLDS[table.engine])
        fading = [
            consent
            for consent in allowed
            if fades(json.loads(memory.get(f"face/{consent}", "[]")), limits)
        ]
        if fading:
            out.print(f"{door.device}: matches fade, enrol anew: {', '.join(fading)}")


@faces_app.command()
def roc(
    folder: Annotated[
        Path, typer.Argument(help="one folder for each person, with two or more pictures in it")
    ],
    config: Annotated[
        Path | None, typer.Option(help="a gateway's configuration, for its engine; without it dlib")
    ] = None,
    steps: Annotated[int, typer.Option(min=3, max=50)] = 9,
) -> None:
    """Measure an engine on a folder of people.

    Print false matches and false non-matches at each threshold, with 95 % intervals, and its speed.
    """
    import numpy as np

    from gateway.faces.matching import roc as measure_errors

    orders: dict[str, Any] = {"engine": "dlib"}
    if config is not None:
        loaded = _faces_config(config)
        assert loaded.table.faces is not None
        orders = loaded.table.faces.orders(loaded.folder)
    pictures_of = _list_pictures(folder)
    encoded = _with_encoder(orders, lambda encoder: _encode_people(encoder, pictures_of))
    lowest = encoded.thresholds.match * 0.7
    highest = encoded.thresholds.unknown * 1.1
    limits = [float(limit) for limit in np.linspace(lowest, highest, steps).round(3)]
    points = measure_errors(encoded.people, limits)
    out.print(_errors_table(points))
    pairs = points[0].false_match.of
    if pairs < MIN_PAIRS:
        out.print(
            f"{pairs} pairs of different people: too few to tell a false "
            f"match rate of 0.001 from none ({MIN_PAIRS} are needed)"
        )
    usable = sum(map(len, encoded.people.values()))
    total = sum(map(len, pictures_of.values()))
    out.print(
        f"{usable} of {total} pictures held one face; {1 / encoded.seconds_each:.1f} "
        f"pictures/s on a core; 1:{len(encoded.people)} in {_match_ms(encoded):.2f} ms"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPeople:
    """Encodings of people's faces by name, each of shape (pictures, dimensions) and float32.

    `seconds_each` is the time that one picture took.
    """

    thresholds: Any
    people: dict[str, Any]
    seconds_each: float


def _list_pictures(folder: Path) -> dict[str, list[Path]]:
    people = (person for person in sorted(folder.iterdir()) if person.is_dir())
    pictures_of = {
        person.name: sorted(file for file in person.iterdir() if file.suffix.lower() in KINDS)
        for person in people
    }
    if len(pictures_of) < 2 or not any(pictures_of.values()):
        raise fail(
            f"{folder}: needs a folder for each of two people or more, with pictures in them"
        )
    return pictures_of


async def _encode_people(encoder: Encoder, pictures_of: dict[str, list[Path]]) -> EncodedPeople:
    import numpy as np

    encodings_of: dict[str, list[Any]] = {}
    count = 0
    started = time.perf_counter()
    for name, pictures in pictures_of.items():
        for picture in pictures:
            faces = await encoder.faces(picture.read_bytes())
            count += 1
            if len(faces) == 1:
                encoding = np.array(faces[0]["encoding"], np.float32)
                encodings_of.setdefault(name, []).append(encoding)
    elapsed_s = time.perf_counter() - started
    return EncodedPeople(
        thresholds=encoder.thresholds,
        people={name: np.stack(rows) for name, rows in encodings_of.items()},
        seconds_each=elapsed_s / max(count, 1),
    )


def _errors_table(points: Sequence[Any]) -> Table:
    table = Table("threshold", "false match", "95 %", "false non-match", "95 %")
    for point in points:
        match = point.false_match
        miss = point.false_non_match
        table.add_row(
            f"{point.threshold:.3f}",
            f"{match.rate or 0:.4f} ({match.hits}/{match.of})",
            f"{match.low:.4f} to {match.high:.4f}",
            f"{miss.rate or 0:.4f} ({miss.hits}/{miss.of})",
            f"{miss.low:.4f} to {miss.high:.4f}",
        )
    return table


def _match_ms(encoded: EncodedPeople) -> float:
    """Measure how long it takes to compare one face with all people, in milliseconds."""
    from gateway.faces.matching import decide

    probe = next(iter(encoded.people.values()))[:1]
    started = time.perf_counter()
    for _ in range(MATCH_ROUNDS):
        decide(list(probe), encoded.people, encoded.thresholds)
    return (time.perf_counter() - started) / MATCH_ROUNDS * 1000
