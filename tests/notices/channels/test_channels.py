"""Every way out against a receiver of our own.

Its signature, its limits, its way to say no, and addresses that are refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import smtplib
import socket
import socketserver
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from notices import rules
from notices.channels import CHANNELS, apprise, bots, email, http, push, template, webhook
from notices.channels.contract import AWAY, DeliveryFailed, NoticeMessage, clip
from tests.notices.conftest import Receiver

AT = datetime(2026, 3, 4, 4, 0, tzinfo=UTC)
MESSAGE = NoticeMessage(
    id="msg_1",
    recipient="13800000000",
    subject="烟雾 · es",
    body="3栋\n去看",
    sent_at=AT,
    urgent=True,
)


def bot(kind: str, receiver: Receiver, **values: Any) -> rules.BotSettings:
    return rules.BotSettings.model_validate(
        {
            "kind": kind,
            "role": "guard",
            "key": "the-key",
            "url": receiver.url,
            "allow_private": True,
            **values,
        }
    )


def kinds_of_the_union() -> set[str]:
    """List the kinds that a site's file may name: the literals of each settings class."""
    union, _ = get_args(rules.Channel)
    return {
        kind
        for settings in get_args(union)
        for kind in get_args(settings.model_fields["kind"].annotation)
    }


def test_every_kind_of_a_channel_has_its_carrier() -> None:
    kinds = kinds_of_the_union()
    assert len(kinds) >= 9
    missing = kinds - set(CHANNELS)
    unknown = set(CHANNELS) - kinds
    assert not missing, f"add {missing} to CHANNELS in notices/channels/__init__.py"
    assert not unknown, f"add {unknown} to the union Channel in notices/rules.py"


def test_wecom_posts_markdown_with_its_key(receiver: Receiver) -> None:
    bots.WeCom(bot("wecom", receiver)).send(MESSAGE)
    path, _, body = receiver.got[0]
    assert parse_qs(urlsplit(path).query) == {"key": ["the-key"]}
    assert json.loads(body) == {
        "msgtype": "markdown",
        "markdown": {"content": "**烟雾 · es**\n3栋\n去看"},
    }
    receiver.answer = lambda _n: (200, b'{"errcode": 45009, "errmsg": "api freq out of limit"}')
    with pytest.raises(DeliveryFailed, match="45009") as failed:
        bots.WeCom(bot("wecom", receiver)).send(MESSAGE)
    assert failed.value.hold == timedelta(minutes=1)


def test_dingtalk_signs_and_is_left_alone_after_its_limit(receiver: Receiver) -> None:
    bots.DingTalk(bot("dingtalk", receiver, secret="SECx")).send(MESSAGE)
    path, _, body = receiver.got[0]
    query = {k: v[0] for k, v in parse_qs(urlsplit(path).query).items()}
    stamp = str(int(AT.timestamp() * 1000))
    expected = base64.b64encode(
        hmac.new(b"SECx", f"{stamp}\nSECx".encode(), hashlib.sha256).digest()
    ).decode()
    assert query == {"access_token": "the-key", "timestamp": stamp, "sign": expected}
    assert json.loads(body)["at"] == {"isAtAll": True}
    receiver.answer = lambda _n: (200, b'{"errcode": 130101, "errmsg": "send too fast"}')
    with pytest.raises(DeliveryFailed) as failed:
        bots.DingTalk(bot("dingtalk", receiver)).send(MESSAGE)
    assert failed.value.hold == timedelta(minutes=10)


def test_feishu_signs_in_its_own_way(receiver: Receiver) -> None:
    bots.Feishu(bot("feishu", receiver, secret="s")).send(MESSAGE)
    path, _, body = receiver.got[0]
    stamp = str(int(AT.timestamp()))
    expected = base64.b64encode(
        hmac.new(f"{stamp}\ns".encode(), b"", hashlib.sha256).digest()
    ).decode()
    said = json.loads(body)
    assert path.endswith("/the-key") and (said["timestamp"], said["sign"]) == (stamp, expected)
    receiver.answer = lambda _n: (200, b'{"code": 19021, "msg": "sign match fail"}')
    with pytest.raises(DeliveryFailed, match="19021") as failed:
        bots.Feishu(bot("feishu", receiver)).send(MESSAGE)
    assert failed.value.hold is None
    receiver.answer = lambda _n: (200, b"<html>")
    with pytest.raises(DeliveryFailed, match="not understood"):
        bots.Feishu(bot("feishu", receiver)).send(MESSAGE)


def test_a_template_is_filled_and_its_answer_believed_only_when_it_says_ok(
    receiver: Receiver,
) -> None:
    table = rules.TemplateSettings.model_validate(
        {
            "kind": "sms",
            "role": "guard",
            "url": receiver.url,
            "allow_private": True,
            "to": ["1"],
            "ok": {"Code": "OK"},
            "headers": {"X-Key": "k"},
            "body": {
                "PhoneNumbers": "{phone}",
                "Param": {"t": "{title}|{text}", "n": 3, "odd": "{braces}"},
            },
        }
    )
    template.TemplateChannel(table).send(MESSAGE)
    _, headers, body = receiver.got[0]
    assert json.loads(body) == {
        "PhoneNumbers": "13800000000",
        "Param": {"t": "烟雾 · es|3栋", "n": 3, "odd": "{braces}"},
    }
    assert headers["x-key"] == "k"
    template.TemplateChannel(
        table.model_copy(update={"form": True, "body": {"to": "{phone}"}})
    ).send(MESSAGE)
    assert receiver.got[1][2] == b"to=13800000000"
    receiver.answer = lambda _n: (200, b'{"Code": "isv.BUSINESS_LIMIT_CONTROL"}')
    with pytest.raises(DeliveryFailed, match="LIMIT"):
        template.TemplateChannel(table).send(MESSAGE)
    assert template.fill(["{title}{text}"], {"title": "{text}", "text": "x"}) == ["{text}x"], (
        "a word is no template"
    )


def hook(url: str, **values: Any) -> webhook.WebhookChannel:
    secret = "whsec_" + base64.b64encode(b"0" * 32).decode()
    return webhook.WebhookChannel(
        rules.WebhookSettings.model_validate(
            {"kind": "webhook", "role": "compliance", "url": url, "secret": secret, **values}
        )
    )


@pytest.mark.parametrize(
    ("status", "hold", "gone"),
    [
        (400, None, False),
        (410, None, True),
        (429, AWAY, False),
        (500, AWAY, False),
        (302, None, False),
    ],
)
def test_what_a_receiver_answers_decides_what_is_done(
    receiver: Receiver, status: int, hold: timedelta | None, gone: bool
) -> None:
    receiver.answer = lambda _n: (status, b"no")
    with pytest.raises(DeliveryFailed) as failed:
        hook(receiver.url, allow_private=True).send(MESSAGE)
    assert (failed.value.hold, failed.value.gone) == (hold, gone) and len(receiver.got) == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.8",
        "192.168.1.1",
        "169.254.169.254",
        "[::1]",
        "[fd00::1]",
        "0.0.0.0",
        "100.64.0.1",
        "[::ffff:10.0.0.1]",
    ],
)
def test_addresses_of_this_network_are_refused(host: str) -> None:
    with pytest.raises(DeliveryFailed, match="private|not known") as failed:
        hook(f"https://{host}/in").send(MESSAGE)
    assert failed.value.gone or failed.value.hold is not None


def test_a_name_that_changes_its_mind_leads_nowhere(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was looked at is the one that is connected to.

    What the name says a moment later does not count.
    """
    port = urlsplit(receiver.url).port
    answers = iter([[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.113.7", port))]])
    asked = []

    def changing(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        if host != "fickle.example":
            return real(host, *rest, **more)
        return next(answers, [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))])

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", changing)
    monkeypatch.setattr(http, "TIMEOUT_S", 0.3)
    with pytest.raises(DeliveryFailed):
        hook(f"https://fickle.example:{port}/in").send(MESSAGE)
    assert receiver.got == [] and asked.count("fickle.example") == 1
    with pytest.raises(DeliveryFailed, match="https"):
        hook(f"http://fickle.example:{port}/in").send(MESSAGE)


def test_a_webhook_with_a_weak_secret_is_not_used(receiver: Receiver) -> None:
    table = {"kind": "webhook", "role": "compliance", "url": receiver.url, "allow_private": True}
    for secret in ("whsec_c2hvcnQ=", "not base64 !"):
        with pytest.raises(DeliveryFailed, match="24 to 64 bytes"):
            webhook.WebhookChannel(
                rules.WebhookSettings.model_validate({**table, "secret": secret})
            ).send(MESSAGE)
    assert receiver.got == []


class _MailServer(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a test needs; the server's `refuse` answers MAIL."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                text = b""
                while (row := self.rfile.readline()) != b".\r\n":
                    text += row
                self.server.mails.append(text)  # type: ignore[attr-defined]
                self.wfile.write(b"250 kept\r\n")
            elif word == b"MAIL" and self.server.refuse:  # type: ignore[attr-defined]
                self.wfile.write(self.server.refuse)  # type: ignore[attr-defined]
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


def test_a_mail_has_one_id_and_a_server_that_is_busy_is_tried_again() -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _MailServer) as server:
        server.daemon_threads = True
        server.mails, server.refuse = [], b""  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        table = rules.EmailSettings.model_validate(
            {
                "kind": "email",
                "role": "guard",
                "host": "127.0.0.1",
                "port": server.server_address[1],
                "security": "none",
                "sender": "anju@example.org",
                "to": ["a@example.org", "b@example.org"],
            }
        )
        way = email.EmailChannel(table)
        way.send(MESSAGE)
        way.send(MESSAGE)
        first, second = (mail.replace(b"\r\n", b"\n") for mail in server.mails)  # type: ignore[attr-defined]
        assert (
            first == second
            and b"Message-ID: <msg_1@example.org>" in first
            and b"X-Priority: 1" in first
        )
        for answer, hold in ((b"451 later\r\n", AWAY), (b"550 never\r\n", None)):
            server.refuse = answer  # type: ignore[attr-defined]
            with pytest.raises(DeliveryFailed) as failed:
                way.send(MESSAGE)
            assert failed.value.hold == hold
        server.shutdown()
    with pytest.raises(DeliveryFailed) as failed:
        way.send(MESSAGE)
    assert failed.value.hold == AWAY
    header = email.EmailChannel(table).mail(
        NoticeMessage(id="m", recipient="", subject="a\r\nBcc: x@y.z", body="", sent_at=AT)
    )
    assert header["Bcc"] is None and smtplib is not None


def test_web_push_is_read_by_that_browser_only(receiver: Receiver) -> None:
    browser = ec.generate_private_key(ec.SECP256R1())
    point = browser.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    auth = b"0123456789abcdef"
    text = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()  # noqa: E731
    private = text(b"\x01" * 32)
    table = rules.PushSettings.model_validate(
        {
            "kind": "push",
            "role": "guard",
            "private_key": private,
            "contact": "mailto:a@example.org",
            "allow_private": True,
        }
    )
    receiver.answer = lambda _n: (201, b"")
    subscription = json.dumps(
        {"endpoint": receiver.url, "keys": {"p256dh": text(point), "auth": text(auth)}}
    )
    push.PushChannel(table).send(
        NoticeMessage(
            id="m", recipient=subscription, subject="烟雾", body="去看", sent_at=AT, urgent=True
        )
    )
    _, headers, body = receiver.got[0]
    clear = http_ece.decrypt(body, private_key=browser, auth_secret=auth, version="aes128gcm")
    assert (
        json.loads(clear) == {"title": "烟雾", "body": "去看", "tag": "m"}
        and headers["urgency"] == "high"
    )
    assert f"k={push.public_key(private)}" in headers["authorization"]
    receiver.answer = lambda _n: (410, b"")
    with pytest.raises(DeliveryFailed, match="410") as failed:
        push.PushChannel(table).send(
            NoticeMessage(id="m", recipient=subscription, subject="x", body="y", sent_at=AT)
        )
    assert failed.value.recipient_gone and not failed.value.gone, (
        "one browser that is gone closes the way for nobody else"
    )


@pytest.mark.filterwarnings("ignore:'imghdr'")
def test_apprise_carries_what_it_knows(receiver: Receiver) -> None:
    url = receiver.url.replace("http://", "json://")
    apprise.AppriseChannel(
        rules.AppriseSettings.model_validate({"kind": "apprise", "role": "guard", "url": url})
    ).send(MESSAGE)
    assert json.loads(receiver.got[0][2])["title"] == "烟雾 · es"
    with pytest.raises(DeliveryFailed, match="does not know"):
        apprise.AppriseChannel(
            rules.AppriseSettings.model_validate(
                {"kind": "apprise", "role": "guard", "url": "nosuch://x"}
            )
        ).send(MESSAGE)


def test_a_text_is_cut_at_a_character() -> None:
    assert (
        clip("烟雾", 6) == "烟雾"
        and clip("烟雾报警", 9) == "烟雾…"
        and len(clip("烟" * 50, 40).encode()) <= 40
    )
