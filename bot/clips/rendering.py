"""Renders clips: each text, in each speaking rung's voice, through that provider's own service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from bot.clips.store import RATE_HZ, Clip, ClipStore
from bot.clips.voice import RungVoice
from bot.config.agent import AgentSettings
from bot.config.rungs import DETECTED, rung_of
from bot.config.settings import Settings
from bot.config.stages import RungSettings
from fallbacks.failure import Failure, ServiceError
from operations.retrying import Retries
from processors.holding.utterance_rules import FallbackText, in_language
from providers.provider import RungSpec

Go = Callable[[], Awaitable[None]]
"""Returns when the next text may be rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What became of one clip."""

    rung: str
    text: str
    error: str = ""  # empty: it is there


def wanted(
    settings: Settings, utterances: Sequence[FallbackText]
) -> Iterator[tuple[RungSpec, str]]:
    """Yield each text with each speaking rung, the preferred one's first; no pair twice."""
    seen = set[str]()
    for each in settings.stages.tts:
        if each.kind == "local":
            continue  # speaks at once, and needs nothing ahead
        for agent in (settings.agent, *settings.agents.values()):
            for rung, text in _of_agent(each, agent, utterances):
                name = Clip.of(rung, text).name
                if name not in seen:
                    seen.add(name)
                    yield rung, text


def _of_agent(
    settings: RungSettings, agent: AgentSettings, utterances: Sequence[FallbackText]
) -> Iterator[tuple[RungSpec, str]]:
    """Yield what an agent may have to say; in all languages if it follows its callers."""
    rung = rung_of(settings, "tts", agent=agent, sample_rate_hz=RATE_HZ)
    if agent.language != DETECTED:
        yield from ((rung, each.text) for each in in_language(utterances, agent.language))
        return
    for language in dict.fromkeys(each.language for each in utterances):
        voice = replace(rung, language=language) if settings.language is None else rung
        yield from ((voice, each.text) for each in in_language(utterances, language))


async def render_missing(
    settings: Settings,
    utterances: Sequence[FallbackText],
    store: ClipStore,
    *,
    retries: Retries,
    go: Go | None = None,
) -> AsyncIterator[Rendered]:
    """Render what is not there yet; a voice that fails for good is not asked for its other texts.

    Args:
        settings: The rungs and the agents.
        utterances: All texts.
        store: Where clips are kept.
        retries: How often a voice that fails is asked again.
        go: Waits for the moment at which the next text may be asked for.
    """
    missing = await asyncio.to_thread(_missing, settings, utterances, store)
    if go:
        retries = replace(retries, sleep=partial(_sleep_then, go, sleep=retries.sleep))
    for _, pairs in groupby(missing, key=lambda pair: (pair[0].name, pair[0].language)):
        rung, *_ = (texts := list(pairs))[0]
        async with RungVoice(rung, retries) as mouth:
            for _, text in texts:
                if go:
                    await go()
                try:
                    samples = await mouth.say(text)
                except ServiceError as unspoken:
                    yield Rendered(rung=rung.name, text=text, error=_line(unspoken.failure))
                    break
                await asyncio.to_thread(store.save, Clip.of(rung, text), samples)
                yield Rendered(rung=rung.name, text=text)


async def _sleep_then(go: Go, wait_s: float, *, sleep: Callable[[float], Awaitable[None]]) -> None:
    await sleep(wait_s)
    await go()


def _line(failure: Failure) -> str:
    return f"{failure.kind.value}: {failure.reason}"


def _missing(
    settings: Settings, utterances: Sequence[FallbackText], store: ClipStore
) -> list[tuple[RungSpec, str]]:
    return [
        (rung, text)
        for rung, text in wanted(settings, utterances)
        if not store.has(Clip.of(rung, text))
    ]
