"""Reading a policy file table by table: every message names the place and the fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeVar

from analytics.parameters import BadParameter, P, build_params, parameter_names
from analytics.wording import LANGUAGES, Texts
from domain.errors import UserError

Choice = TypeVar("Choice", bound=StrEnum)


class BadPolicy(UserError):
    """A policy file does not say what it must; the message names the place and the fix."""


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """One table of a policy file; `place` is its name in messages. All readers raise BadPolicy."""

    place: str
    values: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def refuse(self, problem: str) -> BadPolicy:
        """Return the error that names this table."""
        return BadPolicy(f"policy: {self.place} {problem}")

    def check_names(self, known: Iterable[str]) -> None:
        """Refuse a name that nobody reads."""
        names = sorted(known)
        for name in self.values:
            if name not in names:
                close = get_close_matches(name, names, n=1)
                fix = f"did you mean {close[0]!r}?" if close else f"use {names}"
                raise self.refuse(f"has unknown {name!r}; {fix}")

    def table(self, name: str) -> PolicyTable:
        """Return a table within this one."""
        inner = self._needed(name)
        place = f"[{name}]" if not self.place else f"[{self.place[1:-1]}.{name}]"
        if not isinstance(inner, Mapping):
            raise BadPolicy(f"policy: {place} is no table; write one")
        return PolicyTable(place, inner)

    def tables(self) -> Iterator[tuple[str, PolicyTable]]:
        """Return every table within this one, by name."""
        for name in self.values:
            yield name, self.table(name)

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._needed(name)
        if not isinstance(value, str):
            raise self.refuse(f"{name} = {value!r} is no text; write one in quotes")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number that is not negative."""
        value = self._needed(name) if default is None else self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise self.refuse(f"{name} = {value!r} is no number from 0 on; write one")
        return float(value)

    def seconds(self, name: str) -> timedelta:
        """Return a time in seconds, none where it is left out."""
        return timedelta(seconds=self.number(name, 0.0))

    def flag(self, name: str) -> bool:
        """Return whether something holds; it does not where it is left out."""
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            raise self.refuse(f"{name} = {value!r}; write true or false")
        return value

    def choice(self, name: str, choices: type[Choice], default: Choice | None = None) -> Choice:
        """Return one of a closed list of words."""
        value = self._needed(name) if default is None else self.values.get(name, default)
        try:
            return choices(value)
        except ValueError:
            raise self.refuse(f"{name} = {value!r}; use one of {', '.join(choices)}") from None

    def words(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, empty where it is left out."""
        value = self.values.get(name, [])
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self.refuse(f"{name} = {value!r}; write a list of texts")
        return tuple(value)

    def texts(self, name: str) -> Texts:
        """Return a text in every language."""
        texts = self.table(name)
        texts.check_names(LANGUAGES)
        return {language: texts.text(language) for language in LANGUAGES}

    def params(self, params_type: type[P]) -> P:
        """Return this table as checked parameters (see `analytics.parameters`)."""
        try:
            return build_params(params_type, self.values)
        except BadParameter as error:
            raise self.refuse(str(error)) from None

    def settings(self, params_type: type[P]) -> P:
        """Return those of this table's values that are parameters of a class."""
        names = parameter_names(params_type)
        chosen = {name: value for name, value in self.values.items() if name in names}
        return PolicyTable(self.place, chosen).params(params_type)

    def _needed(self, name: str) -> Any:
        if name not in self.values:
            place = self.place or f"[{name}]"
            problem = "is missing; add it" if not self.place else f"lacks {name!r}; add it"
            raise BadPolicy(f"policy: {place} {problem}")
        return self.values[name]
