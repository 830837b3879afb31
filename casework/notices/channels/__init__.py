"""The ways out, one file each. `CHANNELS` is the table: a new way is a file and a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from casework.notices.channels import apprise, bots, email, push, template, webhook
from casework.notices.channels.contract import Carrier

#: From the kind of a channel in a site's file to what carries its messages.
CHANNELS: dict[str, Callable[[Any], Carrier]] = {
    "email": email.Smtp,
    "wecom": bots.WeCom,
    "dingtalk": bots.DingTalk,
    "feishu": bots.Feishu,
    "sms": template.Template,
    "voice": template.Template,
    "webhook": webhook.Webhook,
    "push": push.Push,
    "apprise": apprise.Apprise,
}
