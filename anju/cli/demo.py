"""The commands `anju demo` and `anju demo-clean`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anju.cli.terminal import out


def demo(
    home: Annotated[Path, typer.Option(help="where the demo keeps its data")] = Path(".anju/demo"),
    units: Annotated[int, typer.Option(min=24, max=5000)] = 240,
    seed: Annotated[int, typer.Option()] = 1,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    once: Annotated[bool, typer.Option("--once", help="print the summary and end")] = False,
) -> None:
    """Run the whole product on embedded parts with a simulated estate."""
    from anju.demo.run import run_demo

    raise typer.Exit(run_demo(home, units=units, seed=seed, port=port, once=once, out=out))


def demo_clean(home: Annotated[Path, typer.Option()] = Path(".anju/demo")) -> None:
    """Remove everything that the demo left on this machine."""
    from anju.demo.run import clean_demo

    clean_demo(home, out)
