"""The examples of CONTRIBUTING.md work as they stand: applied to a copy of the tree, each passes
the checks that it names.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


class Example(NamedTuple):
    """One example: its heading, its blocks of (language, text), in order."""

    title: str
    blocks: list[tuple[str, str]]

    @property
    def commands(self) -> list[str]:
        """List the commands of the blocks without a language."""
        return [
            line for language, text in self.blocks if not language for line in text.splitlines()
        ]


def read_examples() -> list[Example]:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("## Worked examples")[1]
    sections = re.split(r"^### ", text, flags=re.M)[1:]
    return [Example(section.splitlines()[0], _BLOCK.findall(section)) for section in sections]


EXAMPLES = read_examples()


def copy_tree(target: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def file_of(text: str) -> str:
    """Return the path that the first line of a block names, in the comment of its language."""
    return re.sub(r"^(#|--|<!--|\{#) | (-->|#\})$", "", text.partition("\n")[0])


def apply_block(target: Path, language: str, text: str) -> None:
    """Write a new file, or change one."""
    name, body = file_of(text), text.partition("\n")[2]
    path = target / name
    if language != "diff":
        assert not path.exists(), f"{name} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, "utf-8")
        return
    content = path.read_text("utf-8")
    for hunk in re.split(r"^@@.*\n", body, flags=re.M):
        lines = [line or " " for line in hunk.strip("\n").splitlines()]
        before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
        after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
        assert content.count(before) == 1, f"{name}: these lines are not there once:\n{before}"
        content = content.replace(before, after)
    path.write_text(content, "utf-8")


def run(target: Path, command: str) -> None:
    """Run a command of an example, with this interpreter's tools and the copied tree."""
    words = shlex.split(command.replace(".venv/bin/python -m ", "").replace(".venv/bin/", ""))
    environment = {**os.environ, "PYTHONPATH": str(target)}
    start = [sys.executable, "-m", *words]
    if words[0] == "lint-imports":
        start = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(
        start, cwd=target, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy remembers from one example to the next."""
    return tmp_path_factory.mktemp("types")


def test_there_are_examples_with_files_and_commands() -> None:
    assert len(EXAMPLES) >= 3
    for example in EXAMPLES:
        assert example.commands and any(language for language, _ in example.blocks), example.title


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_the_blocks_of_an_example_fit_the_tree(example: Example, tmp_path: Path) -> None:
    """A change of the tree that an example rests on is seen within seconds."""
    for language, text in example.blocks:
        if language == "diff":
            (tmp_path / file_of(text)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file_of(text), tmp_path / file_of(text))
        elif language:
            assert not (ROOT / file_of(text)).exists(), f"{file_of(text)} is there already"
    for language, text in example.blocks:
        if language:
            apply_block(tmp_path, language, text)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_example(example: Example, tmp_path: Path, types: Path) -> None:
    copy_tree(tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for language, text in example.blocks:
        if language:
            apply_block(tmp_path, language, text)
    for command in example.commands:
        run(tmp_path, command)
    for command in ("ruff check .", "ruff format --check .", "lint-imports"):
        run(tmp_path, command)
    run(tmp_path, f"mypy --cache-dir {types}")
