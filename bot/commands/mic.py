"""`holdline mic`: the same pipeline on this machine's microphone and loudspeaker."""

import asyncio

from bot.commands.options import ConfigOption
from bot.config_loading import load


def command(config: ConfigOption = None) -> None:
    """Talk with the agent through this machine's microphone and loudspeaker."""
    settings = load(config).settings
    from bot.mic import talk  # noqa: PLC0415 - imports Pipecat, whose banner comes after errors

    asyncio.run(talk(settings))
