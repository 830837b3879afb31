"""The `anju profiles` commands: check a device profile before a gateway reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anju.cli.terminal import out

if TYPE_CHECKING:
    from devices.profiles import Profile

profiles_app = typer.Typer(no_args_is_help=True, help="Device profiles: check a file.")


@profiles_app.callback()
def profiles() -> None:
    """Keep `check` a command of its own, though it is the only one."""


@profiles_app.command()
def check(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="the profiles, TOML")],
) -> None:
    """Name each fault with its place and its fix. Exit code 1 where anything is wrong."""
    from devices.profiles import BadProfile

    faults = 0
    for path in paths:
        try:
            profile = _load_checked(path)
        except BadProfile as error:
            faults += 1
            out.print(f"{path}: wrong: {error}", markup=False)
        else:
            out.print(f"{path}: right: {_describe(profile)}", markup=False)
    raise typer.Exit(1 if faults else 0)


def _load_checked(path: Path) -> Profile:
    """Read a profile and compare it with its protocol.

    Raises: BadProfile.
    """
    from devices.polls import check as check_protocol
    from devices.profiles import load_profile

    profile = load_profile(path)
    check_protocol(profile)
    return profile


def _describe(profile: Profile) -> str:
    points = ", ".join(profile.points) or "no points"
    protocol = profile.protocol or "no protocol"
    return f"{profile.title}; {protocol}; {points}; every {profile.expected_interval_s} s"
