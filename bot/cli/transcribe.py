"""`holdline transcribe`: prints the transcript of a recording."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.options import OWN_WORDS_ALONE, ConfigOption
from operations.telemetry import logs


def transcribe_file(
    audio: Annotated[
        Path, typer.Argument(metavar="AUDIO", help="An audio file.", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Also print language, confidence and times.")
    ] = False,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="TAG", help="Spoken language; default: detected."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Print the transcript of a recording.

    Uses the ladder `stages.stt`, with retries. Without keys, it uses a running demo.
    """
    logs.set_up(level=OWN_WORDS_ALONE, folder=None)
    from bot.batch.command import print_transcript  # noqa: PLC0415 - imports Pipecat, so only after the log is set up

    asyncio.run(print_transcript(audio, config=config, language=language, as_json=as_json))
