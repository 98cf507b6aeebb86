"""`holdline clips`: renders the fallback utterances in each rung's voice."""

import asyncio

import typer

from bot.cli.options import OWN_WORDS_ALONE, ConfigOption
from configuration.folders import check_folders
from configuration.loading import load
from operations.telemetry import logs
from runtime.exits import DONE, FAILED


def render_clips(
    config: ConfigOption = None,
) -> None:
    """Render the missing clips of the fallback utterances."""
    loaded = load(config)
    check_folders(loaded)
    settings = loaded.settings
    logs.set_up(level=OWN_WORDS_ALONE, folder=None)
    from bot.clips.rendering import render_all  # noqa: PLC0415 - imports Pipecat, so only after the log is set up

    raise typer.Exit(DONE if asyncio.run(render_all(settings)) else FAILED)
