"""`holdline mic`: the same pipeline on this machine's microphone and loudspeaker."""

import asyncio

from bot.cli.options import ConfigOption
from bot.config.folders import check_folders, keep_private
from bot.config.loading import load
from telemetry import logs


def command(config: ConfigOption = None) -> None:
    """Talk with the agent here, by microphone and loudspeaker."""
    loaded = load(config)
    keep_private()
    check_folders(loaded)
    settings = loaded.settings
    logs.set_up(level="WARNING", folder=settings.logs.dir)
    from bot.mic import talk  # noqa: PLC0415 - imports Pipecat, after the log's rules

    asyncio.run(talk(settings))
