"""`holdline providers`: shows the health of a running server's rungs, or resets one."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import ConfigOption, settings_here
from runtime.exits import UsageError


def command(
    action: Annotated[
        str | None,
        typer.Argument(metavar="ACTION", show_default=False, help="reset: try a rung at once."),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", show_default=False, help="A rung's name.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Show the health of the providers, or reset one.

    A reset rung is tried at once, even if its breaker waits for an operator.
    """
    if action not in (None, "reset") or (action is None) != (name is None):
        raise UsageError(f'providers takes nothing or "reset NAME", not "{action} {name or ""}"')
    settings = settings_here(config)
    from bot.health.operator_control import reset, show  # noqa: PLC0415 - late, so that errors in the configuration are reported first

    asyncio.run(reset(settings, name) if name else show(settings))
