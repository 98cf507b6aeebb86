"""Keeps what another process needs to go on with a call, and goes on with one."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from pipecat.frames.frames import LLMRunFrame, TTSSpeakFrame
from pipecat.processors.aggregators.llm_context import LLMContextMessage

from bot.call.assembly import Assembled
from calls.events import AgentSaid
from calls.resume import Next, Parked, ResumeState, conversation, next_step

EACH_S: Final = 0.5
AGAIN_S: Final = 10.0  # though nothing has changed: what is kept is forgotten in the end


class Keeper:
    """Has a call's resume state kept while it changes."""

    def __init__(self, parked: Parked, state: Callable[[], ResumeState]) -> None:
        self._parked = parked
        self._state = state
        self._kept: ResumeState | None = None

    async def run(self) -> None:
        """Keep it until cancelled."""
        while True:
            await self.keep()
            await asyncio.sleep(EACH_S)

    async def keep(self) -> None:
        """Keep it now, if it has changed."""
        state, kept = self._state(), self._kept
        if kept is None or state != kept or state.kept_at - kept.kept_at >= AGAIN_S:
            self._kept = state
            await self._parked.keep(state)


def state_of(
    parts: Assembled, *, call_id: str, began_at: float, entries: int, now: float
) -> ResumeState:
    """Return what another process would need to go on with a call now."""
    messages = [dict(each) for each in parts.context.messages if isinstance(each, dict)]
    speech, partial = parts.services.tts.agenda.speech, parts.pair.assistant().aggregation_string()
    speaks = parts.speaks(now)
    heard = [each.get("content") for each in messages[speech.since :] if _is_spoken(each)]
    return ResumeState(
        call_id=call_id,
        began_at=began_at,
        kept_at=now,
        entries=entries,
        turn=parts.wiring.turn.number,
        language=parts.phrases.language,
        voice=parts.services.tts.speaker,
        messages=messages,
        words=parts.pair.user().aggregation_string(),
        said=speech.text if speaks else "",
        heard=" ".join([*map(str, heard), partial]).strip() if speaks else "",
        partial=partial,
        written=parts.services.tts.agenda.written,
        tools=parts.tools.box.kept,
    )


def take_up(parts: Assembled, state: ResumeState) -> None:
    """Have a call that begins here know what was before."""
    parts.context.set_messages(cast("list[LLMContextMessage]", conversation(state)))
    parts.tools.box.restore(state.tools)
    parts.services.tts.speaker = state.voice
    if state.partial:
        parts.wiring.outside(AgentSaid(turn=state.turn, text=state.partial))


async def go_on(parts: Assembled, state: ResumeState) -> None:
    """Say the rest of the answer, or have the model asked; the caller has been told of the cut."""
    step, rest = next_step(state)
    if step is Next.SAY:
        await parts.services.tts.queue_frame(TTSSpeakFrame(rest))
    elif step is Next.ASK:
        await parts.pair.user().queue_frame(LLMRunFrame())


def _is_spoken(message: dict[str, Any]) -> bool:
    return message.get("role") == "assistant" and isinstance(message.get("content"), str)
