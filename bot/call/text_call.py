"""A call by text: a caller's lines go in; the agent's words and tool calls come out.

It has the instructions, memory, tools and model stage of a call on a line, but no recogniser and no
voice. Nothing is stored, and nobody is called or connected.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, cast

from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContextMessage
from pipecat.processors.aggregators.llm_response_universal import (
    LLMAssistantAggregator,
    LLMAssistantAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from bot.call.conversation import opening_frames, room_tokens
from bot.health.policies import build_policies
from bot.tools.built_in import Tools, sensitive_tools
from bot.tools.caller_requests import Unkept
from bot.tools.owner import call_facts
from calls.caller import clean
from calls.events import Event
from calls.sentences import cure_of, explain, vendor_at
from calls.turn import Turn
from configuration.agent import AgentSettings
from configuration.rungs import language_for_stage, rung_of, vendors_of
from configuration.settings import Settings
from fallbacks.events import AttemptFailed, StageExhausted
from fallbacks.word_times import sayable
from processors.answering.context_window import ContextWindow, Memory
from processors.answering.continuation_rules import Answer
from processors.answering.model_stream import Model
from processors.answering.spoken_text_rules import SpokenTextRule
from processors.answering.stage import LlmStage
from processors.holding.farewell import PartFrame
from processors.speaking.speech_queue import TakeBackFrame, without_half_sentence
from providers.catalog import provider
from runtime import clock
from runtime.http import open_connections
from transports.leg import LegFacts

END_PIPELINE_S: Final = 5.0  # for the pipeline to end; then it is cancelled (chosen)
SHOWN_CHARACTERS: Final = 8_000  # of one line (chosen)

Show = Callable[[str, str], None]
"""Takes what happened and its text: `agent`, `tool`, `result` or `failed`."""


class _Screen(FrameProcessor):
    """Shows the agent's words and tool calls, and notes when the agent has finished.

    It is directly above the memory, which gets the words of an answer at once: words that a model
    takes back are not remembered.
    """

    def __init__(self, show: Show, *, turn: Turn, language: str) -> None:
        super().__init__()
        self._show, self._turn, self._language = show, turn, language
        self.finished = asyncio.Event()
        self.ended = False  # whether the agent has hung up
        self._words = ""  # of the answer in progress, not shown yet
        self._answer = ""  # the text of the answer so far
        self._running = set[str]()  # the ids of tool calls
        self._answer_due = False  # whether the model will be asked about a result

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Show a frame, and pass it on; words are passed on as they are shown."""
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMFullResponseEndFrame | FunctionCallInProgressFrame | TTSSpeakFrame):
            await self._show_and_push_words()
        self._take_frame(frame)
        if not isinstance(frame, LLMTextFrame):
            await self.push_frame(frame, direction)
        if isinstance(frame, LLMFullResponseEndFrame | FunctionCallResultFrame):
            is_waiting = self._running or (self._answer_due and not self.ended)
            if not is_waiting:
                self.finished.set()

    async def _show_and_push_words(self) -> None:
        """Show and push the words collected so far, if there are any, and forget them."""
        words, self._words = clean(self._words, SHOWN_CHARACTERS), ""
        if words:
            self._show("agent", words)
            await self.push_frame(LLMTextFrame(words))

    def _take_frame(self, frame: Frame) -> None:
        """Collect an answer's words, show what is complete, and note a goodbye; pushes nothing."""
        match frame:
            case LLMFullResponseStartFrame():
                self._answer_due, self._answer = False, ""
            case LLMTextFrame(text=text):
                self._words += text
                self._answer += text
            case TakeBackFrame(unfinished=True):  # no voice would say it
                self._words = without_half_sentence(self._words, self._language)
            case TakeBackFrame(characters=characters):
                self._words = self._words[: max(0, len(self._words) - characters)]
                self._answer = self._answer[: max(0, len(self._answer) - characters)]
            case TTSSpeakFrame(text=text):
                self._show("agent", clean(text, SHOWN_CHARACTERS))
            case PartFrame(words=words):
                self.ended = True
                if words and not sayable(self._answer):
                    self._show("agent", clean(words, SHOWN_CHARACTERS))
            case _:
                self._take_call(frame)

    def _take_call(self, frame: Frame) -> None:
        """Show a tool call or its result; each result begins the deadline of the next answer."""
        match frame:
            case FunctionCallsStartedFrame(function_calls=started):
                self._running |= {call.tool_call_id for call in started}
            case FunctionCallInProgressFrame(function_name=name, arguments=arguments):
                self._show("tool", f"{name} {_shown_json(arguments)}")
            case FunctionCallResultFrame(result=result, properties=properties):
                self._show("result", _shown_json(result))
                self._running.discard(frame.tool_call_id)
                self._answer_due |= not (properties and properties.run_llm is False)
                self._turn.caller_stopped(clock.monotonic())  # the next answer's budget
            case _:
                pass


def _shown_json(value: Any) -> str:
    return clean(json.dumps(value, ensure_ascii=False, default=str), SHOWN_CHARACTERS)


class _NothingKept:
    """Accepts callbacks without storing them."""

    def __init__(self, caller: str) -> None:
        self._caller = caller

    def callback_number(self, said: str = "") -> str | Unkept:
        """Return the number to call, unless there is none."""
        return said or self._caller or Unkept.NO_NUMBER

    async def note_callback(self, reason: str, said: str = "") -> None:
        """Store nothing; the tool takes the callback for stored."""
        del reason, said


class _NobodyReached:
    """Accepts transfers to the agent's destinations without connecting the caller."""

    busy = False

    def __init__(self, agent: AgentSettings) -> None:
        self.names = tuple(agent.destinations)

    def reach(self, name: str, reason: str, *, words_first: bool = False) -> bool:
        """Return whether the destination exists."""
        del reason, words_first
        return name in self.names


class TextCall:
    """A call by text. Made by `open_text_call`."""

    def __init__(self, settings: Settings, facts: LegFacts, show: Show) -> None:
        """Build the call; nothing runs yet."""
        self._agent = agent = settings.agent_for(facts.called)
        self._vendors, self._show = vendors_of(settings), show
        self.failed = False  # whether a line got no answer
        self._told = ""  # the latest failure: a model is asked several times
        self._turn = Turn(budget_s=settings.latency.budget_s)
        self._memory = Memory(heard_s=lambda: 0.0)
        self._screen = _Screen(
            show, turn=self._turn, language=language_for_stage(agent.language, "tts")
        )
        self.tools = Tools(
            agent,
            callbacks=_NothingKept(facts.other_party),
            turn=lambda: self._turn.number,
            emit=self._show_failures,
            clock=clock.monotonic,
            people=_NobodyReached(agent),
            more=sensitive_tools(agent.sensitive.max_s) if agent.sensitive.tools else (),
            facts=call_facts("text", facts),
        )
        self._memory.set_tools(ToolsSchema(standard_tools=list(self.tools.schemas)))
        window = partial(ContextWindow, limit_tokens=room_tokens(agent), emit=self._show_failures)
        memory = LLMAssistantAggregator(
            self._memory,
            params=LLMAssistantAggregatorParams(enable_auto_context_summarization=False),
            enable_direct_mode=True,  # so that words are remembered once they are shown
        )
        stage = self._make_stage(settings)
        self.worker = PipelineWorker(
            Pipeline([window(), stage, window(), self._screen, memory]),
            enable_rtvi=False,
            enable_turn_tracking=False,
            cancel_on_idle_timeout=False,
        )

    def _make_stage(self, settings: Settings) -> LlmStage:
        """Return the ladder of models for this conversation; it shares no state with calls."""
        agent, models = self._agent, dict[str, Model]()
        for item in settings.stages.llm:
            spec = rung_of(item, "llm", agent=agent, sample_rate_hz=8000)
            models[spec.name] = cast("Model", provider("llm", spec.kind).build(spec))
        cleaning = SpokenTextRule(**agent.spoken_text.model_dump())
        return LlmStage(
            models,
            policy=build_policies(settings, clock.monotonic())["llm"],
            emit=self._show_failures,
            clock=clock.monotonic,
            turn=self._turn,
            window_tokens=room_tokens(agent),
            new_answer=partial(Answer, cleaning, max_s=agent.max_reply_s),
        )

    def greet(self) -> None:
        """Show what the agent says first, and remember it."""
        for frame in opening_frames(self._agent):
            if isinstance(frame, TTSSpeakFrame):
                self._show("agent", frame.text)
                self._remember("assistant", frame.text)

    async def say(self, words: str) -> bool:
        """Take a line of the caller; return whether the call goes on, once the agent has answered.

        As in a call, the line is cut to the length of one turn. An empty line gets no answer.
        """
        words = clean(words)
        if words and not self._screen.ended:
            self._turn.number, self._told = self._turn.number + 1, ""
            self._turn.caller_stopped(clock.monotonic())
            self._remember("user", words)
            self._screen.finished.clear()
            await self.worker.queue_frame(LLMContextFrame(self._memory))
            await self._screen.finished.wait()
        return not self._screen.ended

    async def run(self) -> None:
        """Run the pipeline to its end; then `say` waits no longer and returns False."""
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self.worker)
        try:
            await runner.run()
        finally:
            self._screen.ended = True
            self._screen.finished.set()

    def _remember(self, role: str, words: str) -> None:
        """Add a message to the model's context."""
        self._memory.add_message(cast("LLMContextMessage", {"role": role, "content": words}))

    def _show_failures(self, event: Event) -> None:
        """Show a failed attempt, unless the one before failed alike, and that none has answered."""
        match event:
            case AttemptFailed():
                vendor = vendor_at(self._vendors, event.stage, event.provider)
                sentence = explain(event.kind, event.reason, vendor)
                failure = "; ".join(filter(None, (sentence, cure_of(event.kind, sentence))))
                if failure != self._told:
                    self._show("failed", failure)
                self._told = failure
            case StageExhausted():
                self.failed = True
                self._show("failed", "no model has answered; in a call, the outage menu begins")
            case _:
                pass


@asynccontextmanager
async def open_text_call(
    settings: Settings, facts: LegFacts, show: Show
) -> AsyncIterator[TextCall]:
    """Yield a running call; end it with the block, after a short wait for its tools.

    Args:
        settings: The configuration.
        facts: The call's facts, for the choice of the agent and for tools.
        show: Takes what the agent says and does.
    """
    async with open_connections(), asyncio.TaskGroup() as tasks:
        call = TextCall(settings, facts, show)
        running = tasks.create_task(call.run(), name="text call")
        try:
            yield call
        finally:
            await call.tools.close()
            await call.worker.queue_frame(EndFrame())
            await asyncio.wait({running}, timeout=END_PIPELINE_S)
            running.cancel()
