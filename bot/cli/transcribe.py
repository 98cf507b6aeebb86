"""`holdline transcribe`: a recording in words."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.options import OWN_WORDS_ALONE, ConfigOption
from operations.telemetry import logs


def command(
    audio: Annotated[
        Path, typer.Argument(metavar="AUDIO", help="A sound file.", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print language, confidence and times, too.")
    ] = False,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="TAG", help="What is spoken; default: it is detected."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print what a recording says.

    Through the ladder of `stages.stt`, with retries. Without keys a running demo is asked.
    """
    logs.set_up(level=OWN_WORDS_ALONE, folder=None)
    from bot.batch.command import print_transcript  # noqa: PLC0415 - after the log's rules

    asyncio.run(print_transcript(audio, config=config, language=language, as_json=as_json))
