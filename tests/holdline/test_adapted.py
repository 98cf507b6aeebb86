"""Ladders whose first rungs are Pipecat's own services, behind the adapter, in a stock bot."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pipecat.frames.frames import (
    LLMUpdateSettingsFrame,
    STTUpdateSettingsFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.services.anthropic.llm import AnthropicLLMService
from pipecat.services.deepgram.tts import DeepgramTTSService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.services.soniox.stt import SonioxSTTService

from fallbacks.events import AttemptFailed
from holdline import Ladders, rung
from lab.drill.matching import TELEPHONE, EarPath
from lab.drill.rows import HAIRCUT
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Core
from lab.simulators.lab import DEFAULT, Lab, Spec
from lab.simulators.receptionist.phrases import hours, price
from lab.simulators.schedule import Window
from tests.holdline.stock_bot import StockCall, arguments, stock_call
from tests.kit.caller import words
from tests.lab.simulators.near_ears import bring_near

pytestmark = pytest.mark.virtual_time

PRICE = price("haircut")
HOURS_QUESTION = "When are you open?"
FIRST: dict[str, tuple[type, str]] = {
    "soniox": (SonioxSTTService, "url"),
    "anthropic": (AnthropicLLMService, "url"),
    "openai-voice": (OpenAITTSService, "base_url"),
    "aura": (DeepgramTTSService, "base_url"),
}
MORE = [
    Spec(name="soniox", kind="soniox"),
    Spec(name="anthropic", kind="anthropic"),
    Spec(name="openai-voice", kind="openai"),
    Spec(name="aura", kind="aura"),
]
ROWS: dict[str, tuple[str, Fault | None]] = {
    "healthy": ("soniox", None),
    "stt-dead-mid": ("soniox", faults.Refuse()),
    "llm-cut-4": ("anthropic", faults.Cut(after_words=4)),
    "tts-cut-4": ("openai-voice", faults.Cut(after_words=4)),
}
# OpenAI's voice speaks at 24 kHz, and the line has 8 kHz.
RESAMPLED = EarPath(alike=0.93, short_alike=0.95, band_hz=(300, 3000), finer=8)
QUICK = ("tts-cut-4",)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    core = Core(steady=True)
    async with bring_near(Lab((*DEFAULT, *MORE), core=core, speed=1.25, keep_audio=True)) as lab:
        yield lab


def adapted(lab: Lab, *, voice: str = "openai-voice", **options: Any) -> Ladders:
    """Return ladders whose first rungs are adapted, and whose second ones are our own."""

    def first(name: str) -> Any:
        service, place = FIRST[name]
        peer = lab.instance(name)
        return rung(service, name=name, **{"api_key": peer.api_key, place: peer.url})

    def second(name: str) -> Any:
        service, given = arguments(lab, name)
        return rung(service, name=name, **given)

    return Ladders(
        stt=[first("soniox"), second("deepgram")],
        llm=[first("anthropic"), second("openai")],
        tts=[first(voice), second("cartesia")],
        **options,
    )


async def ask_while_broken(call: StockCall, name: str, fault: Fault | None, *, mid: bool) -> None:
    async def break_it() -> None:
        await asyncio.sleep(0.6 if mid else 0.0)
        call.lab.instance(name).set_faults([Window(fault=fault)] if fault else [])

    await asyncio.sleep(1.0)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(break_it())
        await asyncio.sleep(0.0 if mid else 0.1)
        await call.ask(HAIRCUT)


@pytest.mark.parametrize(
    "row", [row if row in QUICK else pytest.param(row, marks=pytest.mark.slow) for row in ROWS]
)
async def test_every_word_is_heard_once_with_any_of_pipecats_services(lab: Lab, row: str) -> None:
    name, fault = ROWS[row]
    async with stock_call(lab, make=adapted) as call:
        await ask_while_broken(call, name, fault, mid=row.endswith("-mid"))
        verdict = await call.heard(PRICE, path=RESAMPLED)

    assert verdict.whole, (verdict.missing, verdict.extra, call.told)
    assert [words(text) for text in call.said("user")] == [words(HAIRCUT)]
    assert words(" ".join(call.said("assistant"))) == words(PRICE)
    failed = {event.provider for event in call.facts(AttemptFailed)}
    assert failed == ({name} if fault else set())


async def test_the_context_has_what_was_heard_of_a_voice_without_word_times(lab: Lab) -> None:
    async with stock_call(lab, make=adapted, voice="aura") as call:
        await asyncio.sleep(1.0)
        await call.say(HAIRCUT)
        await call.until(lambda: call.line.length_s > 3.0)
        await call.ask(HOURS_QUESTION)
        cut = await call.heard(PRICE, path=TELEPHONE)
        answer = await call.heard(hours(""), path=TELEPHONE)

    first, second = call.said("assistant")
    assert 3 < len(words(first)) < len(words(PRICE))
    assert words(first) == words(PRICE)[: len(words(first))]
    assert abs(len(words(first)) - len(cut.words)) <= 1
    assert answer.whole, (answer.missing, answer.extra)
    assert words(second) == words(hours(""))


async def test_what_pipecat_adds_for_functions_is_sent_by_every_rung(lab: Lab) -> None:
    async with stock_call(lab, make=adapted) as call:
        assert call.call
        llm = call.call.llm
        llm.register_function("book", print, cancel_on_interruption=False, cancellable_by_llm=True)
        llm.append_system_instruction("Be brief.")
        await asyncio.sleep(1.0)
        lab.instance("anthropic").set_faults([Window(fault=faults.Cut(after_words=4))])
        await call.ask(HAIRCUT)

    for model in llm._models.values():
        assert list(model._adapter.builtin_tools) == ["cancel_book"]
        said = model._settings.system_instruction
        assert (said.startswith("Be brief."), "ASYNC TOOLS" in said) == (True, True)
    (asked,) = lab.instance("openai").record.requests("openai")
    assert asked.details["tools"] == 1
    assert [words(text) for text in call.said("assistant")] == [words(PRICE)]


async def test_new_settings_reach_all_rungs_but_names_only_those_of_their_vendor(lab: Lab) -> None:
    async with stock_call(lab, make=adapted) as call:
        ladders: Any = call.call
        await asyncio.sleep(1.0)
        stt, tts = ladders.stt.processors[1], ladders.tts.processors[1]
        rungs = [rung.pipe.service for stage in (stt, tts) for rung in stage._rungs.values()]
        models = list(ladders.llm._models.values())
        before = models[1]._settings.model
        sent = [
            STTUpdateSettingsFrame(
                delta=SonioxSTTService.Settings(model="other"), service=ladders.stt
            ),
            LLMUpdateSettingsFrame(
                delta=AnthropicLLMService.Settings(model="other", system_instruction="Be brief.")
            ),
            TTSUpdateSettingsFrame(
                delta=OpenAITTSService.Settings(voice="echo", language="es"), service=ladders.tts
            ),
        ]
        await call.worker.queue_frames(sent)
        await asyncio.sleep(2.0)

    soniox, deepgram, openai, cartesia = (item._settings for item in rungs)
    assert (soniox.model, deepgram.model) == ("other", "nova-3")
    assert [item._settings.model for item in models] == ["other", before]
    assert {item._settings.system_instruction for item in models} == {"Be brief."}
    assert (openai.voice, cartesia.voice != "echo") == ("echo", True)
    assert {str(item.language) for item in (openai, cartesia)} == {"es"}
