"""`holdline lab`: the fault lab on its own."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import FaultsOption


def run_simulated_providers(
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
    """Run only the simulated providers.

    Prints the URL and key of each one, and the control URL.
    """
    from lab.process import run_lab  # noqa: PLC0415 - loads the speech engines

    asyncio.run(run_lab(faults=faults, speed=speed))
