"""The `anju faces` commands, at a gateway: a key, a picture's quality, enrolment, what lies here,
and an engine's errors on a folder of people.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
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


def _told(faces: list[dict[str, Any]]) -> list[str]:
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
    words = _told(_with_encoder({"engine": engine}, lambda encoder: encoder.faces(_read(picture))))
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
            for line in _told(faces):
                raise fail(f"{picture}: {line}")
            encodings.append(np.array(faces[0]["encoding"], np.float32))
        return encoder.engine, encodings

    engine, encodings = _with_encoder(table.orders(loaded.folder), encode)
    now = GatewayClock().now_ms()
    try:
        held = vault.enrol(
            consent,
            encodings,
            engine=engine,
            now_ms=now,
            doors=[door.device for door in table.doors],
            today=local_time(now, loaded.zone).date().isoformat(),
        )
    except NotConsented as error:
        raise fail(str(error)) from None
    out.print(f"{consent}: {held} templates are sealed here; delete the pictures")


@faces_app.command()
def check(config: Configured = CONFIG) -> None:
    """Say what lies at this gateway, how old the lists of consents are, and whose matches fade so
    that they are enrolled anew.
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
    held = vault.stored()
    out.print(
        f"{len(held)} consents have templates here, {len(vault.strangers())} pseudonyms live; "
        f"other ways in: {', '.join(table.other_ways)}"
    )
    for door in table.doors:
        allowed = vault.consents(door.device, now, today)
        waiting = sorted(set(allowed) - set(held))
        words = (
            f"{len(allowed)} consents in a fresh list"
            if allowed
            else "no fresh list with anybody in it: nobody is matched"
        )
        out.print(f"{door.device}: {words}; not enrolled yet: {', '.join(waiting) or 'nobody'}")
        limits = door.thresholds(THRESHOLDS[table.engine])
        fading = [
            one for one in allowed if fades(json.loads(memory.get(f"face/{one}", "[]")), limits)
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
    """Measure an engine on a folder of people: false matches and false non-matches at each
    threshold, with 95 % intervals, and its speed.
    """
    import numpy as np

    from gateway.faces.matching import decide, roc

    orders: dict[str, Any] = {"engine": "dlib"}
    if config is not None:
        loaded = _faces_config(config)
        assert loaded.table.faces is not None
        orders = loaded.table.faces.orders(loaded.folder)
    names = {
        person.name: sorted(
            picture for picture in person.iterdir() if picture.suffix.lower() in KINDS
        )
        for person in sorted(folder.iterdir())
        if person.is_dir()
    }
    if len(names) < 2 or not any(names.values()):
        raise fail(
            f"{folder}: needs a folder for each of two people or more, with pictures in them"
        )

    async def encode(encoder: Encoder) -> tuple[Any, dict[str, Any], float]:
        found: dict[str, list[Any]] = {}
        begun, count = time.perf_counter(), 0
        for name, pictures in names.items():
            for picture in pictures:
                faces, count = await encoder.faces(picture.read_bytes()), count + 1
                if len(faces) == 1:
                    found.setdefault(name, []).append(np.array(faces[0]["encoding"], np.float32))
        return (
            encoder.thresholds,
            {name: np.stack(rows) for name, rows in found.items()},
            (time.perf_counter() - begun) / max(count, 1),
        )

    thresholds, people, each_s = _with_encoder(orders, encode)
    limits = np.linspace(thresholds.match * 0.7, thresholds.unknown * 1.1, steps).round(3)
    table = Table("threshold", "false match", "95 %", "false non-match", "95 %")
    points = roc(people, [float(limit) for limit in limits])
    for point in points:
        match, miss = point.false_match, point.false_non_match
        table.add_row(
            f"{point.threshold:.3f}",
            f"{match.rate or 0:.4f} ({match.hits}/{match.of})",
            f"{match.low:.4f} to {match.high:.4f}",
            f"{miss.rate or 0:.4f} ({miss.hits}/{miss.of})",
            f"{miss.low:.4f} to {miss.high:.4f}",
        )
    out.print(table)
    if points[0].false_match.of < 3000:
        out.print(
            f"{points[0].false_match.of} pairs of different people: too few to tell a false "
            f"match rate of 0.001 from none (3000 are needed)"
        )
    probe = next(iter(people.values()))[:1]
    begun = time.perf_counter()
    for _ in range(200):
        decide(list(probe), people, thresholds)
    took = (time.perf_counter() - begun) / 200 * 1000
    total = sum(map(len, people.values()))
    out.print(
        f"{total} of {sum(map(len, names.values()))} pictures held one face; {1 / each_s:.1f} "
        f"pictures/s on a core; 1:{len(people)} in {took:.2f} ms"
    )
