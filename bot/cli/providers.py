"""`holdline providers`: shows the health of a running server's rungs, resets or checks one."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.options import OWN_WORDS_ALONE, ConfigOption, settings_here
from configuration.loading import load
from operations.telemetry import logs
from runtime.exits import FAILED, UsageError

ACTIONS = (None, "reset", "check")


def manage_providers(
    action: Annotated[
        str | None,
        typer.Argument(
            metavar="ACTION",
            show_default=False,
            help="reset: try a rung at once. check: measure what a rung can do.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", show_default=False, help="A rung's name.")
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="With check: write what was measured into the configuration."),
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Show the providers' health; reset or check one.

    A reset rung is tried at once, even if its breaker waits for an operator. A check needs no
    server: it runs one rung alone, for at most 60 s and 20 requests, and compares what its service
    does with what Holdline relies on. It exits with 1 if the rung does less. --write states the
    facts that differ in the rung, whose kind must be pipecat.
    """
    if action not in ACTIONS or (action is None) != (name is None):
        given = " ".join(filter(None, (action, name)))
        raise UsageError(f'providers takes nothing, "reset NAME" or "check NAME", not "{given}"')
    if write and action != "check":
        raise UsageError('--write is for "providers check NAME"')
    if action == "check" and name:
        _measure_or_exit(name, write=write, config=config)
        return
    settings = settings_here(config)
    from bot.health.operator_control import reset, show  # noqa: PLC0415 - late, so that errors in the configuration are reported first

    asyncio.run(reset(settings, name) if name else show(settings))


def _measure_or_exit(name: str, *, write: bool, config: Path | None) -> None:
    """Measure a rung, and perhaps write the facts into the file; exit if that fails."""
    loaded = load(config, keys=False)
    logs.set_up(level=OWN_WORDS_ALONE, folder=None)
    from bot.doctor.rung_report import measure_rung  # noqa: PLC0415 - imports Pipecat, so only after the log is set up

    if not measure_rung(loaded, name, write=write):
        raise typer.Exit(FAILED)
