"""One vocabulary: a public class name stands once, and names use the words of the glossary."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.tidy.sources import MODULES, PENDING, Source, name_of

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text("utf-8")
#: Names that an outside contract gives: the wire, a device's own protocol, a library's callback.
GIVEN = {"held_open", "hold_person", "release_hold", "hold_id", "Hold", "hold", "holds"}
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def unused_words() -> dict[str, str]:
    """Read the glossary's table of words that the code does not use, each with what it uses."""
    table = GLOSSARY.split("## Words that the code does not use")[1]
    rows = re.findall(r"^\| ([a-z, ]+) \| (.+) \|$", table, re.M)
    return {
        word: instead for words, instead in rows if words != "word" for word in words.split(", ")
    }


UNUSED = unused_words()


def defined_names(source: Source) -> Iterator[tuple[int, str]]:
    """Yield every name that a module defines, with its line; the module's own name first."""
    yield 1, source.path.stem
    for node in source.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name


def private_words(source: Source) -> Iterator[str]:
    """Yield where a module uses a word of the glossary's second table, and what to use."""
    for line, name in defined_names(source):
        if name.strip("_") in GIVEN:
            continue
        for word in WORDS.findall(name):
            instead = UNUSED.get(word.lower())
            if instead is not None:
                yield f"{source.name}:{line}: {name}: `{word.lower()}` is {instead}"


@pytest.mark.parametrize("source", MODULES, ids=name_of)
def test_names_use_the_words_of_the_glossary(source: Source) -> None:
    if source.package in PENDING:
        pytest.skip("this room is being put in order")
    found = sorted(set(private_words(source)))
    assert not found, "see docs/glossary.md:\n" + "\n".join(found)


def test_the_table_of_unused_words_is_read() -> None:
    assert len(UNUSED) > 30
    source = Source(MODULES[0].path)
    source.__dict__["tree"] = ast.parse("def read(): told = 1")
    assert [text.split(": ")[1] for text in private_words(source)] == ["told"]


def test_a_public_class_name_stands_once() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for source in MODULES:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(source.name)
    twice = {name: files for name, files in places.items() if len(files) > 1}
    assert not twice, f"name each for what it is: {twice}"
