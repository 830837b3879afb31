"""No secret stands in the repository: keys, tokens and passwords of the kinds that scanners know,
and our own.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

from api.users import new_key
from privacy.person_vault import is_valid_id_number
from tests.conftest import ROOT

#: Detectors of known shapes. Those that go by entropy alone take every hash of a lock for a secret.
PLUGINS = [
    "ArtifactoryDetector",
    "AWSKeyDetector",
    "AzureStorageKeyDetector",
    "BasicAuthDetector",
    "CloudantDetector",
    "DiscordBotTokenDetector",
    "GitHubTokenDetector",
    "GitLabTokenDetector",
    "IbmCloudIamDetector",
    "JwtTokenDetector",
    "MailchimpDetector",
    "NpmDetector",
    "OpenAIDetector",
    "PrivateKeyDetector",
    "PypiTokenDetector",
    "SendGridDetector",
    "SlackDetector",
    "SoftlayerDetector",
    "SquareOAuthDetector",
    "StripeDetector",
    "TelegramBotTokenDetector",
    "TwilioKeyDetector",
]
OURS = re.compile(r"\banju_[0-9a-f]{72}\b")
#: Citizen numbers stand in tests under area codes that are nobody's (99…), or with a wrong check
#: digit.
NUMBER = re.compile(r"(?<!\d)([1-8]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])[0-3]\d{4}[\dX])(?!\d)")


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    return [
        ROOT / name
        for name in names
        if name and not name.endswith((".png", ".ico", ".wav", ".mp3"))
    ]


def found(paths: list[Path]) -> list[str]:
    secrets = SecretsCollection()
    with transient_settings({"plugins_used": [{"name": name} for name in PLUGINS]}):
        for path in paths:
            secrets.scan_file(str(path))
    return [f"{Path(name).name}:{one.line_number}: {one.type}" for name, one in secrets]


def test_the_repository_holds_none() -> None:
    assert found(tracked()) == []
    for path in tracked():
        text = path.read_text("utf-8", "ignore")
        assert not OURS.search(text), path.name
        real = [number for number in NUMBER.findall(text) if is_valid_id_number(number)]
        assert not real, f"{path.name}: {len(real)} numbers that could be somebody's"


@pytest.mark.parametrize(
    "planted",
    [
        "-----BEGIN " + "EC PRIVATE KEY-----\n",
        "gh" + "p_" + "a1B2" * 9,
        "postgresql://anju:" + "hunter2hunter2@db.example/x",
        "AKIA" + "IOSFODNN7EXAMPL1",
    ],
)
def test_a_planted_one_is_found(tmp_path: Path, planted: str) -> None:
    path = tmp_path / "x.py"
    path.write_text(f"key = '{planted}'\n", "utf-8")
    assert found([path])
    assert OURS.search(new_key())
