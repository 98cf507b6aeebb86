"""`holdline demo`: a complete phone agent on simulated providers, without keys."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from bot.cli.options import OWN_WORDS_ALONE
from configuration.folders import why_unwritable
from configuration.running_demo import FOLDER as LOGS
from operations.telemetry import logs
from runtime.exits import UsageError


def run_demo(
    port: Annotated[
        int,
        typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port; 0: any free one."),
    ] = 8080,
    campaign: Annotated[
        bool,
        typer.Option("--campaign", help="Call simulated people instead, and write a report."),
    ] = False,
    contacts: Annotated[
        int,
        typer.Option("--contacts", metavar="N", min=1, max=1000, help="With --campaign: people."),
    ] = 30,
    jobs: Annotated[
        int,
        typer.Option("--jobs", metavar="N", min=1, max=20, help="With --campaign: calls at once."),
    ] = 6,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Five calls, one after the other; prints every failure."),
    ] = False,
) -> None:
    """Start a phone agent on simulated providers; needs no keys.

    Prints one URL: open it, press Call, and break the providers while you talk. With --campaign
    it calls 30 simulated people while three in ten of each provider's requests fail.
    """
    if why := why_unwritable(LOGS):
        raise UsageError(f'the demo cannot write to "{LOGS}" ({why}); start it in another folder')
    if campaign or plain:
        logs.set_up(level=OWN_WORDS_ALONE, folder=None)
        _run_campaign(
            5 if plain else contacts, 1 if plain else jobs, port=port, every_failure=plain
        )
        return
    logs.set_up(level="WARNING", folder=LOGS)
    from lab.demo.demo import demo  # noqa: PLC0415 - imports Pipecat, after the log set-up

    asyncio.run(demo(port=port, folder=LOGS))


def _run_campaign(contacts: int, jobs: int, *, port: int, every_failure: bool) -> None:
    """Run the campaign demo; its database is temporary, and only its report is kept."""
    from rich.console import Console  # noqa: PLC0415 - only the campaign demo uses it

    from lab.demo.campaign_demo import demo_campaign, plan_of  # noqa: PLC0415 - imports Pipecat

    with TemporaryDirectory(prefix="holdline-demo-") as folder:
        plan = plan_of(
            contacts=contacts,
            jobs=jobs,
            port=port,
            folder=Path(folder),
            reports=LOGS,
            every_failure=every_failure,
        )
        asyncio.run(demo_campaign(plan, Console(highlight=False, soft_wrap=True)))
