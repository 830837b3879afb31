"""What every command shares: its output, its way to fail, its settings, and reading a day."""

from __future__ import annotations

import sys
from datetime import date

import typer
from rich.console import Console

from anju import services
from anju.settings import Settings, load_settings

out = Console(highlight=False, soft_wrap=True)


def fail(message: str) -> typer.Exit:
    """Print one line on standard error and make the exit that ends the command."""
    print(f"anju: {message}", file=sys.stderr)
    return typer.Exit(2)


def load_settings_and_logs() -> Settings:
    """Load the settings and set the logs up as they say."""
    settings = load_settings()
    services.set_up_logs(as_json=settings.log_json)
    return settings


def parse_day(option: str, text: str) -> date:
    """Read a day given on the command line."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise fail(f"{option} {text!r}: must be a date like 2026-03-31") from None
