"""`holdline evidence`: writes the data for a post-mortem, as HTML and JSON."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.options import ConfigOption, settings_here
from configuration.folders import check_out
from operations.postmortem.span import read_span
from runtime.exits import DONE


def write_post_mortem(
    since: Annotated[
        str,
        typer.Option("--since", metavar="SPAN", help="How far back to go: 90s, 30m, 1h30m, 2d."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder for evidence.html and .json.")
    ],
    config: ConfigOption = None,
) -> int:
    """Write recent events for a post-mortem.

    Includes failures, breaker transitions, sent alerts, the verdict on each call, and answer times
    before, during and after each outage. Numbers are masked; nothing that was said is included.
    """
    span = read_span(since, option="--since")
    settings = settings_here(config)
    check_out(out)
    from operations.postmortem.command import PAGE, write_evidence  # noqa: PLC0415 - the database's library

    story = asyncio.run(write_evidence(settings, span, out))
    counts = story["counts"]
    verdicts = ", ".join(f"{many} {name}" for name, many in counts["calls_by_verdict"].items())
    typer.echo(
        f"{out / PAGE}: {counts['calls']} calls: {verdicts}; "
        f"failures: {counts['failures']}; alerts: {counts['alerts']}"
    )
    return DONE
