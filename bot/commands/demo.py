"""`holdline demo`: a whole telephone with no keys, on simulated providers."""

import asyncio
from typing import Annotated

import typer


def command(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0: any.")
    ] = 8080,
) -> None:
    """Start the fault lab and a server against it, and print one URL to open."""
    from bot.demo import demo  # noqa: PLC0415 - imports Pipecat, whose banner comes after errors

    asyncio.run(demo(port=port))
