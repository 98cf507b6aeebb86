"""`holdline say`: writes a text as speech into a file."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from bot.cli.options import OWN_WORDS_ALONE, ConfigOption
from configuration.folders import why_unwritable
from operations.telemetry import logs
from runtime.exits import UsageError

RATES_HZ: Final = (8000, 16000, 22050, 24000, 44100, 48000)  # supported by all voices
PHONE_HZ: Final = 8000


def write_text_as_speech(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", metavar="WAV", help="The file to write.", show_default=False)
    ],
    rate: Annotated[int, typer.Option("--rate", metavar="HZ", help="Sample rate.")] = PHONE_HZ,
    mulaw: Annotated[
        bool, typer.Option("--mulaw", help="8-bit telephone audio instead of 16-bit linear.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Write a text as speech, in the agent's voice.

    Uses the ladder `stages.tts`, with retries. Without keys, it uses a running demo.
    """
    if rate not in RATES_HZ:
        raise UsageError(f"--rate is {rate}; it must be one of {', '.join(map(str, RATES_HZ))}")
    if mulaw and rate != PHONE_HZ:
        raise UsageError(f"--rate is {rate}; with --mulaw it must be {PHONE_HZ}")
    _check_out(out)
    logs.set_up(level=OWN_WORDS_ALONE, folder=None)
    from bot.batch.command import WavFile, write_speech  # noqa: PLC0415 - imports Pipecat, so only after the log is set up

    file = WavFile(path=out, rate_hz=rate, mulaw=mulaw)
    asyncio.run(write_speech(text, file, config=config))


def _check_out(out: Path) -> None:
    """Raise `UsageError` unless `--out` names a .wav file in a folder that can be written."""
    if out.suffix.lower() != ".wav" or out.is_dir():
        raise UsageError(f'--out is "{out}"; it must be a file name that ends in .wav')
    if why := why_unwritable(out.parent):
        raise UsageError(f'--out is "{out}"; it cannot be written ({why})')
