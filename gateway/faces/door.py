"""Door cameras: pictures of a passage come in over HTTP, and a passage event goes out.

POST /face/<door>/<token>?passage=<id> with a JPEG, PNG or WebP as body. Several pictures of one
passage are fused. The answer is 202 when the picture was taken, and 400 with the reason when it is
refused. No picture is kept.

The event holds the verdict, the purpose of the comparison and the number of people compared. It
names a person's token where the verdict is a match.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from domain.wire import Direction, EventItem, EventKind, Method, Outcome
from gateway.clock import GatewayClock
from gateway.config import Config
from gateway.faces.matching import Encodings, MatchVerdict, Thresholds, decide
from gateway.faces.pseudonyms import Regulars
from gateway.faces.tables import FaceDoorTable, FacesTable
from gateway.faces.template_store import Vault
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.intake import local_time
from gateway.outbox import DeviceContact, OutboxEntry
from gateway.pushes import QuietServer, read_request_body

log = structlog.get_logger()

#: A picture may take so long; a worker that takes longer is killed and another started.
PICTURE_S = 10.0
#: A passage is over when no picture of it came for so long, or it has so many.
QUIET_S = 1.5
MOST_FRAMES = 12
MOST_OPEN = 64
MOST_BODY = 8 * 1024 * 1024
TICK_S = 0.5
#: Distances of a subject's last matches; when most of them are near the limit the face has changed,
#: and is enrolled anew.
FADING = 10


class PictureRefused(Exception):
    """The picture was not taken; the message says why."""


class Encoder:
    """The worker process, and the line to it; one picture at a time."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._orders = orders
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()
        self.engine = ""
        self.thresholds = Thresholds(match=0, unknown=0, margin=0)

    async def start(self) -> None:
        """Start the worker.

        Raises: PictureRefused, where its engine cannot be used.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gateway.faces.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=4 * 1024 * 1024,
        )
        reply = await self._request(self._orders, 60.0)
        if "engine" not in reply:
            raise PictureRefused(str(reply.get("fault", "the engine does not start")))
        self.engine = reply["engine"]
        self.thresholds = Thresholds(**reply["thresholds"])

    async def faces(self, picture: bytes) -> list[dict[str, Any]]:
        """Return a picture's faces: box, encoding, what was measured.

        Raises: PictureRefused.
        """
        async with self._lock:
            if self._process is None:
                await self.start()
            reply = await self._request({"picture": base64.b64encode(picture).decode()}, PICTURE_S)
        if "faces" not in reply:
            raise PictureRefused(str(reply.get("refused", "cannot be read")))
        faces: list[dict[str, Any]] = reply["faces"]
        return faces

    async def _request(self, line: dict[str, Any], patience: float) -> dict[str, Any]:
        assert (
            self._process is not None
            and self._process.stdin is not None
            and self._process.stdout is not None
        )
        try:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            await self._process.stdin.drain()
            async with asyncio.timeout(patience):
                answer = await self._process.stdout.readline()
            reply: dict[str, Any] = json.loads(answer)
        except (TimeoutError, OSError, ValueError):
            await self.stop()
            return {"refused": "took too long, or more memory than a picture may"}
        return reply

    async def stop(self) -> None:
        """End the worker."""
        process = self._process
        self._process = None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@dataclass(slots=True)
class _Passage:
    door: FaceDoorTable
    id: str
    at: int
    frames: list[Encodings] = field(default_factory=list)
    pictures: int = 0
    last: float = 0.0


class FaceServer:
    """Every door of a gateway. `run` serves until cancelled."""

    def __init__(
        self, config: Config, outbox_writer: GroupCommitWriter, clock: GatewayClock, vault: Vault
    ) -> None:
        assert config.table.faces is not None
        self._config = config
        self._outbox_writer = outbox_writer
        self._clock = clock
        self._vault = vault
        self._table: FacesTable = config.table.faces
        self._doors = {door.device: door for door in self._table.doors}
        self._tokens = {
            door.device: config.secret(door.token_file) or "" for door in self._table.doors
        }
        self._open: dict[tuple[str, str], _Passage] = {}
        self.encoder = Encoder(self._table.orders(config.folder))
        self._regulars = {
            name: Regulars(name, vault, outbox_writer.outbox, self._table.strangers_days)
            for name in self._doors
            if self._table.strangers_days > 0
        }
        self.fault: str | None = None
        self._app = Starlette(
            routes=[Route("/face/{door}/{token}", self._picture, methods=["POST"])]
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        self._vault.keep_doors(self._doors)
        try:
            await self.encoder.start()
        except PictureRefused as error:
            self.fault = str(error)
            log.error("faces", fault=self.fault)
            await asyncio.sleep(60)
            return
        server = QuietServer(
            uvicorn.Config(
                self._app,
                host=self._table.host,
                port=self._table.port,
                log_level="error",
                access_log=False,
                limit_concurrency=64,
                timeout_graceful_shutdown=2,
                lifespan="off",
            )
        )
        ticking = asyncio.ensure_future(self._tick())
        try:
            await server.serve()
        except SystemExit:
            self.fault = f"port {self._table.port} of {self._table.host} cannot be listened on"
        finally:
            server.should_exit = True
            ticking.cancel()
            await self.encoder.stop()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        expired = float("-inf")
        while True:
            await asyncio.sleep(TICK_S)
            for passage in [one for one in self._open.values() if loop.time() - one.last > QUIET_S]:
                await self._over(passage)
            if loop.time() - expired > 3600:
                expired = loop.time()
                for regulars in self._regulars.values():
                    await self._put(regulars.expire(self._clock.now_ms()))

    async def _picture(self, request: Request) -> Response:
        name = request.path_params["door"]
        token = request.path_params["token"]
        door = self._doors.get(name)
        if door is None or not hmac.compare_digest(token.encode(), self._tokens[name].encode()):
            return PlainTextResponse("no such door, or a wrong token in the address\n", 404)
        body = await read_request_body(request, MOST_BODY)
        if isinstance(body, Response):
            return body
        try:
            await self.add_picture(door, str(request.query_params.get("passage", ""))[:60], body)
        except PictureRefused as error:
            return PlainTextResponse(f"{error}\n", 400)
        return Response(status_code=202)

    async def add_picture(self, door: FaceDoorTable, passage_id: str, picture: bytes) -> None:
        """Add one picture to a passage; the picture is not kept.

        Raises: PictureRefused.
        """
        faces = await self.encoder.faces(picture)
        now = self._clock.now_ms()
        loop = asyncio.get_running_loop()
        key = (door.device, passage_id or f"at-{now // 3000}")
        if key not in self._open and len(self._open) >= MOST_OPEN:
            raise PictureRefused("too many passages at once; send it again")
        passage = self._open.setdefault(key, _Passage(door, key[1], now))
        passage.pictures = passage.pictures + 1
        passage.last = loop.time()
        if faces:
            # Of several faces the nearest is the one that passes.
            passage.frames.append(np.array(faces[0]["encoding"], np.float32))
        if passage.pictures >= MOST_FRAMES:
            await self._over(passage)

    async def _over(self, passage: _Passage) -> None:
        self._open.pop((passage.door.device, passage.id), None)
        if not passage.frames:
            return
        now = self._clock.now_ms()
        entry = self.judge(passage.door, passage.id, passage.at, passage.frames, now)
        await self._put(entry)

    def judge(
        self, door: FaceDoorTable, passage_id: str, at: int, frames: Sequence[Encodings], now: int
    ) -> OutboxEntry:
        """Say what a passage's encodings mean, as what is put into the outbox."""
        today = local_time(now, self._config.zone).date().isoformat()
        consents = self._vault.consents(door.device, now, today)
        engine = self.encoder.engine
        thresholds = door.thresholds(self.encoder.thresholds)
        gallery = {
            one: templates
            for one in consents
            if (templates := self._vault.templates(one, engine)) is not None
        }
        answer = decide(frames, gallery, thresholds)
        data: dict[str, Any] = {
            "method": str(Method.FACE),
            "outcome": str(Outcome.UNKNOWN),
            "direction": str(Direction(door.direction)),
            "verdict": str(answer.verdict),
            "purpose": "entrance",
            "compared": len(gallery),
            "frames": len(frames),
            "engine": engine,
        }
        memory: dict[str, str] = {}
        if answer.distance is not None:
            data["distance"] = answer.distance
        if answer.verdict is MatchVerdict.MATCH and answer.subject is not None:
            data["person"] = consents[answer.subject]
            memory |= self._fading(answer.subject, answer.distance or 0.0)
        elif answer.verdict is MatchVerdict.UNKNOWN and door.device in self._regulars:
            token, more = self._regulars[door.device].name(frames, thresholds, engine, now)
            memory |= more.memory
            if token is not None:
                data["person"] = token
        item = EventItem(
            device=door.device,
            at=at,
            id=f"face-{at}-{passage_id}"[:80],
            kind=EventKind.PASSAGE,
            data=data,
        )
        return OutboxEntry(
            items=[item],
            memory=memory,
            contacts=[DeviceContact(device=door.device, at=now, summary=f"face {answer.verdict}")],
        )

    def _fading(self, subject: str, distance: float) -> dict[str, str]:
        key = f"face/{subject}"
        last = [*json.loads(self._outbox_writer.outbox.recall(key) or "[]"), distance][-FADING:]
        return {key: json.dumps(last)}

    async def _put(self, entry: OutboxEntry) -> None:
        try:
            await self._outbox_writer.put(entry)
        except WriteRefused:
            log.error("passage_not_kept", hint="free the disk under the outbox")


def fades(distances: Sequence[float], thresholds: Thresholds) -> bool:
    """Tell whether a face should be enrolled anew.

    It should where, of the last ten matches, more than half lie in the outer fifth below the limit.
    """
    near = sum(distance > 0.8 * thresholds.match for distance in distances)
    return len(distances) >= FADING and near > len(distances) / 2


def take_faces(
    vault: Vault, doors: Container[str], device: str, argument: dict[str, Any], now_ms: int
) -> dict[str, Any]:
    """Settle a list of consents for one of `doors`, and return the answer to the server.

    The answer names the stored, destroyed and refused subjects. Nothing is kept of any other
    device, so its list changes nothing.

    Raises: ValueError.
    """
    if device not in doors:
        return {"held": vault.stored(), "destroyed": [], "refused": []}
    try:
        settled = vault.take_list(device, argument.get("consents"), now_ms)
    except msgspec.ValidationError as error:
        raise ValueError(f"the list of consents cannot be read: {error}") from None
    return {"held": settled.stored, "destroyed": settled.destroyed, "refused": settled.refused}
