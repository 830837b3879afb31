"""A site's file.

What is wrong is named with its place, secrets come from outside, a role is told only what it may
see.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from notices.rules import BadNotices, WebhookSettings, load_notices
from tests.conftest import ROOT

GOOD = """
[channels.bureau]
kind = "webhook"
role = "compliance"
url = "https://example.org/in"
secret = "env:HOOK"
[[rules]]
name = "all"
channel = "bureau"
classes = ["life_safety", "compliance"]
"""


def test_a_good_file_is_read_with_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "notices.toml"
    path.write_text(GOOD, "utf-8")
    channel = load_notices(path, {"HOOK": "whsec_abc"}).channels["bureau"]
    assert isinstance(channel, WebhookSettings) and channel.secret == "whsec_abc"
    assert load_notices(None).rules == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("webhook", "pigeon"), "pigeon"),
        (('https://example.org/in"', 'https://example.org/in"\nspeed = 3'), "speed"),
        (('channel = "bureau"', 'channel = "nobody"'), "nobody.*bureau"),
        (('role = "compliance"', 'role = "guard"'), "guard.*does not see.*compliance"),
        (("env:HOOK", "env:NO_SUCH"), "NO_SUCH; set it"),
        (("env:HOOK", "file:/no/such/file"), "cannot be read"),
        (('name = "all"', 'name = "all"\nrepeat_s = 5'), "60 or more"),
        (('name = "all"', 'name = "all"\nafter_s = -1'), "after_s"),
        (("[[rules]]", "[rules"), "not the TOML"),
        (("[[rules]]", "[[rules]]\nname = 'all'\nchannel = 'bureau'\n[[rules]]"), "stands twice"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    path = tmp_path / "notices.toml"
    path.write_text(GOOD.replace(*change), "utf-8")
    with pytest.raises(BadNotices, match=named):
        load_notices(path, {"HOOK": "x"})


def test_the_file_that_ships_and_the_one_in_the_documents_can_be_read(tmp_path: Path) -> None:
    assert load_notices(ROOT / "deploy" / "notices" / "notices.toml").rules == []
    shown = (ROOT / "docs" / "notices.md").read_text("utf-8").split("```toml\n")[1].split("```")[0]
    for name in ("voice_key", "bureau_whsec"):
        (tmp_path / name).write_text("whsec_x", "utf-8")
    path = tmp_path / "notices.toml"
    path.write_text(shown.replace("file:/run/secrets", f"file:{tmp_path}"), "utf-8")
    notices = load_notices(path, {"ANJU_NOTICE_GUARDS_KEY": "k"})
    assert [rule.channel for rule in notices.rules] == ["guards", "duty-phone", "mail", "bureau"]
