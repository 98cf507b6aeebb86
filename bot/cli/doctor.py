"""`holdline doctor`: says what would stop the first call."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from bot.cli.options import ConfigOption
from bot.config.loading import load
from bot.config.settings import Settings
from bot.doctor.doctor import examine
from bot.exits import FAILED


def command(
    config: ConfigOption = None,
    online: Annotated[
        bool, typer.Option("--online", help="Also ask each provider whether it takes the key.")
    ] = False,
) -> None:
    """Check configuration, keys, ports, disk, storage and every provider's server."""
    settings = load(config).settings
    if asyncio.run(_report(settings, online=online)):
        raise typer.Exit(FAILED)


async def _report(settings: Settings, *, online: bool) -> int:
    console = Console(soft_wrap=True)
    problems = 0
    async for each in examine(settings, online=online):
        problems += not each.ok
        mark = ("ok      ", "green") if each.ok else ("problem ", "bold red")
        console.print(Text.assemble(mark, f"{each.about}: {each.text}"))
    return problems
