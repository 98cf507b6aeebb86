"""`holdline dial`: one call to one number, through the running server."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import ConfigOption, settings_here


def dial_number(
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="+15550142, or as dialled in server.region.")
    ],
    config: ConfigOption = None,
) -> int:
    """Call one number and print the result.

    The running server places the call, with the default agent of its configuration.
    """
    settings = settings_here(config)
    from bot.outbound.dial_order import order_dial  # noqa: PLC0415 - late, so that errors in the configuration are reported first

    return asyncio.run(order_dial(settings, number, say=typer.echo))
