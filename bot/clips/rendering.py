"""Renders clips: each text in each rung's voice, through the provider's own TTS service."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Final

from loguru import logger
from rich.console import Console

from bot.clips.store import RATE_HZ, Clip, ClipStore, clips_folder
from bot.clips.voice import RungVoice
from calls.entry import Emit
from calls.events import Event
from calls.operations_events import ClipsRendered
from calls.sentences import Vendors, cure_of, explain, planned_retry
from configuration.agent import AgentSettings
from configuration.rungs import DETECTED, rung_of, vendors_of
from configuration.settings import Settings
from configuration.stages import RungSettings
from configuration.texts import texts_with
from fallbacks.events import RetryPlanned
from fallbacks.failure import Failure, ServiceError
from operations.keep_running import at_work, keep_running
from operations.retrying import Retries
from processors.holding.utterance_rules import NUMBER, OF_AGENT, FallbackText, in_language
from providers.provider import RungSpec

BeforeEach = Callable[[], Awaitable[None]]
"""Returns once the next text may be rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The result of rendering one clip."""

    rung: str
    text: str
    error: str = ""  # empty if the clip exists


def needed_clips(
    settings: Settings, utterances: Sequence[FallbackText]
) -> Iterator[tuple[RungSpec, str]]:
    """Yield each clip that should exist: the rung with its voice, and the text.

    The preferred rung comes first; what sounds the same for two agents is yielded once.
    """
    seen = set[str]()
    for item in settings.stages.tts:
        if item.kind == "local":
            continue  # the local voice needs no clips
        for agent in settings.all_agents:
            for rung, text in _texts_of_agent(item, agent, utterances):
                name = Clip.of(rung, text).name
                if name not in seen:
                    seen.add(name)
                    yield rung, text


def _texts_of_agent(
    settings: RungSettings, agent: AgentSettings, utterances: Sequence[FallbackText]
) -> Iterator[tuple[RungSpec, str]]:
    """Yield the texts that an agent may have to say, without those that contain a number.

    An agent that detects the caller's language needs them in every language.
    """
    rung = rung_of(settings, "tts", agent=agent, sample_rate_hz=RATE_HZ)
    utterances = [
        utterance
        for utterance in utterances
        if NUMBER not in utterance.text and utterance.situation not in OF_AGENT
    ]
    if agent.language != DETECTED:
        yield from (
            (rung, fallback_text.text) for fallback_text in in_language(utterances, agent.language)
        )
        return
    for language in dict.fromkeys(utterance.language for utterance in utterances):
        voice = replace(rung, language=language) if settings.language is None else rung
        yield from (
            (voice, fallback_text.text)
            for fallback_text in utterances
            if fallback_text.language == language
        )


async def render_missing(
    settings: Settings,
    utterances: Sequence[FallbackText],
    store: ClipStore,
    *,
    retries: Retries,
    before_each: BeforeEach | None = None,
) -> AsyncIterator[Rendered]:
    """Render missing clips, save them, and yield each result.

    When a voice has failed in all retries, its remaining texts in that language are skipped.

    Args:
        settings: The rungs and the agents.
        utterances: All texts.
        store: The store of clips.
        retries: How often to retry a voice that fails.
        before_each: Awaited before each text and each retry; returns once it may be rendered.
    """
    missing = await asyncio.to_thread(_missing_clips, settings, utterances, store)
    if before_each:
        retries = replace(
            retries, sleep=partial(_pause_before_retry, before_each, sleep=retries.sleep)
        )
    for _, group in groupby(missing, key=lambda clip: (clip[0].name, clip[0].language)):
        clips = list(group)
        rung = clips[0][0]
        async with RungVoice(rung, retries) as voice:
            for _, text in clips:
                if before_each:
                    await before_each()
                try:
                    samples = await voice.say(text)
                except ServiceError as unspoken:
                    yield Rendered(
                        rung=rung.name, text=text, error=_failure_line(unspoken.failure, rung)
                    )
                    break
                await asyncio.to_thread(store.save, Clip.of(rung, text), samples)
                yield Rendered(rung=rung.name, text=text)


async def _pause_before_retry(
    before_each: BeforeEach, wait_s: float, *, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Pause for `wait_s` before a retry, then wait until `before_each` permits it."""
    await sleep(wait_s)
    await before_each()


def _failure_line(failure: Failure, rung: RungSpec) -> str:
    return f"{explain(failure.kind, failure.reason, rung.vendor)}; {cure_of(failure.kind)}"


def _missing_clips(
    settings: Settings, utterances: Sequence[FallbackText], store: ClipStore
) -> list[tuple[RungSpec, str]]:
    """Return the clips that are needed and not stored, each as a rung and a text."""
    return [
        (rung, text)
        for rung, text in needed_clips(settings, utterances)
        if not store.has(Clip.of(rung, text))
    ]


CALLS_CHECK_S: Final = 0.5  # between two checks for calls in progress
NO_CALLS_S: Final = 10.0  # without calls before rendering begins: calls come first (chosen)
NEXT_ROUND_S: Final = 600.0  # until the next round, after a voice failed


@asynccontextmanager
async def keep_clips(
    settings: Settings,
    utterances: tuple[FallbackText, ...],
    store: ClipStore,
    *,
    quiet: Callable[[], bool],
    retries: Retries,
) -> AsyncIterator[None]:
    """Render missing clips while the block runs, one text at a time; not if `hold.render` is off.

    Args:
        settings: The rungs, the agents, and whether to render at all.
        utterances: All texts.
        store: The store of clips.
        quiet: Returns whether rendering may run: no call is in progress.
        retries: How often to retry a voice that fails.
    """
    if not settings.hold.render:
        yield
        return

    rendering = partial(
        render_missing, settings, utterances, store, retries=retries, before_each=_Quiet(quiet).wait
    )
    keeping = partial(_render_until_complete, rendering, retries.emit)
    async with at_work(clips=keep_running("rendering clips", keeping)):
        yield


class _Quiet:
    """Waits until there has been no call for `NO_CALLS_S`."""

    def __init__(self, quiet: Callable[[], bool]) -> None:
        self._quiet = quiet
        self._quiet_checks = 0  # in a row

    async def wait(self) -> None:
        """Wait for `NO_CALLS_S` without a call; later waits return at once until there is one."""
        while not self._quiet() or self._quiet_checks * CALLS_CHECK_S < NO_CALLS_S:
            await asyncio.sleep(CALLS_CHECK_S)
            self._quiet_checks = self._quiet_checks + 1 if self._quiet() else 0


async def _render_until_complete(
    rendering: Callable[[], AsyncIterator[Rendered]], emit: Emit
) -> None:
    """Render in rounds, `NEXT_ROUND_S` apart, until all clips exist."""
    complete = False
    while not complete:
        complete = await _render_round(rendering(), emit)
        await asyncio.sleep(0.0 if complete else NEXT_ROUND_S)


async def _render_round(rendering: AsyncIterator[Rendered], emit: Emit) -> bool:
    """Render missing clips, log failures and emit a summary; return whether all clips exist now."""
    complete, rendered, failed = True, 0, 0
    try:
        async for item in rendering:
            rendered += not item.error
            if item.error:
                complete, failed = False, failed + 1
                logger.warning("{} could not say a clip: {}", item.rung, item.error)
    except Exception as broken:  # noqa: BLE001 - edge of the providers; calls work without clips
        complete = False
        logger.opt(exception=broken).warning("clips could not be rendered")
    if rendered or failed:
        emit(ClipsRendered(clips=rendered, failed=failed, complete=complete))
    return complete


async def render_all(settings: Settings) -> bool:
    """Render the missing clips and print the results; return False if a voice failed."""
    console = Console(soft_wrap=True, highlight=False)
    utterances = await asyncio.to_thread(texts_with, settings.hold.utterances)
    rendered, errors = Counter[str](), dict[str, str]()
    folder = clips_folder(settings)
    emit = partial(_print_retry, console, vendors_of(settings))
    retries = Retries(settings=settings.resilience.retry_settings(), emit=emit)
    rendering = render_missing(settings, utterances, ClipStore(folder), retries=retries)
    async for item in rendering:
        if item.error:
            errors[item.rung] = f'"{item.text}": {item.error}'
        else:
            rendered[item.rung] += 1
    for rung in settings.stages.tts:
        if rung.kind == "local":
            console.print(f"{rung.name}: local, needs no clips")
            continue
        failed = f"; failed at {errors[rung.name]}" if rung.name in errors else ""
        console.print(f"{rung.name}: {rendered[rung.name]} rendered{failed}")
    console.print(f"in {folder}")
    return not errors


def _print_retry(console: Console, vendors: Vendors, event: Event) -> None:
    """Print an event if it is a planned retry, which explains the wait."""
    if isinstance(event, RetryPlanned):
        console.print(planned_retry(event, vendors))
