"""`holdline drill`: breaks everything on purpose and judges what the caller heard."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.exits import CommandError, UsageError
from telemetry import logs


def command(
    matrix: Annotated[
        str, typer.Option("--matrix", metavar="NAME", help="full, or smoke: a few rows, once.")
    ] = "full",
    only: Annotated[
        str | None, typer.Option("--only", metavar="ROW,...", help="These rows alone.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="SIDE", help="stock-pipecat: measured beside ours."),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, max=8, help="Runs of a row at once.")
    ] = 1,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where results and report go.")
    ] = Path("out/drill"),
    scenario: Annotated[
        str | None,
        typer.Option("--scenario", metavar="NAME", help="One demonstration instead, in seconds."),
    ] = None,
) -> None:
    """Run a fault matrix with real calls and print what the caller's ear got."""
    logs.set_up(level="WARNING", folder=None)
    if scenario is not None:
        if only or baseline:
            raise UsageError("--scenario is played alone, without --only and --baseline")
        from drill.demonstration import demonstrate, scenario_named  # noqa: PLC0415 - loads Pipecat

        raise typer.Exit(asyncio.run(demonstrate(scenario, scenario_named(scenario))))
    from drill.drill import Wanted, drill  # noqa: PLC0415 - loads the lab's voices

    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    wanted = Wanted(matrix=matrix, only=names, baseline=baseline, jobs=jobs, folder=out)
    try:
        raise typer.Exit(asyncio.run(drill(wanted)))
    except asyncio.CancelledError:
        raise CommandError("the drill was stopped; what it has measured is kept") from None
