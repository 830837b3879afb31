"""The HTTP server for what terminals, cameras and platforms push, and the door to GA/T 1400
(`/VIID`).

A sender is known by the secret in its address (`/push/<source>/<token>`), a GA/T 1400 device by
digest log-in (its source's name and token). The answer that ends a sender's retries goes out when
what it sent is on disk, and not before.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from devices.messages import ReceivedMessage
from devices.pushes import PUSHES
from devices.pushes.body import MAX_BODY
from domain.rejection import Reason, Rejected
from gateway.config import Config
from gateway.config_tables import DeviceTable, MqttTable, SourceTable
from gateway.group_commit import GroupCommitWriter, WriteRefused
from gateway.intake import Intake, UnknownDevice, find_device
from gateway.outbox import OutboxEntry
from gateway.unknown_devices import UnknownDevices

log = structlog.get_logger()


#: Reasons for which a body is answered with 400: sending it again would not help.
_UNREADABLE = (Reason.UNREADABLE, Reason.TOO_LARGE)
#: Nonces of the digest log-in that are remembered.
MAX_NONCES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOutcome:
    """What became of a push.

    `stored` says that all of it is on disk, `unknown` names a device that is not configured, and
    `rejected` says why it could not be read.
    """

    stored: bool
    unknown: str | None = None
    rejected: Rejected | None = None


class PushReceiver:
    """Receives the bodies of one source, over HTTP or MQTT."""

    def __init__(
        self,
        source: SourceTable | MqttTable,
        outbox_writer: GroupCommitWriter,
        intake: Intake,
        unknown_devices: UnknownDevices,
    ) -> None:
        self.source = source
        self.format = PUSHES[source.kind]
        self.devices: dict[str, DeviceTable] = {
            table.address.lower(): table for table in source.devices
        }
        self._outbox_writer = outbox_writer
        self._intake = intake
        self._unknown_devices = unknown_devices
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def receive(self, content_type: str, body: bytes) -> PushOutcome:
        """Parse one body and store its messages."""
        messages = self.format.parse(content_type, body, self._intake.token)
        if isinstance(messages, Rejected):
            self._unknown_devices.note_rejection(self.source.name, messages)
            return PushOutcome(stored=False, rejected=messages)
        # One push of a device at a time: the entries before say whether an alarm begins or ends.
        async with AsyncExitStack() as locks:
            for device in self._known_devices(messages):
                await locks.enter_async_context(self._locks[device])
            return await self._store(self._intake.convert_messages(self.devices, messages))

    def _known_devices(self, messages: Sequence[ReceivedMessage]) -> list[str]:
        """Return the configured devices of messages, each once, in an order that is always the
        same.
        """
        tables = (find_device(self.devices, message.native) for message in messages)
        return sorted({table.device for table in tables if table is not None})

    async def _store(self, converted: Sequence[OutboxEntry | UnknownDevice]) -> PushOutcome:
        entries = [entry for entry in converted if isinstance(entry, OutboxEntry)]
        unknown = [device.native for device in converted if isinstance(device, UnknownDevice)]
        for native in unknown:
            self._unknown_devices.note_device(self.source.name, native, self.format.title)
        try:
            await self._outbox_writer.put(*entries)
        except WriteRefused:
            return PushOutcome(stored=False)
        return PushOutcome(stored=True, unknown=unknown[0] if unknown else None)


async def read_request_body(request: Request, limit: int) -> bytes | Response:
    """Read a body of at most `limit` bytes; the response to give where it cannot be read."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                return PlainTextResponse(f"a body has at most {limit} bytes\n", 413)
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

    def __init__(self, config: Config, receivers: dict[str, PushReceiver]) -> None:
        assert config.table.push is not None
        self._table = config.table.push
        self._tokens = config.tokens_of
        self._receivers = receivers
        self._nonces: dict[str, None] = {}
        self.fault: str | None = None
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
        name = request.path_params["source"]
        token = request.path_params["token"]
        receiver = self._receivers.get(name)
        # A random token stands for a source that is not there, so that both take the same time.
        expected = self._tokens.get(name, secrets.token_hex(16))
        is_right = hmac.compare_digest(token.encode(), expected.encode())
        if receiver is None or not is_right:
            return PlainTextResponse("no such source, or a wrong token in the address\n", 404)
        return await self._receive(receiver, request)

    async def _receive(self, receiver: PushReceiver, request: Request) -> Response:
        body = await read_request_body(request, MAX_BODY)
        if isinstance(body, Response):
            return body
        outcome = await receiver.receive(request.headers.get("content-type", ""), body)
        return _respond(receiver, outcome)

    # GA/T 1400 ------------------------------------------------------------------------------------

    async def _viid(self, request: Request) -> Response:
        receiver = self._authenticate(request)
        if receiver is None:
            return self._challenge()
        if request.method == "GET" or request.path_params["rest"].startswith("System/"):
            return _answer(receiver)
        return await self._receive(receiver, request)

    def _challenge(self) -> Response:
        """Ask for a digest log-in with a new nonce."""
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = None
        while len(self._nonces) > MAX_NONCES:
            oldest = next(iter(self._nonces))
            del self._nonces[oldest]
        challenge = f'Digest realm="viid", qop="auth", algorithm=MD5, nonce="{nonce}"'
        return Response(status_code=401, headers={"WWW-Authenticate": challenge})

    def _authenticate(self, request: Request) -> PushReceiver | None:
        """Check a digest log-in (RFC 7616, MD5 as GA/T 1400.4 has it); None where it is wrong."""
        header = request.headers.get("authorization", "")[:2000]
        given = defaultdict(str, re.findall(r'(\w+)="?([^",]*)"?', header))
        name = given["username"]
        nonce = given["nonce"]
        receiver = self._receivers.get(name)
        if receiver is None or receiver.source.kind != "gat1400" or nonce not in self._nonces:
            return None
        user = _md5(f"{name}:viid:{self._tokens.get(name, '')}")
        resource = _md5(f"{request.method}:{given['uri']}")
        parts = (user, nonce, given["nc"], given["cnonce"], given["qop"], resource)
        expected = _md5(":".join(parts))
        if given["uri"].split("?")[0] != request.url.path:
            return None
        return receiver if hmac.compare_digest(expected, given["response"]) else None


def _respond(receiver: PushReceiver, outcome: PushOutcome) -> Response:
    """Answer a push; a sender tries again after 503."""
    if outcome.rejected is not None:
        if outcome.rejected.reason in _UNREADABLE:
            return PlainTextResponse(outcome.rejected.detail + "\n", 400)
        return _answer(receiver)
    source = receiver.source
    is_platform = source.platform if isinstance(source, SourceTable) else True
    if outcome.unknown is not None and not is_platform:
        # The terminal keeps its event and sends it again when the configuration knows it.
        problem = f"device {outcome.unknown!r} is not configured at this gateway\n"
        return PlainTextResponse(problem, 503)
    if not outcome.stored:
        return PlainTextResponse("the outbox cannot take it now; send it again\n", 503)
    return _answer(receiver)


def _answer(receiver: PushReceiver) -> Response:
    return Response(receiver.format.answer, media_type=receiver.format.answer_type)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
