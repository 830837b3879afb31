"""Speaking to access terminals (ISAPI over HTTP, digest log-in): open a door, keep the list of who
may pass.

The list is people as opaque tokens with the days on which they may pass. A card, a face or a
fingerprint that is enrolled at the terminal belongs to such a person and dies with them, so no card
number, picture or template ever crosses this line. People that somebody else put into the terminal
are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog

from gateway.config import Config
from gateway.config_tables import ControlTable

log = structlog.get_logger()

TIMEOUT_S = 10.0
PAGE = 30
MAX_PEOPLE = 20_000
#: The last day that a terminal knows, for a person without an end.
LAST_DAY = "2037-12-31"


class TerminalFailed(Exception):
    """The terminal did not do it; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleChange:
    """How many people were put into a terminal, and how many removed."""

    put: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Validity:
    """From when to when a person may pass, as ISAPI writes local times."""

    begin: str
    end: str


def _validity_of(person: Mapping[str, str]) -> _Validity:
    last_day = person.get("to") or LAST_DAY
    return _Validity(begin=f"{person['from']}T00:00:00", end=f"{last_day}T23:59:59")


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

    async def set_people(
        self, people: Sequence[Mapping[str, str]], ours: Collection[str]
    ) -> PeopleChange:
        """Make the terminal's list of our people this one.

        Each of `people` has `person` (a token), the day `from` and perhaps the day `to`; `ours` are
        the tokens that an earlier list put there.

        Raises: TerminalFailed; then the list may be half done, and doing it again completes it.
        """
        existing = await self._list_people()
        put = 0
        for person in people:
            validity = _validity_of(person)
            if existing.get(person["person"]) != validity:
                await self._put_person(person["person"], validity)
                put += 1
        desired = {person["person"] for person in people}
        obsolete = sorted((set(existing) & set(ours)) - desired)
        for start in range(0, len(obsolete), PAGE):
            await self._remove_people(obsolete[start : start + PAGE])
        return PeopleChange(put=put, removed=len(obsolete))

    async def _put_person(self, token: str, validity: _Validity) -> None:
        info = {
            "employeeNo": token,
            "name": token,
            "userType": "normal",
            "doorRight": "1",
            "Valid": {"enable": True, "beginTime": validity.begin, "endTime": validity.end},
            "RightPlan": [{"doorNo": 1, "planTemplateNo": "1"}],
        }
        await self._send(
            "PUT", "/ISAPI/AccessControl/UserInfo/SetUp?format=json", json={"UserInfo": info}
        )

    async def _remove_people(self, tokens: Sequence[str]) -> None:
        numbers = [{"employeeNo": token} for token in tokens]
        body = {"UserInfoDelCond": {"EmployeeNoList": numbers}}
        await self._send("PUT", "/ISAPI/AccessControl/UserInfo/Delete?format=json", json=body)

    async def _list_people(self) -> dict[str, _Validity]:
        """Return the people in the terminal, page by page, by employee number."""
        people: dict[str, _Validity] = {}
        while len(people) < MAX_PEOPLE:
            condition = {
                "searchID": "anju",
                "searchResultPosition": len(people),
                "maxResults": PAGE,
            }
            answer = await self._send(
                "POST",
                "/ISAPI/AccessControl/UserInfo/Search?format=json",
                json={"UserInfoSearchCond": condition},
            )
            page = answer.get("UserInfoSearch", {})
            rows = page.get("UserInfo", [])
            for row in rows:
                valid = row.get("Valid", {})
                people[str(row.get("employeeNo"))] = _Validity(
                    begin=str(valid.get("beginTime")), end=str(valid.get("endTime"))
                )
            if page.get("responseStatusStrg") != "MORE" or not rows:
                break
        return people

    async def _send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """Send a request and return the object of its answer; an empty one where it has none.

        Raises: TerminalFailed.
        """
        try:
            answer = await self._client.request(method, path, **content)
        except (httpx2.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise TerminalFailed(f"{self._client.base_url}: {why}") from None
        if answer.status_code != 200:
            resource = path.split("?")[0]
            why = f"answers {answer.status_code}: {answer.text[:120]}"
            raise TerminalFailed(f"{resource} {why}")
        try:
            body = json.loads(answer.text)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}
