"""The HTTP server for what terminals, cameras and platforms push, and the door to GA/T 1400 (`/VIID`).

A sender is known by the secret in its address (`/push/<source>/<token>`), a GA/T 1400 device by digest log-in (its source's
name and token). The answer that ends a sender's retries goes out when what it sent is on disk, and not before.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from devices.pushes import PUSHES
from devices.pushes.body import MAX_BODY, PushFormat
from domain.rejection import Reason, Rejected
from gateway.config import Config, DeviceTable, MqttTable, SourceTable
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.intake import Intake, UnknownDevice, table_of
from gateway.outbox import OutboxEntry
from gateway.unknown_devices import UnknownDevices

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a push: `kept` where all of it is on disk; `unknown` names a device that is not configured."""

    kept: bool
    unknown: str | None = None
    refused: Rejected | None = None


class Receiver:
    """Takes the bodies of one source, whichever way they come."""

    def __init__(
        self,
        source: SourceTable | MqttTable,
        desk: GroupCommitWriter,
        intake: Intake,
        strangers: UnknownDevices,
    ) -> None:
        self.source, self.push = source, PUSHES[source.kind]
        self.devices: dict[str, DeviceTable] = {
            table.address.lower(): table for table in source.devices
        }
        self._desk, self._intake, self._strangers = desk, intake, strangers
        self._locks: dict[str, asyncio.Lock] = {}

    async def take(self, content_type: str, body: bytes) -> Taken:
        """Take one body."""
        found = self.push.parse(content_type, body, self._intake.token)
        if isinstance(found, Rejected):
            self._strangers.refused(self.source.name, found)
            return Taken(kept=False, refused=found)
        # One device at a time: whether an alarm begins or ends is told by what was put down before.
        known = sorted(
            {
                table.device
                for message in found
                if (table := table_of(self.devices, message.native)) is not None
            }
        )
        async with AsyncExitStack() as held:
            for device in known:
                await held.enter_async_context(self._locks.setdefault(device, asyncio.Lock()))
            return await self._keep(self._intake.pushed(self.devices, found))

    async def _keep(self, taken: list[OutboxEntry | UnknownDevice]) -> Taken:
        unknown = next((entry.native for entry in taken if isinstance(entry, UnknownDevice)), None)
        for entry in taken:
            if isinstance(entry, UnknownDevice):
                self._strangers.spoke(self.source.name, entry.native, self.push.title)
        try:
            await self._desk.put(*(entry for entry in taken if isinstance(entry, OutboxEntry)))
        except WriteRefused:
            return Taken(kept=False)
        return Taken(kept=True, unknown=unknown)


async def body_of(request: Request, most: int) -> bytes | Response:
    """Read a body within a limit; the answer to give where there is none that can be taken."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                return PlainTextResponse(f"a body has at most {most} bytes\n", 413)
    except ClientDisconnect:
        return Response(status_code=400)
    return bytes(body)


class QuietServer(uvicorn.Server):
    """A server that leaves signals to the gateway's process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the gateway's process."""
        yield


class PushServer:
    """The server. `run` serves until it is cancelled."""

    def __init__(self, config: Config, receivers: dict[str, Receiver]) -> None:
        assert config.table.push is not None
        self._table, self._tokens, self._receivers = config.table.push, config.tokens_of, receivers
        self.fault: str | None = None
        self._nonces: dict[str, None] = {}
        routes = [
            Route("/push/{source}/{token}", self._push, methods=["POST", "PUT"]),
            Route("/VIID/{rest:path}", self._viid, methods=["POST", "PUT", "DELETE", "GET"]),
            Route("/healthz", lambda _request: PlainTextResponse("ok")),
        ]
        self._app = Starlette(routes=routes)

    async def run(self) -> None:
        """Serve until cancelled."""
        server = QuietServer(
            uvicorn.Config(
                self._app,
                host=self._table.host,
                port=self._table.port,
                log_level="error",
                access_log=False,
                limit_concurrency=200,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=2,
                lifespan="off",
            )
        )
        try:
            await server.serve()
        except SystemExit:
            # uvicorn's way to say that the port is taken.
            self.fault = f"port {self._table.port} of {self._table.host} cannot be listened on"
            log.error("push_port", fault=self.fault)
        finally:
            server.should_exit = True

    async def _push(self, request: Request) -> Response:
        name, token = request.path_params["source"], request.path_params["token"]
        receiver = self._receivers.get(name)
        if receiver is None or not hmac.compare_digest(
            token.encode(), self._tokens.get(name, secrets.token_hex(16)).encode()
        ):
            return PlainTextResponse("no such source, or a wrong token in the address\n", 404)
        return await self._take(receiver, request)

    async def _take(self, receiver: Receiver, request: Request) -> Response:
        body = await body_of(request, MAX_BODY)
        if isinstance(body, Response):
            return body
        taken = await receiver.take(request.headers.get("content-type", ""), body)
        push: PushFormat = receiver.push
        if taken.refused is not None and taken.refused.reason in (
            Reason.UNREADABLE,
            Reason.TOO_LARGE,
        ):
            return PlainTextResponse(taken.refused.detail + "\n", 400)
        if taken.unknown is not None and not getattr(receiver.source, "platform", True):
            # The terminal keeps its event and sends it again once the configuration knows it.
            return PlainTextResponse(
                f"device {taken.unknown!r} is not configured at this gateway\n", 503
            )
        if not taken.kept and taken.refused is None:
            return PlainTextResponse("the outbox cannot take it now; send it again\n", 503)
        return Response(push.answer, media_type=push.answer_type)

    # GA/T 1400 ------------------------------------------------------------------------------------

    async def _viid(self, request: Request) -> Response:
        receiver = self._logged_in(request)
        if receiver is None:
            nonce = secrets.token_hex(16)
            self._nonces[nonce] = None
            while len(self._nonces) > 1000:
                self._nonces.pop(next(iter(self._nonces)))
            challenge = f'Digest realm="viid", qop="auth", algorithm=MD5, nonce="{nonce}"'
            return Response(status_code=401, headers={"WWW-Authenticate": challenge})
        if request.method == "GET" or request.path_params["rest"].startswith("System/"):
            return Response(receiver.push.answer, media_type=receiver.push.answer_type)
        return await self._take(receiver, request)

    def _logged_in(self, request: Request) -> Receiver | None:
        """Check a digest log-in (RFC 7616, MD5 as GA/T 1400.4 has it)."""
        given = dict(
            re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("authorization", "")[:2000])
        )
        name, nonce = given.get("username", ""), given.get("nonce", "")
        receiver = self._receivers.get(name)
        if receiver is None or receiver.source.kind != "gat1400" or nonce not in self._nonces:
            return None
        first = _md5(f"{name}:viid:{self._tokens.get(name, '')}")
        second = _md5(f"{request.method}:{given.get('uri', '')}")
        want = _md5(
            f"{first}:{nonce}:{given.get('nc', '')}:{given.get('cnonce', '')}:{given.get('qop', '')}:{second}"
        )
        uri_matches = given.get("uri", "").split("?")[0] == request.url.path
        return (
            receiver
            if uri_matches and hmac.compare_digest(want, given.get("response", ""))
            else None
        )


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
