"""The ways out, one file each. `CHANNELS` is the table: a new way is a file and a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from notices.channels import apprise, bots, email, push, template, webhook
from notices.channels.contract import NoticeChannel

#: From the kind of a channel in a site's file to what carries its messages.
CHANNELS: dict[str, Callable[[Any], NoticeChannel]] = {
    "email": email.EmailChannel,
    "wecom": bots.WeCom,
    "dingtalk": bots.DingTalk,
    "feishu": bots.Feishu,
    "sms": template.TemplateChannel,
    "voice": template.TemplateChannel,
    "webhook": webhook.WebhookChannel,
    "push": push.PushChannel,
    "apprise": apprise.AppriseChannel,
}
