"""One request to an address outside: its answer has a limit, and a receiver's wish is kept."""

from __future__ import annotations

import gzip
from datetime import timedelta

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notices.channels import http
from notices.channels.contract import AWAY, DeliveryFailed
from tests.notices.conftest import Receiver


def test_an_answer_is_read_up_to_its_limit(receiver: Receiver) -> None:
    receiver.answer = lambda _n: (200, b"x" * http.MAX_ANSWER)
    answer = http.post(receiver.url, b"{}", {}, allow_private=True)
    assert answer.content == b"x" * http.MAX_ANSWER
    receiver.answer = lambda _n: (200, b"x" * (http.MAX_ANSWER + 1))
    with pytest.raises(DeliveryFailed, match="more than 65536 bytes") as failed:
        http.post(receiver.url, b"{}", {}, allow_private=True)
    assert failed.value.hold == AWAY


def stream(content: bytes) -> httpx2.Response:
    """An answer whose content is compressed."""
    return httpx2.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx2.ByteStream(gzip.compress(content))
    )


def test_the_limit_holds_for_what_a_compressed_answer_becomes() -> None:
    assert http._read_answer(stream(b"fine"), "r.example").text == "fine"
    with pytest.raises(DeliveryFailed, match="r.example answered more"):
        http._read_answer(stream(b"x" * (http.MAX_ANSWER + 1)), "r.example")


@given(st.integers(min_value=0, max_value=10**9))
def test_a_receiver_is_left_alone_for_as_long_as_it_asks_an_hour_at_most(seconds: int) -> None:
    answer = httpx2.Response(429, headers={"retry-after": str(seconds)})
    assert http._retry_after(answer) == min(timedelta(seconds=seconds), timedelta(hours=1))


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_wish_that_is_no_number_of_seconds_is_not_read(text: str) -> None:
    assert http._retry_after(httpx2.Response(429, headers={"retry-after": text})) == AWAY
