"""`holdline demo`: a whole telephone with no keys, on simulated providers."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from bot.config.folders import keep_private, why_unwritable
from bot.exits import UsageError
from telemetry import logs

LOGS: Final = Path("logs")


def command(
    port: Annotated[
        int,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="Where to listen; 0: any."),
    ] = 8080,
) -> None:
    """Start a telephone on simulated providers; needs no keys.

    Prints one URL: open it, press Call, and break the providers while you talk.
    """
    keep_private()
    if why := why_unwritable(LOGS):
        raise UsageError(
            f'the demo writes to "{LOGS}"; it cannot be written ({why}); start it in another folder'
        )
    logs.set_up(level="WARNING", folder=LOGS)
    from bot.demo import demo  # noqa: PLC0415 - imports Pipecat, after the log's rules

    asyncio.run(demo(port=port, folder=LOGS))
