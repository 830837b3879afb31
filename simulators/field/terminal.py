"""A simulated access terminal's own HTTP side (ISAPI, digest log-in).

It serves its list of people and its door.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any


@dataclass
class TerminalServer:
    """One terminal.

    `people` is its list by employee number; `opened` counts how often its door was opened.
    """

    password: str
    host: str = "127.0.0.1"
    port: int = 0
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    opened: int = 0
    refuse: bool = False
    _server: asyncio.Server | None = None
    _nonces: set[str] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; `port` is the one found where it was 0."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close it."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError
        ):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                method, path, _ = head.split(" ", 2)
                length = re.search(r"content-length: *(\d+)", head, re.I)
                body = await reader.readexactly(int(length[1])) if length else b""
                status, answer, extra = self._answer(method, path, head, body)
                text = json.dumps(answer).encode()
                writer.write(
                    (
                        f"HTTP/1.1 {status} X\r\nContent-Type: "
                        f"application/json\r\nContent-Length: {len(text)}\r\n{extra}\r\n"
                    ).encode()
                    + text
                )
                await writer.drain()
        writer.close()

    def _answer(
        self, method: str, path: str, head: str, body: bytes
    ) -> tuple[int, dict[str, Any], str]:
        if not self._logged_in(method, head):
            nonce = secrets.token_hex(8)
            self._nonces.add(nonce)
            return (
                401,
                {},
                f'WWW-Authenticate: Digest realm="door", qop="auth", nonce="{nonce}"\r\n',
            )
        if self.refuse:
            return 503, {"statusString": "Device Busy"}, ""
        if (
            path.startswith("/ISAPI/AccessControl/RemoteControl/door/")
            and b"<cmd>open</cmd>" in body
        ):
            self.opened += 1
            return 200, {"statusCode": 1}, ""
        content = json.loads(body) if body else {}
        if "/UserInfo/Search" in path:
            condition = content["UserInfoSearchCond"]
            start = condition["searchResultPosition"]
            most = condition["maxResults"]
            rows = list(self.people.values())[start : start + most]
            state = "MORE" if start + most < len(self.people) else "OK"
            return 200, {"UserInfoSearch": {"responseStatusStrg": state, "UserInfo": rows}}, ""
        if "/UserInfo/SetUp" in path:
            self.people[content["UserInfo"]["employeeNo"]] = content["UserInfo"]
            return 200, {"statusCode": 1}, ""
        if "/UserInfo/Delete" in path:
            for employee in content["UserInfoDelCond"]["EmployeeNoList"]:
                self.people.pop(employee["employeeNo"], None)
            return 200, {"statusCode": 1}, ""
        return 404, {"statusString": "notSupport"}, ""

    def _logged_in(self, method: str, head: str) -> bool:
        line = re.search(r"authorization: *digest ([^\r]*)", head, re.I)
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', line[1])) if line else {}
        if given.get("nonce") not in self._nonces:
            return False
        first = _md5(f"{given.get('username')}:door:{self.password}")
        second = _md5(f"{method}:{given.get('uri')}")
        middle = ":".join(given.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return _md5(f"{first}:{middle}:{second}") == given.get("response")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
