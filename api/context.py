"""What every route works with: the principal, a database connection, the site's settings, and the
audit entry of the request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.concurrency import contextmanager_in_threadpool

from analytics.policy import Policy
from api.hub import Hub
from api.problems import Problem
from domain.access import Principal
from privacy.keyring import BadKeyring, Keyring
from privacy.purposes import PeoplePolicy
from store.access import audit
from store.access.audit import AuditEntry
from store.database.connection import Connection

Language = Annotated[
    str,
    Query(pattern="^(zh|en)$", description="language of titles and sentences", examples=["zh"]),
]


async def database(request: Request) -> AsyncIterator[Connection]:
    """Lend a connection from the pool for one request.

    A request waits on the event loop and not in a thread. If threads waited for connections, a
    request that has one would find no thread to go on in, and a burst would stop everything until
    the pool's timeout.
    """
    async with (
        request.app.state.room,
        contextmanager_in_threadpool(request.app.state.pool.connection()) as connection,
    ):
        yield connection


# "function": the connection goes back before the answer is sent, so that an open stream holds none.
Db = Annotated[Connection, Depends(database, scope="function")]


def client_address(request: Request) -> str:
    """Return the network address that the request comes from; "?" where it is unknown."""
    return request.client.host if request.client else "?"


def limit_rate(request: Request, name: str, limit: int, *, period_s: int = 60) -> None:
    """Count one request towards a limit of `limit` requests in `period_s` seconds.

    Raises: Problem 429 beyond the limit.
    """
    limit *= request.app.state.slack
    wait_s = request.app.state.rates.take(name, limit, period_s)
    if wait_s:
        raise Problem(
            429,
            "too_many",
            f"more than {limit} in {period_s} s; try again in {wait_s} s",
            retry_after_s=wait_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFacts:
    """What an audit entry says beside actor, action and path.

    `subject` names whose data it is about, by code.
    """

    subject: str | None = None
    purpose: str | None = None
    reference: str | None = None
    estate_id: int | None = None
    detail: Mapping[str, Any] | None = None


@dataclass(slots=True, kw_only=True)
class RequestAudit:
    """The audit entry of one request, which is written when the route has ended.

    A request that changes something is always entered. A request that only reads is entered if it
    reads personal data, which the route says with `describe_read`.
    """

    is_due: bool
    facts: AuditFacts = field(default_factory=AuditFacts)

    def describe(self, facts: AuditFacts) -> None:
        """Set what the entry says."""
        self.facts = facts

    def describe_read(self, facts: AuditFacts) -> None:
        """Have a request entered that reads personal data, and set what the entry says."""
        self.facts = facts
        self.is_due = True

    def skip(self) -> None:
        """Write no entry: the route has written its own, or nothing was done."""
        self.is_due = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """An authorized request.

    `connection` is in the request's transaction, which shows only what the principal may see. It
    goes back to the pool before the answer is sent, so a stream needs a connection of its own.
    """

    request: Request
    principal: Principal
    connection: Connection
    audit: RequestAudit

    @property
    def policy(self) -> Policy:
        """The policy that findings and alerts are judged and worded by."""
        policy: Policy = self.request.app.state.policy
        return policy

    @property
    def people_policy(self) -> PeoplePolicy:
        """The purposes and limits of looking at personal data."""
        policy: PeoplePolicy = self.request.app.state.people
        return policy

    @property
    def hub(self) -> Hub:
        """The record of changes that all streams read from."""
        hub: Hub = self.request.app.state.hub
        return hub

    @property
    def source(self) -> str:
        """The network address that the request comes from."""
        return client_address(self.request)

    @property
    def now(self) -> datetime:
        """The present instant, in UTC."""
        return datetime.now(UTC)

    def keyring(self) -> Keyring:
        """Return the site's keys.

        Raises: Problem 503 where the key file is missing or cannot be used.
        """
        key_file = self.request.app.state.keys
        if key_file is None:
            raise Problem(
                503,
                "keys",
                "this site has no key file: set ANJU_KEYS_FILE, made by `anju keys make`",
            )
        try:
            keyring: Keyring = key_file.ring()
        except BadKeyring as error:
            raise Problem(503, "keys", str(error)) from None
        return keyring

    def limit_rate(self, name: str, limit: int, *, period_s: int = 60) -> None:
        """Count one request of this principal towards a limit of `limit` in `period_s` seconds.

        Raises: Problem 429 beyond the limit.
        """
        limit_rate(self.request, f"{name}:{self.principal.user_id}", limit, period_s=period_s)

    def write_audit_entry(self) -> None:
        """Write the audit entry of this request into its transaction."""
        route = self.request.scope.get("route")
        principal = self.principal
        facts = self.audit.facts
        detail = facts.detail
        if detail is None and principal.key_id is not None:
            detail = {"key": principal.key_id}
        audit.append(
            self.connection,
            AuditEntry(
                actor=principal.name,
                role=str(principal.role),
                action=getattr(route, "operation_id", None) or self.request.method.lower(),
                object=self.request.url.path,
                source=self.source,
                subject=facts.subject,
                purpose=facts.purpose,
                reference=facts.reference,
                detail=None if detail is None else dict(detail),
            ),
            estate_id=facts.estate_id,
        )
