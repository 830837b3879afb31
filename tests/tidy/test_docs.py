"""The documents tell the truth about the tree: links, paths, targets, commands and settings."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from anju.cli.app import app
from anju.settings import Settings
from tests.conftest import ROOT

MAX_README_WORDS = 1_400
#: What is written there is of its time and names things that have gone.
HISTORY = {"CHANGELOG.md"}


def tracked(*patterns: str) -> list[Path]:
    """List the files that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


DOCUMENTS = tracked("*.md")
LIVING = [path for path in DOCUMENTS if path.name not in HISTORY]

_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.M | re.S)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    return _FENCE.sub("", path.read_text("utf-8"))


def code_lines(path: Path) -> list[str]:
    """List what a document shows as code: its spans, and the lines of its blocks, joined."""
    blocks = [block.replace("\\\n", " ") for block in _FENCE.findall(path.read_text("utf-8"))]
    return _SPAN.findall(prose(path)) + [line for block in blocks for line in block.splitlines()]


def headings(path: Path) -> list[str]:
    return re.findall(r"^#{1,6} .+$", prose(path), re.M)


def anchor(heading: str) -> str:
    """Make the anchor that a heading gets: lower case, no punctuation, hyphens for blanks."""
    text = re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower())
    return text.replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_and_anchors_resolve(path: Path) -> None:
    for link in _LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, fragment = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_relative_to(ROOT), f"{name(path)}: {link} leaves the repository"
        assert target.exists(), f"{name(path)}: {link} is not there"
        if fragment:
            anchors = {anchor(heading) for heading in headings(target)}
            assert fragment in anchors, f"{name(path)}: {link} is no heading of {name(target)}"


FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0].isalpha())
_PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*")


@pytest.mark.parametrize("path", LIVING, ids=name)
def test_paths_in_documents_exist(path: Path) -> None:
    for span in code_lines(path):
        file = span.split("::")[0]
        if _PATH.fullmatch(file):
            assert (ROOT / file).exists(), f"{name(path)}: `{file}` is not there"


def test_documents_that_files_name_exist() -> None:
    """No comment and no message sends a reader to a document that is not in the repository."""
    for path in tracked("*.py", "*.sql", "*.toml", "*.yml", "*.sh", "*.html", "Makefile"):
        text = path.read_text("utf-8")
        for file in re.findall(r"\bdocs/[\w./-]*\w", text):
            assert (ROOT / file).exists(), f"{name(path)}: {file} is not there"
        assert not re.search(r"\bDESIGN\b.§", text), f"{name(path)}: name docs/design.md"


def test_readme_is_short() -> None:
    words = len((ROOT / "README.md").read_text("utf-8").split())
    assert words <= MAX_README_WORDS, f"README.md has {words} words; move details to docs/"


def test_readmes_say_the_same() -> None:
    """Both languages have the same headings by level, the same commands, and the same links."""
    english, chinese = ROOT / "README.md", ROOT / "README.zh-CN.md"
    levels = [[heading.split()[0] for heading in headings(path)] for path in (english, chinese)]
    assert levels[0] == levels[1]
    blocks = [_FENCE.findall(path.read_text("utf-8")) for path in (english, chinese)]
    assert blocks[0] == blocks[1]
    links = [
        {link.replace(".zh", "") for link in _LINK.findall(prose(path)) if "README" not in link}
        for path in (english, chinese)
    ]
    assert links[0] == links[1]


@pytest.mark.parametrize("path", LIVING, ids=name)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for line in code_lines(path):
        for target in re.findall(r"(?:^|&& |; )make (?:[A-Z]+=\S+ )?([a-z][a-z-]*)", line):
            assert target in targets, f"{name(path)}: `make {target}` is no target"


#: The `anju` command. A group of it has `commands`.
COMMAND = typer.main.get_command(app)


def faults_of(line: str) -> Iterator[str]:
    """Say what of an `anju …` line is no command or no option."""
    for called in re.findall(r"(?:^|[ /])anju ((?:[a-z][a-z-]*)(?: [^|;&#)]*)?)", line):
        command: Any = COMMAND
        words = called.split()
        while words and hasattr(command, "commands"):
            word = words.pop(0)
            found = command.commands.get(word)
            if found is None:
                yield f"`anju {called}`: {word!r} is no command"
                return
            command = found
        options = {option for parameter in command.params for option in parameter.opts}
        options |= {option for parameter in command.params for option in parameter.secondary_opts}
        for word in words:
            option = word.split("=")[0]
            if option.startswith("--") and option not in options:
                yield f"`anju {called}`: {option} is no option"


@pytest.mark.parametrize("path", LIVING, ids=name)
def test_commands_and_options_exist(path: Path) -> None:
    for line in code_lines(path):
        for fault in faults_of(line):
            pytest.fail(f"{name(path)}: {fault}")


def test_the_check_of_commands_finds_faults() -> None:
    assert not list(faults_of("anju gateway run gateway.toml"))
    assert list(faults_of("anju gateway walk"))
    assert list(faults_of(".venv/bin/anju leads --colour red"))


def test_settings_exist() -> None:
    setting = re.compile(r"\bANJU_[A-Z_]*[A-Z]")
    known = {f"ANJU_{field.upper()}" for field in Settings.model_fields}
    for file in (*tracked("*.py"), ROOT / "docker-compose.yml"):
        known |= set(setting.findall(file.read_text("utf-8")))
    for path in LIVING:
        unknown = set(setting.findall(path.read_text("utf-8"))) - known
        assert not unknown, f"{name(path)}: {sorted(unknown)} are no settings"
