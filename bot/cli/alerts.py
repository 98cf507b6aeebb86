"""`holdline alerts test`: sends one test alert through each channel."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import ConfigOption
from configuration.loading import load
from runtime.exits import UsageError


def send_test_alert(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="test: send one test alert.")],
    config: ConfigOption = None,
) -> int:
    """Send a test alert through each channel.

    Prints one line for each channel.
    """
    if action != "test":
        raise UsageError(f'alerts takes "test", not "{action}"')
    settings = load(config, keys=False).settings
    from operations.notify.configured_alerts import try_channels  # noqa: PLC0415 - late, so that errors in the configuration are reported first

    return asyncio.run(try_channels(settings.alerts, say=typer.echo))
