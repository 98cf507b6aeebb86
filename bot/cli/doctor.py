"""`holdline doctor`: finds problems before the first call."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from bot.cli.options import OWN_WORDS_ALONE, ConfigOption
from bot.doctor.doctor import examine
from calls.sentences import sentence
from configuration.loading import Loaded, load
from operations.masking import without_keys
from operations.telemetry import logs
from runtime.exits import FAILED


def check_setup(
    config: ConfigOption = None,
    online: Annotated[
        bool,
        typer.Option(
            "--online",
            help="Also try each key: request a word from each provider, and read the webhook at "
            "each carrier.",
        ),
    ] = False,
) -> None:
    """Check what could prevent the first call.

    Checks the configuration, keys, port, disk, database, every provider's server and everything
    else that is configured, and prints one line for each check. Even with --online it changes
    nothing anywhere.
    """
    loaded = load(config)
    logs.set_up(level=OWN_WORDS_ALONE, folder=None)
    if asyncio.run(_report_findings(loaded, online=online)):
        raise typer.Exit(FAILED)


async def _report_findings(loaded: Loaded, *, online: bool) -> int:
    """Print the warnings and findings, one line each; return how many are problems."""
    console = Console(soft_wrap=True)
    for warning in loaded.warnings:
        console.print(Text.assemble(("warning ", "yellow"), without_keys(warning)))
    problems = 0
    async for finding in examine(loaded.settings, online=online):
        problems += not finding.ok
        mark = ("ok      ", "green") if finding.ok else ("problem ", "bold red")
        text = ". ".join(filter(None, (finding.text, sentence(finding.cure))))
        console.print(Text.assemble(mark, f"{finding.about}: {without_keys(text)}"))
    return problems
