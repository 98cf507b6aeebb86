"""Transcribes recordings and synthesises texts outside calls, through the same ladders as calls.

    batch = Batch.of(settings)
    transcript = await batch.transcribe(Path("message.wav"))
    sound = await batch.say("We are closed today.", rate_hz=8000)

In a server, it shares the availability table of the calls.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import aiohttp
from pydantic import ValidationError

from bot.health.operator_control import server_addresses
from bot.health.policies import build_availability
from calls.entry import Emit
from calls.sentences import cure_of, explain, vendor_at
from calls.transcript import Transcript
from configuration.errors import ConfigError
from configuration.loading import load
from configuration.rungs import rung_of, vendors_of
from configuration.running_demo import demo_addresses
from configuration.settings import Settings
from configuration.stages import RungSettings
from fallbacks.availability import AvailabilityTable
from fallbacks.failure import ServiceError
from operations.retrying import Retries, run_down_ladder
from providers.catalog import provider
from providers.provider import RungSpec, Stage, WholeRecording
from runtime import clock
from runtime.hosts import is_loopback
from runtime.http import parse_json, read_body

DEMO_ANSWER_S: Final = 5.0  # for a demo to answer


def load_for_stage(config: Path | None, stage: Stage) -> tuple[Settings, ConfigError | None]:
    """Load the configuration; also return the error if a rung of this stage has no key.

    The error is `None` if all rungs of the stage have their keys. Keys of other stages may be
    missing.

    Raises:
        ConfigError: The configuration is invalid apart from missing keys.
    """
    settings = load(config, keys=False).settings
    if not _is_any_key_missing(settings, stage):
        return settings, None
    try:
        return load(config).settings, None  # raises, and so names the missing keys
    except ConfigError as wrong:
        of_stage = [problem for problem in wrong.problems if problem.key[:2] == ("stages", stage)]
        return settings, ConfigError(of_stage or wrong.problems)


def has_no_key(settings: Settings, stage: Stage) -> bool:
    """Return whether no rung of this ladder has a key."""
    return all(
        _is_key_missing(stage, rung)
        for rung_stage, rung in settings.stages.rungs()
        if rung_stage == stage
    )


async def find_demo(settings: Settings) -> tuple[str, Settings] | None:
    """Return the address of a demo on this machine, and settings with its simulated ladders.

    `None` if no demo runs.
    """
    timeout = aiohttp.ClientTimeout(total=DEMO_ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for address in dict.fromkeys((*server_addresses(settings.server), *demo_addresses())):
            if not is_loopback(urlsplit(address).hostname or ""):
                continue
            try:
                async with session.get(
                    f"{address}/api/lab/stages", allow_redirects=False
                ) as answer:
                    body = await read_body(answer.content)
                    stages = parse_json(body) if answer.status == 200 else None
            except (aiohttp.ClientError, TimeoutError, ValueError):
                continue
            if found := _demo_settings(stages):
                return address, found
    return None


def _demo_settings(stages: Any) -> Settings | None:
    """Return settings with these ladders; `None` if they are invalid or name another machine.

    Otherwise another program on the demo's port could redirect a recording to any server. For the
    same reason they may name no Pipecat service, which would be imported here.
    """
    try:
        found = Settings.model_validate({"stages": stages})
    except ValidationError:
        return None
    hosts = [urlsplit(rung.url).hostname or "" for _, rung in found.stages.rungs()]
    own_code = any(rung.service for _, rung in found.stages.rungs())
    return found if all(map(is_loopback, hosts)) and not own_code else None


def _is_any_key_missing(settings: Settings, stage: Stage) -> bool:
    return any(
        _is_key_missing(stage, rung)
        for rung_stage, rung in settings.stages.rungs()
        if rung_stage == stage
    )


def _is_key_missing(stage: Stage, rung: Any) -> bool:
    vendor = provider(stage, rung.kind, rung.service)
    return vendor.key_env is not None and rung.api_key is None


PHONE_HZ: Final = 8000
MAX_RECORDING_BYTES: Final = 100 << 20  # chosen: about 109 minutes at 8 kHz, 16 bit
MAX_TEXT: Final = 5000  # characters; chosen: about six minutes of speech

T = TypeVar("T")


class UnusableInputError(Exception):
    """An input that cannot be used; the message is one line with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSound:
    """A whole text as audio.

    Attributes:
        pcm: Linear, 16 bit, little-endian, mono.
        rate_hz: The sample rate.
        provider: The name of the rung that spoke.
    """

    pcm: bytes
    rate_hz: int
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The ladders of the calls, for work outside calls."""

    settings: Settings
    retries: Retries

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        availability: AvailabilityTable | None = None,
        emit: Emit = lambda _: None,
    ) -> Self:
        """Return a batch that uses the configured ladders.

        Args:
            settings: The configuration.
            availability: The table that the calls use; `None` outside a server.
            emit: Emits the events of retries and of changes of rung.
        """
        table = availability or build_availability(settings, clock.monotonic())
        waits = settings.resilience.retry_settings()
        return cls(
            settings=settings, retries=Retries(settings=waits, emit=emit, availability=table)
        )

    async def transcribe(self, path: Path, *, language: str | None = None) -> Transcript:
        """Return the transcript of a recording, by the first rung of the ladder that succeeds.

        Args:
            path: A sound file: any WAV, or another format that the recogniser accepts.
            language: The spoken language; `None` to let the recogniser detect it.

        Raises:
            UnusableInputError: The file is missing, unreadable, empty or too large.
            ServiceError: All rungs failed.
        """
        content = await asyncio.to_thread(read_recording, path)
        recording = WholeRecording(content=content, language=language)

        async def transcribe_on(rung: RungSpec) -> Transcript:
            recogniser = provider("stt", rung.kind).load_batch_ear()
            return await recogniser.transcribe(rung, recording)

        # A rung's settings need a rate, but a recording has its own.
        return await self._run_on_ladder(
            "stt", self.settings.stages.stt, transcribe_on, rate_hz=PHONE_HZ
        )

    async def say(self, text: str, *, rate_hz: int = PHONE_HZ) -> BatchSound:
        """Synthesise a text with the first rung of the ladder that succeeds.

        Args:
            text: What to say.
            rate_hz: The sample rate of the result.

        Raises:
            UnusableInputError: There is nothing to say, or too much.
            ServiceError: All rungs failed.
        """
        check_text(text)

        async def synthesise_on(rung: RungSpec) -> BatchSound:
            voice = provider("tts", rung.kind).load_batch_voice()
            pcm = await voice.synthesise(rung, text)
            return BatchSound(pcm=pcm, rate_hz=rate_hz, provider=rung.name)

        return await self._run_on_ladder(
            "tts", self.settings.stages.tts, synthesise_on, rate_hz=rate_hz
        )

    async def _run_on_ladder(
        self,
        stage: Stage,
        ladder: Sequence[RungSettings],
        work: Callable[[RungSpec], Awaitable[T]],
        *,
        rate_hz: int,
    ) -> T:
        """Import the ladder's modules, and do the work on the first rung that succeeds."""
        agent = self.settings.agent
        rungs = [
            rung_of(rung_settings, stage, agent=agent, sample_rate_hz=rate_hz)
            for rung_settings in ladder
        ]
        await asyncio.to_thread(_load_modules, rungs)
        works: Mapping[str, Callable[[], Awaitable[T]]] = {
            rung.name: partial(work, rung) for rung in rungs
        }
        return await run_down_ladder(works, stage=stage, retries=self.retries)


def _load_modules(rungs: Sequence[RungSpec]) -> None:
    """Import the rungs' modules; blocks."""
    for rung in rungs:
        provider(rung.stage, rung.kind).load()


def read_recording(path: Path) -> bytes:
    """Return a file's bytes; blocks.

    Raises:
        UnusableInputError: The file is missing, unreadable, empty or too large.
    """
    try:
        size = path.stat().st_size
        if path.is_file() and 0 < size <= MAX_RECORDING_BYTES:
            return path.read_bytes()
    except OSError as unreadable:
        why = "no such file" if isinstance(unreadable, FileNotFoundError) else unreadable.strerror
        raise UnusableInputError(f"{path}: {why}") from unreadable
    if not path.is_file():
        raise UnusableInputError(f"{path}: not a file")
    if size == 0:
        raise UnusableInputError(f"{path}: empty, no bytes")
    raise UnusableInputError(
        f"{path}: {size / (1 << 20):.0f} MB; at most {MAX_RECORDING_BYTES >> 20} MB, so split it"
    )


def check_text(text: str) -> None:
    """Refuse a text that cannot be spoken.

    Raises:
        UnusableInputError: There is nothing to say, or too much.
    """
    if not any(item.isalnum() for item in text):
        raise UnusableInputError("TEXT has no words; give a sentence to say")
    if len(text) > MAX_TEXT:
        raise UnusableInputError(
            f"TEXT has {len(text)} characters; at most {MAX_TEXT}, so split it"
        )


def line_of(error: ServiceError, settings: Settings) -> str:
    """Return a failure and its cure as one line for the user."""
    failure = error.failure
    vendor = vendor_at(vendors_of(settings), failure.stage, failure.provider)
    return f"{explain(failure.kind, failure.reason, vendor)}; {cure_of(failure.kind)}"
