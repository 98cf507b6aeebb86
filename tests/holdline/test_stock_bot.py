"""Ladders in a stock Pipecat bot: every word once, whatever fails; the same bot without them."""

import asyncio
from typing import Any

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMTextFrame,
    MetricsFrame,
    TTSSpeakFrame,
)
from pipecat.processors.aggregators.llm_response_universal import LLMUserAggregator
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.processors.frameworks.rtvi import RTVIProcessor
from pipecat.services.llm_service import FunctionCallParams
from pydantic import BaseModel

from benchmarks.stock_pipecat import switchers
from calls.events import TurnDecided
from fallbacks.events import AttemptStarted
from lab.drill.rows import HAIRCUT
from lab.process import with_lab
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.lab import Lab
from lab.simulators.receptionist.phrases import hours, price
from lab.simulators.schedule import Window
from processors.answering.stage import LlmStage
from processors.speaking.speech_queue import TakeBackFrame
from tests.holdline.stock_bot import StockCall, ladders, stock_call
from tests.kit.caller import words
from tests.kit.near import running

pytestmark = pytest.mark.virtual_time

PRICE = price("haircut")
BEFORE_S = 1.0  # for all connections, before anything fails
HOURS_QUESTION = "When are you open?"
MID_S = 0.6  # after the caller's first word
ROWS: dict[str, tuple[str, Fault]] = {
    "tts-cut-4": ("cartesia", faults.Cut(after_words=4)),
    "llm-cut-4": ("openai", faults.Cut(after_words=4)),
    "stt-dead-mid": ("deepgram", faults.Refuse()),
}


async def ask_while_broken(call: StockCall, row: str) -> None:
    """Let the caller ask, and break a provider before that or in the middle of it."""
    name, fault = ROWS[row]
    in_speech = row.endswith("-mid")

    async def break_it() -> None:
        await asyncio.sleep(MID_S if in_speech else 0.0)
        call.lab.instance(name).set_faults([Window(fault=fault)])

    await asyncio.sleep(BEFORE_S)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(break_it())
        await asyncio.sleep(0.0 if in_speech else 0.1)
        await call.ask(HAIRCUT)


@pytest.mark.parametrize("after_s", [0.5, pytest.param(1.15, marks=pytest.mark.slow)])
async def test_a_recogniser_that_dies_while_the_caller_speaks_delays_no_answer(
    lab: Lab, after_s: float
) -> None:
    async def die() -> None:
        await asyncio.sleep(after_s)
        lab.instance("deepgram").set_faults([Window(fault=faults.Refuse())])

    async with stock_call(lab) as call, asyncio.TaskGroup() as tasks:
        await asyncio.sleep(BEFORE_S)
        tasks.create_task(die())
        await call.ask(HAIRCUT)
        verdict = await call.heard(PRICE)

    assert verdict.whole, (verdict.missing, verdict.extra)
    assert verdict.first_word_s
    assert verdict.first_word_s <= 1.6  # 0.6 s for the whole question in another stream
    asked = [event for event in call.facts(AttemptStarted) if event.stage == "llm"]
    assert len(asked) == 1
    assert [words(text) for text in call.said("user")] == [words(HAIRCUT)]
    assert words(" ".join(call.said("assistant"))) == words(PRICE)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
async def test_the_same_bot_without_ladders_loses_words(lab: Lab, row: str) -> None:
    settings = with_lab(running(lab), {})
    async with stock_call(lab, switchers(settings)) as call:
        await ask_while_broken(call, row)
        verdict = await call.heard(PRICE)

    assert not verdict.whole or call.said("user") != [HAIRCUT]


async def test_the_context_has_what_was_heard_of_an_interrupted_reply(lab: Lab) -> None:
    async with stock_call(lab) as call:
        await asyncio.sleep(BEFORE_S)
        await call.say(HAIRCUT)
        await call.until(lambda: call.line.length_s > 3.0)
        await call.ask(HOURS_QUESTION)
        cut = await call.heard(PRICE)
        answer = await call.heard(hours(""))

    first, second = call.said("assistant")
    assert 3 < len(words(first)) < len(words(PRICE))
    assert words(first) == words(PRICE)[: len(words(first))]
    assert abs(len(words(first)) - len(cut.words)) <= 1
    assert answer.whole, (answer.missing, answer.extra)
    assert words(second) == words(hours(""))


async def test_a_tool_is_called_once_and_its_result_is_spoken_if_a_model_refuses(lab: Lab) -> None:
    asked: list[str] = []

    async def opening_hours(params: FunctionCallParams) -> None:
        asked.append(params.function_name)
        await params.result_callback("From seven to seven on weekdays.")

    tool = FunctionSchema("opening_hours", "When the shop is open.", properties={}, required=[])
    async with stock_call(lab, tools=ToolsSchema(standard_tools=[tool])) as call:
        assert call.call
        call.call.llm.register_function("opening_hours", opening_hours)
        await asyncio.sleep(BEFORE_S)
        lab.instance("openai").set_faults([Window(fault=faults.Http(status=503))])
        await call.ask("What are your opening hours?")

    assert asked == ["opening_hours"]
    assert "from seven to seven on weekdays" in " ".join(call.said("assistant")).lower()


@pytest.mark.parametrize("limit_s", [None, 2.0], ids=["interrupted", "late"])
async def test_a_tool_that_pipecat_cancels_counts_as_cancelled(
    lab: Lab, limit_s: float | None
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def opening_hours(_: FunctionCallParams) -> None:
        began.set()
        try:
            await asyncio.sleep(60.0)
        finally:
            ended.set()

    tool = FunctionSchema("opening_hours", "When the shop is open.", properties={}, required=[])
    async with stock_call(lab, tools=ToolsSchema(standard_tools=[tool])) as call:
        assert call.call
        call.call.llm.register_function("opening_hours", opening_hours, timeout_secs=limit_s)
        await asyncio.sleep(BEFORE_S)
        await call.say("What are your opening hours?")
        await began.wait()
        await call.ask(HAIRCUT)
        assert ended.is_set()

    assert call.said("tool") == ['"CANCELLED"']
    assert words(call.said("assistant")[-1]) == words(PRICE)


class ToldClient(RTVIProcessor):
    """Keeps what Pipecat tells its clients."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[dict[str, Any]] = []

    async def push_transport_message(self, model: BaseModel, exclude_none: bool = True) -> None:  # noqa: FBT001, FBT002 - Pipecat's signature
        self.told.append(model.model_dump(exclude_none=exclude_none))

    def words(self, kind: str, between: str = " ") -> list[str]:
        """Return the words of all final messages of one kind."""
        data = (message["data"] for message in self.told if message.get("type") == kind)
        return words(between.join(item["text"] for item in data if item.get("final", True)))


@pytest.mark.parametrize("broken", ["cartesia", "openai"])
async def test_pipecats_clients_and_its_turn_events_have_each_word_once(
    lab: Lab, broken: str
) -> None:
    client, turns = ToldClient(), list[tuple[str, str]]()

    async def note(aggregator: FrameProcessor, *given: Any) -> None:
        side = "user" if isinstance(aggregator, LLMUserAggregator) else "assistant"
        turns.append((side, str(given[-1].content)))

    async with stock_call(lab, rtvi=client) as call:
        call.pair.user().event_handler("on_user_turn_stopped")(note)
        call.pair.assistant().event_handler("on_assistant_turn_stopped")(note)
        await asyncio.sleep(BEFORE_S)
        lab.instance(broken).set_faults([Window(fault=faults.Cut(after_words=4))])
        await call.ask(HAIRCUT)

    assert client.words("user-transcription") == words(HAIRCUT)
    assert client.words("bot-llm-text", between="") == words(PRICE)
    assert client.words("bot-tts-text") == words(PRICE)
    assert [(side, words(text)) for side, text in turns] == [
        ("user", words(HAIRCUT)),
        ("assistant", words(PRICE)),
    ]


async def test_a_word_of_an_answer_is_pushed_once_it_is_complete(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = list[str]()

    async def keep(_: LlmStage, frame: Frame, *__: Any) -> None:
        pushed.append(frame.text if isinstance(frame, LLMTextFrame) else type(frame).__name__)

    monkeypatch.setattr(LlmStage, "push_frame", keep)
    llm = ladders(lab).llm
    parts = ["A hair", "cut for", TakeBackFrame(characters=3), "from. Now", " 12"]
    for part in (
        *parts,
        MetricsFrame(data=[]),
        LLMFullResponseEndFrame(),
        "1",
        InterruptionFrame(),
    ):
        await llm.push_frame(LLMTextFrame(part) if isinstance(part, str) else part)
    await llm.push_frame(LLMFullResponseEndFrame())

    said = ["A ", "haircut ", "from. ", "Now ", "MetricsFrame", "12", "LLMFullResponseEndFrame"]
    assert pushed == [*said, "InterruptionFrame", "LLMFullResponseEndFrame"]


async def test_a_bot_with_its_own_greeting_says_it_and_ends_after_its_last_words(lab: Lab) -> None:
    async with stock_call(lab) as call:
        await call.worker.queue_frames([TTSSpeakFrame("Hello, how can I help?")])
        await call.quiet()
        await call.worker.queue_frames([TTSSpeakFrame("Goodbye, and thank you."), EndFrame()])
        await call.until(call.worker.has_finished)

    assert call.said("assistant") == ["Hello, how can I help?", "Goodbye, and thank you."]


async def test_a_bot_may_speak_at_another_rate_than_it_hears(lab: Lab) -> None:
    async with stock_call(lab, rate_hz=24_000) as call:
        await asyncio.sleep(BEFORE_S)
        await call.ask(HAIRCUT)
        rates = {frame.sample_rate for _, frame in call.line.played}

    assert rates == {24_000}
    assert words(" ".join(call.said("assistant"))) == words(PRICE)


async def test_every_word_is_heard_once_in_two_turns_with_a_failure_in_each(lab: Lab) -> None:
    async with stock_call(lab) as call:
        await ask_while_broken(call, "tts-cut-4")
        call.lab.instance("openai").set_faults([Window(fault=faults.Cut(after_words=4))])
        await call.ask(HOURS_QUESTION)
        for answer in (PRICE, hours("")):
            verdict = await call.heard(answer)
            assert verdict.whole, (verdict.missing, verdict.extra, call.told)

    assert [words(text) for text in call.said("user")] == [words(HAIRCUT), words(HOURS_QUESTION)]
    assert [event.turn for event in call.facts(TurnDecided)] == [1, 2]
    assert words(" ".join(call.said("assistant"))) == words(f"{PRICE} {hours('')}")
