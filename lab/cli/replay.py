"""`holdline replay`: runs recorded callers through the whole pipeline."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.options import FaultsOption
from configuration.folders import check_out
from operations.telemetry import logs


def replay_callers(
    audio: Annotated[
        list[Path], typer.Argument(metavar="AUDIO", help="Recorded callers.", show_default=False)
    ],
    faults: FaultsOption = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for heard.wav and the other files.")
    ] = Path("out"),
) -> None:
    """Run recorded callers through the whole pipeline.

    Writes what each of them heard, the timeline and a summary.
    """
    check_out(out)
    logs.set_up(level="WARNING", folder=None)
    from lab.replay import replay  # noqa: PLC0415 - imports Pipecat, after the log set-up

    raise typer.Exit(asyncio.run(replay(audio, faults=faults, out=out)))
