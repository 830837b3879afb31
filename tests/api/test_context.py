"""The request context: rate limits that say how long to wait, and when an audit entry is due."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.requests import Request

from api.context import AuditFacts, RequestAudit, client_address, limit_rate
from api.problems import Problem
from store.live.rate_limits import Rates


def request_from(client: tuple[str, int] | None, *, slack: int = 1) -> Request:
    app = FastAPI()
    app.state.slack = slack
    app.state.rates = Rates(None, clock=lambda: 1000.0)
    return Request({"type": "http", "app": app, "client": client, "headers": []})


def test_the_address_of_a_request_is_its_clients() -> None:
    assert client_address(request_from(("10.0.0.7", 40_000))) == "10.0.0.7"
    assert client_address(request_from(None)) == "?"


@pytest.mark.parametrize("slack", [1, 3])
def test_a_limit_is_refused_once_it_is_used_up(slack: int) -> None:
    request = request_from(None, slack=slack)
    for _ in range(2 * slack):
        limit_rate(request, "search:1", 2)
    limit_rate(request, "search:2", 2)
    with pytest.raises(Problem) as refusal:
        limit_rate(request, "search:1", 2)
    assert (refusal.value.status_code, refusal.value.code) == (429, "too_many")


def test_a_read_is_entered_only_if_it_reads_personal_data() -> None:
    entry = RequestAudit(is_due=False)
    entry.describe(AuditFacts(subject="unit:es/u-1"))
    assert not entry.is_due
    entry.describe_read(AuditFacts(subject="unit:es/u-1"))
    assert entry.is_due and entry.facts.subject == "unit:es/u-1"


def test_a_change_is_entered_unless_the_route_has_written_its_own_entry() -> None:
    entry = RequestAudit(is_due=True)
    entry.describe(AuditFacts(reference="letter 12"))
    assert entry.is_due and entry.facts.reference == "letter 12"
    entry.skip()
    assert not entry.is_due
