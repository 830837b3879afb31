"""Speaking to access terminals (ISAPI over HTTP, digest log-in): open a door, keep the list of who may pass.

The list is people as opaque tokens with the days on which they may pass. A card, a face or a fingerprint that is enrolled
at the terminal belongs to such a person and dies with them, so no card number, picture or template ever crosses this line.
People that somebody else put into the terminal are left alone.
"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import structlog

from gateway.config import Config, ControlTable

log = structlog.get_logger()

TIMEOUT_S = 10.0
PAGE = 30
MAX_PEOPLE = 20_000


class TerminalFailed(Exception):
    """The terminal did not do it; the message says why."""


class Terminal:
    """One terminal."""

    def __init__(self, config: Config, table: ControlTable) -> None:
        password = config.secret(table.password_file) or ""
        self._client = httpx2.AsyncClient(
            base_url=table.url,
            auth=httpx2.DigestAuth(table.username, password),
            timeout=TIMEOUT_S,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def open_door(self, number: int = 1) -> None:
        """Open a door once.

        Raises: TerminalFailed.
        """
        body = "<RemoteControlDoor><cmd>open</cmd></RemoteControlDoor>"
        await self._send("PUT", f"/ISAPI/AccessControl/RemoteControl/door/{number}", content=body)

    async def set_people(self, people: list[dict[str, str]], ours: set[str]) -> tuple[int, int]:
        """Make the terminal's list this one; `ours` are the people whom an earlier list put there. Returns (put, removed).

        Raises: TerminalFailed; then the list may be half done, and doing it again mends it.
        """
        held = await self._people()
        put = 0
        for person in people:
            wanted = {
                "beginTime": f"{person['from']}T00:00:00",
                "endTime": f"{person.get('to') or '2037-12-31'}T23:59:59",
            }
            if held.get(person["person"]) == wanted:
                continue
            info = {
                "employeeNo": person["person"],
                "name": person["person"],
                "userType": "normal",
                "doorRight": "1",
                "Valid": {"enable": True, **wanted},
                "RightPlan": [{"doorNo": 1, "planTemplateNo": "1"}],
            }
            await self._send(
                "PUT", "/ISAPI/AccessControl/UserInfo/SetUp?format=json", json={"UserInfo": info}
            )
            put += 1
        gone = sorted((set(held) & ours) - {person["person"] for person in people})
        for start in range(0, len(gone), PAGE):
            numbers = [{"employeeNo": number} for number in gone[start : start + PAGE]]
            body = {"UserInfoDelCond": {"EmployeeNoList": numbers}}
            await self._send("PUT", "/ISAPI/AccessControl/UserInfo/Delete?format=json", json=body)
        return put, len(gone)

    async def _people(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        while len(found) < MAX_PEOPLE:
            condition = {
                "UserInfoSearchCond": {
                    "searchID": "anju",
                    "searchResultPosition": len(found),
                    "maxResults": PAGE,
                }
            }
            answer = await self._send(
                "POST", "/ISAPI/AccessControl/UserInfo/Search?format=json", json=condition
            )
            page = answer.get("UserInfoSearch", {})
            rows = page.get("UserInfo", [])
            for row in rows:
                valid = row.get("Valid", {})
                found[str(row.get("employeeNo"))] = {
                    name: str(valid.get(name)) for name in ("beginTime", "endTime")
                }
            if page.get("responseStatusStrg") != "MORE" or not rows:
                break
        return found

    async def _send(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, **what)
        except (httpx2.HTTPError, OSError) as error:
            raise TerminalFailed(
                f"{self._client.base_url}: {str(error) or type(error).__name__}"
            ) from None
        if answer.status_code != 200:
            raise TerminalFailed(
                f"{path.split('?')[0]} answers {answer.status_code}: {answer.text[:120]}"
            )
        try:
            found = json.loads(answer.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
