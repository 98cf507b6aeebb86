"""`holdline demo`: a whole telephone with no keys, on simulated providers."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from telemetry import logs

LOGS: Final = Path("logs")


def command(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0: any.")
    ] = 8080,
) -> None:
    """Start the fault lab and a server against it, and print one URL to open."""
    logs.set_up(level="WARNING", folder=LOGS)
    from bot.demo import demo  # noqa: PLC0415 - imports Pipecat, after the log's rules

    asyncio.run(demo(port=port, folder=LOGS))
