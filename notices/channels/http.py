"""One request to an address outside, which is no address of this network unless a site says so.

The name is resolved once, and every address that it has must be a public one. The connection is
made to the address that was checked, so a name that resolves to another one a moment later (DNS
rebinding) leads nowhere. Redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

import httpx2

from notices.channels.contract import AWAY, DeliveryFailed

TIMEOUT_S = 10.0
#: Bytes of an answer that are read; no receiver has more to report.
MAX_ANSWER = 64 * 1024


def resolve(url: str, *, allow_private: bool) -> tuple[str, str]:
    """Return a URL's host and the address to connect to.

    Raises: DeliveryFailed where it is no https address (http is for private ones), is not known, or
        belongs to a private network.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise DeliveryFailed(
            f"{parts.scheme or 'no scheme'}: the address must begin with https://", gone=True
        )
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise DeliveryFailed(f"{host}: not known: {error.strerror}", hold=AWAY) from None
    addresses = [ipaddress.ip_address(entry[4][0].partition("%")[0]) for entry in found]  # type: ignore[union-attr]
    private = [address for address in addresses if not address.is_global or address.is_multicast]
    if private and not allow_private:
        raise DeliveryFailed(
            f"{host} is {private[0]}, an address of a private network; "
            "set allow_private if that is meant",
            gone=True,
        )
    return host, str(addresses[0])


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool
) -> httpx2.Response:
    """Send a body and return a good answer.

    Raises: DeliveryFailed.
    """
    host, address = resolve(url, allow_private=allow_private)
    target = httpx2.URL(url)
    pinned = target.copy_with(host=address)
    authority = host if target.port is None else f"{host}:{target.port}"
    try:
        with (
            httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
            client.stream(
                "POST",
                pinned,
                content=body,
                headers={**headers, "Host": authority},
                extensions={"sni_hostname": host},
            ) as stream,
        ):
            answer = _read_answer(stream, host)
    except (httpx2.HTTPError, OSError) as error:
        raise DeliveryFailed(
            f"{host}: {type(error).__name__}: {str(error)[:120]}", hold=AWAY
        ) from None
    if answer.status_code // 100 == 2:
        return answer
    why = f"{host} answered {answer.status_code}: {answer.text[:120]!r}"
    if answer.status_code == 410:
        raise DeliveryFailed(why, gone=True)
    if answer.status_code in (408, 425, 429) or answer.status_code >= 500:
        raise DeliveryFailed(why, hold=_retry_after(answer))
    raise DeliveryFailed(why)


def _read_answer(stream: httpx2.Response, host: str) -> httpx2.Response:
    """Read an answer whole.

    Raises: DeliveryFailed where it is longer than MAX_ANSWER.
    """
    content = b""
    for chunk in stream.iter_bytes(MAX_ANSWER):
        content += chunk
        if len(content) > MAX_ANSWER:
            raise DeliveryFailed(f"{host} answered more than {MAX_ANSWER} bytes", hold=AWAY)
    headers = stream.headers.copy()
    # The content is decoded already.
    headers.pop("content-encoding", None)
    return httpx2.Response(stream.status_code, headers=headers, content=content)


def _retry_after(answer: httpx2.Response) -> timedelta:
    """Return for how long the receiver asks to be left alone, an hour at most."""
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdecimal():
        return timedelta(seconds=min(int(text), 3600))
    return AWAY
