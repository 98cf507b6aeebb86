"""Saves what another process needs to resume a call, and resumes one."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, cast

from loguru import logger
from pipecat.frames.frames import LLMRunFrame, TTSSpeakFrame
from pipecat.processors.aggregators.llm_context import LLMContextMessage

from bot.call.conversation import opening_frames
from bot.call.pipeline import CallPipeline
from bot.do_not_call.requests import kept_number, list_again
from calls.events import (
    AgentSaid,
    CallbackWanted,
    CallerStarted,
    CallerStopped,
    CallKept,
    CallNotKept,
    Event,
    TurnDecided,
)
from calls.plain_values import from_plain
from calls.resume import (
    Next,
    ResumePlace,
    ResumeState,
    conversation,
    next_step,
    unheard,
    without_last,
)
from configuration.agent import AgentSettings
from configuration.texts import sentence
from operations.record.callbacks import Callback
from processors.answerer.watch import VOICEMAIL
from processors.holding.farewell import PartFrame
from processors.holding.own_voice import OUTAGE
from processors.holding.utterance_rules import DEFAULT_LANGUAGE, Situation
from processors.turn.floor import FloorEvent, ReplyState, TurnBegan, TurnClosed, WordsCame

CHANGE_CHECK_S: Final = 0.5  # between two checks for a change
AT_ONCE: Final = (CallerStarted, CallerStopped, TurnBegan, TurnClosed, TurnDecided)
DISCLOSURE: Final = "disclosure"  # under way: the caller has not heard all of it
WANTED: Final = "wanted"  # a callback that is stored: the report of the call has it
DISCLOSED_TURNS: Final = 2  # of the caller; then it counts as heard (chosen: it takes some seconds)
SAVE_AGAIN_S: Final = 10.0  # save again after this time even without a change: saved states expire


class StateSender:
    """Sends a call's resume state to its store whenever it changes."""

    def __init__(
        self,
        parked: ResumePlace,
        state: Callable[[], ResumeState],
        *,
        emit: Callable[[Event], None],
    ) -> None:
        self._parked = parked
        self._emit = emit
        self._was_on_one_machine = False
        self._state = state
        self._kept: ResumeState | None = None
        self._at_once = asyncio.Event()
        self._keeping = asyncio.Lock()  # a tool waits for a state of it that is on its way
        self._is_ours = True

    async def run(self) -> None:
        """Save the state when it has changed or after `SAVE_AGAIN_S`, until cancelled."""
        while True:
            await self.keep()
            with suppress(TimeoutError):
                async with asyncio.timeout(CHANGE_CHECK_S):
                    await self._at_once.wait()
            self._at_once.clear()

    def follow(self, event: FloorEvent | Event) -> None:
        """Make `run` save at once what the caller says; words that may still change can wait."""
        if isinstance(event, AT_ONCE) or (isinstance(event, WordsCame) and event.final):
            self._at_once.set()

    async def keep(self) -> bool:
        """Save the state if it has changed or is `SAVE_AGAIN_S` old; an error is only logged.

        Returns False if another process has taken the call up. Emits `CallNotKept` if no other
        machine could go on with the call, and `CallKept` once one could.
        """
        try:
            async with self._keeping:
                state, kept = self._state(), self._kept
                if kept is None or state != kept or state.kept_at - kept.kept_at >= SAVE_AGAIN_S:
                    self._kept = state
                    self._is_ours = await self._parked.keep(state)
                    self._emit_if_changed()
        except Exception as broken:  # noqa: BLE001 - the call continues without it
            logger.opt(exception=broken).error("the resume state of a call was not saved")
        return self._is_ours

    def _emit_if_changed(self) -> None:
        """Emit that the call is not kept on another machine, and later that it is."""
        before = self._was_on_one_machine
        self._was_on_one_machine = self._parked.is_on_one_machine
        if self._was_on_one_machine != before:
            self._emit(CallKept() if before else CallNotKept())


def state_of(
    pipeline: CallPipeline, *, call_id: str, began_at: float, entries: int, unsure: int, now: float
) -> ResumeState:
    """Return what another process would need to resume the call now.

    Args:
        pipeline: The call's pipeline.
        call_id: The call's id in the record.
        began_at: When the call began, on the machine's monotonic clock.
        entries: How many entries the call has made in the record.
        unsure: How many of the last words may not have been heard.
        now: The time on the same clock.
    """
    dialogue, floor, speech = pipeline.dialogue, pipeline.floor, pipeline.tts.queue.speech
    messages = [dict(message) for message in dialogue.memory.messages if isinstance(message, dict)]
    partial = dialogue.pair.assistant().aggregation_string()
    written = ReplyState.QUEUING not in floor.reply  # else `speech` lacks the rest of its words
    is_answer_pending = not (written and pipeline.tts.queue.empty) or floor.is_agent_audible(now)
    spoken = [item.get("content") for item in messages[speech.since :] if _is_spoken(item)]
    heard = without_last(" ".join([*map(str, spoken), partial]).strip(), unsure)
    return ResumeState(
        call_id=call_id,
        began_at=began_at,
        kept_at=now,
        entries=entries,
        turn=pipeline.turn.number,
        language=pipeline.phrases.language,
        voice=pipeline.tts.speaker,
        messages=messages,
        words=_caller_words(pipeline),
        caller_speaking=floor.caller_speaking or floor.turn_open,
        said=speech.text if is_answer_pending else "",
        heard=heard if is_answer_pending else "",
        partial=without_last(partial, unsure),
        written=written,
        tools=pipeline.tools.box.kept,
        sensitive_until=pipeline.words.until,
        sensitive_said=list(pipeline.words.said),
        under_way=_under_way(pipeline),
    )


def _caller_words(pipeline: CallPipeline) -> str:
    """Return the caller's words of this turn; the aggregator gets them after the floor."""
    collected = pipeline.dialogue.pair.user().aggregation_string()
    return max(collected, pipeline.floor.words_so_far, key=len)


def _under_way(pipeline: CallPipeline) -> dict[str, Any]:
    """Return what is not finished, and an opt-out, by its part of the call."""
    found: dict[str, Any] = {
        "ending": _ending_under_way(pipeline),
        "keys": pipeline.keypad.kept,
        "menu": pipeline.hold_line.decision.outage.kept,
        "transfer": pipeline.transfer.kept if pipeline.transfer else {},
        "callbacks": [_plain_callback(item) for item in pipeline.requests.owed],
        "opt_out": kept_number(pipeline.opt_out) if pipeline.opt_out else {},
    }
    return {name: kept for name, kept in found.items() if kept}


def _plain_callback(callback: Callback) -> dict[str, str]:
    return asdict(callback) | {"asked_at": callback.asked_at.isoformat()}


def _callback_from_plain(plain: Mapping[str, Any]) -> Callback:
    asked_at = datetime.fromisoformat(plain["asked_at"]).astimezone(UTC)
    return cast("Callback", from_plain(Callback, {**plain, "asked_at": asked_at}))


def _ending_under_way(pipeline: CallPipeline) -> dict[str, Any]:
    """Return the end of the call that is under way, with what must still be said."""
    ending = {"reason": VOICEMAIL, "words": "", "final": True}
    if pipeline.answerer and pipeline.answerer.leaving:
        return ending
    if pipeline.hold_line.decision.outage.over:
        return ending | {"reason": OUTAGE, "words": _phrase_for(pipeline, Situation.GOODBYE)}
    return pipeline.farewell.kept


def has_heard(state: ResumeState, words: str) -> bool:
    """Return whether the caller has heard all these words of the agent's opening.

    After `DISCLOSED_TURNS` of the caller's turns, they count as heard.
    """
    messages = state.messages
    said = [str(item["content"]) for item in messages if _is_spoken(dict(item))]
    turns = sum(item.get("role") == "user" for item in messages)
    return turns >= DISCLOSED_TURNS or not unheard(words, " ".join([*said, state.partial]))


def is_quiet(pipeline: CallPipeline, state: ResumeState, now: float) -> bool:
    """Return whether all are silent, nothing is pending, and no tool runs.

    An opt-out may be pending, because any process can list the number.
    """
    floor, pending = pipeline.floor, state.under_way.keys() - {"opt_out", WANTED}
    busy = floor.caller_speaking or floor.turn_open or floor.unanswered or pending
    if busy or floor.is_agent_audible(now) or any(tool.result is None for tool in state.tools):
        return False
    return next_step(state)[0] is Next.LISTEN


def take_up(pipeline: CallPipeline, state: ResumeState, *, now: float) -> None:
    """Give a new call the state of the call that it resumes; nothing is spoken yet.

    Emits the last words that were heard, if no process has, and a callback that was stored. A part
    that cannot be restored is logged and left out.
    """
    if messages := conversation(state):
        pipeline.dialogue.memory.set_messages(cast("list[LLMContextMessage]", messages))
    pipeline.tools.box.restore(state.tools)
    pipeline.tts.speaker = state.voice
    if state.partial and not state.moved:  # the process of a moved call has reported it
        pipeline.outside(AgentSaid(turn=state.turn, text=state.partial))
    restores: dict[str, Callable[[Any], None]] = {
        "keys": pipeline.keypad.restore,
        "menu": lambda kept: pipeline.hold_line.decision.outage.restore(kept, now),
        "callbacks": lambda kept: pipeline.requests.owed.extend(map(_callback_from_plain, kept)),
        WANTED: lambda kept: pipeline.outside(from_plain(CallbackWanted, kept)),
    }
    if pipeline.opt_out:
        restores["opt_out"] = partial(list_again, pipeline.opt_out)
    for name in restores.keys() & state.under_way.keys():
        with _left_out_if_damaged(name):
            restores[name](state.under_way[name])


@contextmanager
def _left_out_if_damaged(name: str) -> Iterator[None]:
    """Log an error of a part of a resumed call that cannot be restored; the call goes on."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
        logger.error("{} of a resumed call cannot be restored: {!r}", name, error)


async def speak_first(
    pipeline: CallPipeline, agent: AgentSettings, before: ResumeState | None = None
) -> None:
    """Speak the opening of a new or resumed call, and then go on with what was under way.

    If the call was ending, only the rest of its goodbye is spoken. A disclosure that was not heard
    whole is spoken again, with what follows it. A call that was moved on purpose has no new
    opening. If a transfer goes on, nothing else does.
    """
    under_way = before.under_way if before else {}
    if before and (ending := under_way.get("ending")):
        with _left_out_if_damaged("ending"):
            await pipeline.worker.queue_frame(_rest_of_goodbye(before, ending, agent.farewell))
            return
    step, rest = next_step(before) if before else (Next.LISTEN, "")
    disclosed = DISCLOSURE not in under_way
    if "opening" in under_way or not (disclosed or step is Next.ASK):
        before, step = None, Next.LISTEN
    if not (before and before.moved):
        resumed = _resumed_greeting(pipeline, agent, step) if before else ""
        is_owed = step in (Next.SAY, Next.ASK)
        for frame in opening_frames(agent, resumed=resumed, disclosed=disclosed, owed=is_owed):
            await pipeline.tts.queue_frame(frame)
    transfer = under_way.get("transfer")
    with _left_out_if_damaged("transfer"):
        if transfer and pipeline.transfer and await pipeline.transfer.restore(transfer):
            return
    if step is Next.SAY:
        await pipeline.tts.queue_frame(TTSSpeakFrame(rest))
    elif step is Next.ASK:
        await pipeline.dialogue.pair.user().queue_frame(LLMRunFrame())


def _rest_of_goodbye(
    state: ResumeState, ending: Mapping[str, Any], farewell: str | None
) -> PartFrame:
    """Return the frame that says what was not heard of a goodbye, and ends the call."""
    unsaid = from_plain(str, ending["words"]) or ("" if state.written else farewell)
    words = [unheard(state.said, state.heard), unsaid]
    text, reason = " ".join(filter(None, words)), from_plain(str, ending["reason"])
    return PartFrame(reason=reason, words=text or None, final=from_plain(bool, ending["final"]))


async def keep(
    pipeline: CallPipeline,
    place: ResumePlace,
    state: Callable[[], ResumeState],
    *,
    emit: Callable[[Event], None],
) -> None:
    """Save the state until cancelled, also before each tool runs, so that no tool runs twice.

    To be called once for each pipeline: it registers listeners.
    """
    sender = StateSender(place, state, emit=emit)
    pipeline.floor.listeners.append(sender.follow)
    pipeline.listeners.append(sender.follow)
    pipeline.tools.box.before_each = sender.keep
    await sender.run()


def _resumed_greeting(pipeline: CallPipeline, agent: AgentSettings, step: Next) -> str:
    """Return what replaces the greeting in a resumed call."""
    back = agent.resumed or _phrase_for(pipeline, Situation.RESUMED)
    texts = [back or sentence(Situation.RESUMED, DEFAULT_LANGUAGE)]
    if step is Next.REPEAT:
        texts.append(_phrase_for(pipeline, Situation.SAY_AGAIN))
    return " ".join(texts).strip()


def _phrase_for(pipeline: CallPipeline, situation: Situation) -> str:
    found = pipeline.phrases.choose((situation,), topical=False, again=True)
    return found.text if found else ""


def _is_spoken(message: dict[str, Any]) -> bool:
    return message.get("role") == "assistant" and isinstance(message.get("content"), str)
