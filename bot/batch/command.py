"""`holdline transcribe` and `holdline say`: the work and the output."""

import asyncio
import dataclasses
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
from rich.console import Console

from bot.batch.batch import (
    Batch,
    BatchSound,
    UnusableInputError,
    check_text,
    find_demo,
    has_no_key,
    line_of,
    load_for_stage,
)
from bot.health.policies import build_availability
from bot.health.sharing import share_health
from calls.events import Event
from calls.sentences import Vendors, planned_retry
from calls.transcript import Transcript
from configuration.rungs import vendors_of
from configuration.settings import Settings
from fallbacks.events import RetryPlanned, RungChosen
from fallbacks.failure import ServiceError
from providers.provider import Stage
from runtime import clock
from runtime.exits import CommandError, UsageError

SUBTYPES: Final = {False: "PCM_16", True: "ULAW"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WavFile:
    """The WAV file to write speech to.

    Attributes:
        path: The file.
        rate_hz: The sample rate.
        mulaw: Whether to write G.711 mu-law, one byte a sample, instead of linear 16 bit.
    """

    path: Path
    rate_hz: int
    mulaw: bool


async def print_transcript(
    path: Path, *, config: Path | None, language: str | None, as_json: bool
) -> None:
    """Transcribe a recording and print its words.

    Raises:
        ConfigError: The configuration cannot be used.
        UsageError: The file cannot be used.
        CommandError: All recognisers failed.
    """
    async with open_batch(config, "stt") as batch:
        try:
            found = await batch.transcribe(path, language=language)
        except UnusableInputError as unusable:
            raise UsageError(str(unusable)) from unusable
        except ServiceError as error:
            raise CommandError(
                f"{path} could not be transcribed; {line_of(error, batch.settings)}"
            ) from error
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(_transcript_as_json(found) if as_json else found.text)


async def write_speech(text: str, file: WavFile, *, config: Path | None) -> None:
    """Synthesise a text, write it to a file and print a summary.

    Raises:
        ConfigError: The configuration cannot be used.
        UsageError: The text cannot be spoken.
        CommandError: All voices failed, or the file could not be written.
    """
    try:
        check_text(text)
    except UnusableInputError as unusable:
        raise UsageError(str(unusable)) from unusable
    async with open_batch(config, "tts") as batch:
        try:
            sound = await batch.say(text, rate_hz=file.rate_hz)
        except ServiceError as error:
            raise CommandError(
                f"the text could not be spoken; {line_of(error, batch.settings)}"
            ) from error
    try:
        await asyncio.to_thread(_write_sound_file, sound, file)
    except (OSError, soundfile.LibsndfileError) as full:
        raise CommandError(f"{file.path} could not be written: {full}") from full
    length_s = len(sound.pcm) / 2 / sound.rate_hz  # 2 bytes a sample
    form = "mu-law" if file.mulaw else "16 bit"
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(f"{file.path}: {length_s:.1f} s, {sound.rate_hz} Hz, {form}, by {sound.provider}")


@asynccontextmanager
async def open_batch(config: Path | None, stage: Stage) -> AsyncIterator[Batch]:
    """Yield the ladders for one command: without a configuration or keys, those of a running demo.

    Meanwhile the health of their rungs is shared as `resilience.share` says. Prints on stderr what
    the command waits for.

    Raises:
        ConfigError: The configuration cannot be used, and no demo replaces it.
    """
    notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)
    settings = await _usable_settings(config, stage, notes)
    availability = build_availability(settings, clock.monotonic())
    emit = partial(_print_progress, notes, vendors_of(settings))
    async with share_health(settings, availability, emit=emit) as client:
        if client is not None:
            await client.sync()  # so that the first request already uses other processes' reports
        yield Batch.of(settings, availability=availability, emit=emit)


async def _usable_settings(config: Path | None, stage: Stage, notes: Console) -> Settings:
    """Return the configured settings, or those of a running demo.

    The demo's are used if the command names no configuration and no rung of the stage has a key.

    Raises:
        ConfigError: Keys of this stage are missing, and the demo cannot be used.
    """
    settings, missing = load_for_stage(config, stage)
    if missing is None:
        return settings
    if config is None and has_no_key(settings, stage):
        demo = await find_demo(settings)
        if demo is not None:
            place, simulated = demo
            notes.print(f"no keys are set: using the simulated providers of the demo at {place}")
            return simulated
    raise missing


def _print_progress(notes: Console, vendors: Vendors, event: Event) -> None:
    """Print an event if it explains the wait: a retry or a change of rung."""
    match event:
        case RetryPlanned():
            notes.print(f"{planned_retry(event, vendors)} if needed")
        case RungChosen():
            notes.print(f"{event.before}: {event.cause}; trying {event.after}")
        case _:
            pass


def _transcript_as_json(found: Transcript) -> str:
    return json.dumps(dataclasses.asdict(found), ensure_ascii=False, indent=2)


def _write_sound_file(sound: BatchSound, file: WavFile) -> None:
    """Write a temporary file and rename it, so that readers never see half a file."""
    samples = np.frombuffer(sound.pcm, "<i2")
    with tempfile.NamedTemporaryFile(dir=file.path.parent, suffix=".wav", delete=False) as made:
        temporary = Path(made.name)
    try:
        soundfile.write(
            str(temporary), samples, sound.rate_hz, subtype=SUBTYPES[file.mulaw], format="WAV"
        )
        temporary.chmod(0o644)
        temporary.replace(file.path)
    finally:
        temporary.unlink(missing_ok=True)
