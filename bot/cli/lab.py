"""`holdline lab`: the fault lab alone."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import FaultsOption


def command(
    faults: FaultsOption = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed",
            metavar="X",
            min=0.01,
            max=1000,
            help="Divides every simulated delay.",
        ),
    ] = 1.0,
) -> None:
    """Run the simulated providers alone.

    Prints each one's URL and key, and the control's.
    """
    from lab.process import run_lab  # noqa: PLC0415 - its engines load when they are wanted

    asyncio.run(run_lab(faults=faults, speed=speed))
