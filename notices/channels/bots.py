r"""Bots of a group chat: WeCom, DingTalk and Feishu, each with its own signature and limits.

WeCom (developer documents, path 99398): 20 messages a minute, errcode 45009 over the limit,
markdown up to 4,096 bytes. DingTalk ("custom robot"): 20 a minute, then ten minutes of silence,
errcode 130101; the signature is HmacSHA256 over "timestamp\nsecret". Feishu ("custom bot"): 100 a
minute and 5 a second, code 9499 or 11232 over the limit; the key is "timestamp\nsecret", the text
is empty.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from notices import rules
from notices.channels import http
from notices.channels.contract import AWAY, DeliveryFailed, NoticeMessage, clip


class _Bot:
    """What the three have in common: a POST of JSON, and an answer that says 200 and means no."""

    code = "errcode"
    limits: Mapping[int, timedelta] = MappingProxyType({})
    home = ""

    def __init__(self, table: rules.BotSettings) -> None:
        self._table = table

    def send(self, message: NoticeMessage) -> None:
        """Post a message to the group."""
        url, body = self._request(self._table.url or self.home, message)
        raw = json.dumps(body, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json; charset=utf-8"}
        answer = http.post(url, raw, headers, allow_private=self._table.allow_private)
        try:
            fields = answer.json()
            code = int(fields.get(self.code, 0))
        except (ValueError, AttributeError, TypeError):
            raise DeliveryFailed(
                f"the bot's answer is not understood: {answer.text[:80]!r}", hold=AWAY
            ) from None
        if code != 0:
            reason = str(fields.get("errmsg") or fields.get("msg"))[:120]
            why = f"the bot refused ({code}): {reason}"
            raise DeliveryFailed(why, hold=self.limits.get(code))

    def _request(self, url: str, message: NoticeMessage) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError


class WeCom(_Bot):
    """企业微信 group bot."""

    home = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"
    limits = MappingProxyType({45009: timedelta(minutes=1), -1: AWAY})

    def _request(self, url: str, message: NoticeMessage) -> tuple[str, dict[str, Any]]:
        text = clip(f"**{message.subject}**\n{message.body}", 4_096)
        return f"{url}?{urlencode({'key': self._table.key})}", {
            "msgtype": "markdown",
            "markdown": {"content": text},
        }


class DingTalk(_Bot):
    """钉钉 custom robot."""

    home = "https://oapi.dingtalk.com/robot/send"
    limits = MappingProxyType(
        {130101: timedelta(minutes=10), 410100: timedelta(minutes=10), -1: AWAY}
    )

    def _request(self, url: str, message: NoticeMessage) -> tuple[str, dict[str, Any]]:
        query = {"access_token": self._table.key}
        if self._table.secret:
            stamp = str(int(message.sent_at.timestamp() * 1000))
            digest = hmac.new(
                self._table.secret.encode(),
                f"{stamp}\n{self._table.secret}".encode(),
                hashlib.sha256,
            ).digest()
            query |= {"timestamp": stamp, "sign": base64.b64encode(digest).decode()}
        text = clip(f"### {message.subject}\n{message.body}".replace("\n", "\n\n"), 18_000)
        markdown = {"title": clip(message.subject, 100), "text": text}
        at = {"isAtAll": message.urgent}
        return f"{url}?{urlencode(query)}", {"msgtype": "markdown", "markdown": markdown, "at": at}


class Feishu(_Bot):
    """飞书 custom bot."""

    code = "code"
    home = "https://open.feishu.cn/open-apis/bot/v2/hook"
    limits = MappingProxyType({9499: timedelta(minutes=1), 11232: timedelta(minutes=1)})

    def _request(self, url: str, message: NoticeMessage) -> tuple[str, dict[str, Any]]:
        content = {"text": clip(f"{message.subject}\n{message.body}", 18_000)}
        body: dict[str, Any] = {"msg_type": "text", "content": content}
        if self._table.secret:
            stamp = str(int(message.sent_at.timestamp()))
            digest = hmac.new(
                f"{stamp}\n{self._table.secret}".encode(), b"", hashlib.sha256
            ).digest()
            body |= {"timestamp": stamp, "sign": base64.b64encode(digest).decode()}
        return f"{url}/{self._table.key}", body
