"""Fillers and the rescue sentence of a stock bot whose providers are late or out."""

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pipecat.frames.frames import LLMConfigureOutputFrame, LLMMessagesAppendFrame
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from calls.events import AgentSaid
from fallbacks.events import AttemptFailed, HeldTheLine, StageExhausted
from holdline import Ladders, rung
from lab.drill.rows import HAIRCUT
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.lab import Lab
from lab.simulators.receptionist.phrases import price
from lab.simulators.schedule import Window
from tests.holdline.stock_bot import StockCall, stock_call
from tests.kit.caller import words

pytestmark = pytest.mark.virtual_time

SENTENCE = "We have a technical problem. Please stay on the line."
STAGES = {
    "llm": ("openai", "openai-b"),
    "tts": ("cartesia", "elevenlabs"),
    "stt": ("deepgram", "deepgram-b"),
}
PROMISED_S = 1.5


def break_(lab: Lab, names: tuple[str, ...], fault: Fault | None) -> None:
    for name in names:
        lab.instance(name).set_faults([Window(fault=fault)] if fault else [])


def said_locally(call: StockCall) -> list[str]:
    """Return what the local voice has said to the end."""
    return [event.text for event in call.facts(AgentSaid) if event.by == "local"]


def first_speech_s(call: StockCall) -> float:
    """Return when the line began to play, in seconds after the caller stopped."""
    return call.line.audible_from - call.stopped_at


@pytest.mark.parametrize(
    "stage", ["llm", *(pytest.param(stage, marks=pytest.mark.slow) for stage in ("tts", "stt"))]
)
async def test_the_sentence_is_spoken_while_a_stage_is_out(lab: Lab, stage: str) -> None:
    async with stock_call(lab, rescue=SENTENCE) as call:
        await asyncio.sleep(1.0)
        break_(lab, STAGES[stage], faults.Refuse())
        await call.ask(HAIRCUT)

    assert said_locally(call)[-1:] == [SENTENCE], call.told
    assert first_speech_s(call) <= PROMISED_S
    assert call.facts(StageExhausted)[0].stage == stage


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Return a clip of one second, at a rate other than the line's."""
    tone = 0.5 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000)
    soundfile.write(tmp_path / "clip.wav", np.stack([tone, tone], axis=1), 24_000)
    return tmp_path / "clip.wav"


async def test_the_sentence_and_the_fillers_are_played_from_their_files(
    lab: Lab, clip: Path
) -> None:
    clips = {SENTENCE: clip, "One moment.": clip}
    async with stock_call(lab, rescue=SENTENCE, clips=clips) as call:
        await asyncio.sleep(1.0)
        break_(lab, STAGES["llm"], faults.Refuse())
        await call.ask(HAIRCUT)

    spoken = [event for event in call.facts(AgentSaid) if event.text == SENTENCE]
    assert [event.by for event in spoken] == ["clip"]
    assert call.said("assistant") == [SENTENCE]


async def test_a_file_that_is_gone_is_replaced_by_the_local_voice(lab: Lab, clip: Path) -> None:
    async with stock_call(lab, rescue=SENTENCE, clips={SENTENCE: clip}) as call:
        await asyncio.to_thread(clip.unlink)
        await asyncio.sleep(1.0)
        break_(lab, STAGES["llm"], faults.Refuse())
        await call.ask(HAIRCUT)

    assert said_locally(call)[-1:] == [SENTENCE]


@pytest.mark.parametrize(
    ("text", "file", "told"),
    [
        (SENTENCE, "absent.wav", "absent.wav"),
        (SENTENCE, __file__, "test_rescue.py"),
        ("We have a technical problem!", "clip.wav", "which is never said; nearest: "),
    ],
    ids=["no file", "no audio", "a text that is never said"],
)
async def test_a_clip_that_cannot_be_played_is_refused_in_one_line(
    clip: Path, text: str, file: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        Ladders(
            tts=[rung("cartesia", api_key="KEY")],
            rescue=SENTENCE,
            clips={text: clip.parent / file},
        )

    assert str(refused.value).startswith("Ladders: clips has ")
    assert len(str(refused.value).splitlines()) == 1


async def test_only_the_first_call_of_a_process_reads_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def make() -> Ladders:
        return Ladders(tts=[rung("cartesia", api_key="KEY")], rescue=SENTENCE)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("every other call of the process waits while a file is read")

    make()
    monkeypatch.setattr("io.open", refuse)
    make()


async def test_the_call_goes_on_when_the_stage_is_back(lab: Lab) -> None:
    async with stock_call(lab, rescue=SENTENCE) as call:
        await asyncio.sleep(1.0)
        break_(lab, STAGES["llm"], faults.Http(status=503))
        await call.ask(HAIRCUT)
        break_(lab, STAGES["llm"], None)
        call.probe_all()
        await asyncio.sleep(1.0)  # until the probes have succeeded
        await call.ask(HAIRCUT)

    assert words(call.said("assistant")[-1]).count("haircut") == 1
    assert call.said("assistant")[0] == SENTENCE
    assert words(call.said("assistant")[-1]) == words(price("haircut"))


async def test_a_late_answer_is_bridged_by_fillers_alone_and_still_comes(lab: Lab) -> None:
    async with stock_call(lab, rescue=SENTENCE) as call:
        await asyncio.sleep(1.0)
        break_(lab, STAGES["llm"], faults.SlowStart(delay_s=3.4))
        await call.ask(HAIRCUT)
        verdict = await call.heard(price("haircut"))

    held = [event.utterance for event in call.facts(HeldTheLine)]
    assert held == ["en.filler.0", "en.filler.1"]
    assert first_speech_s(call) <= PROMISED_S
    assert verdict.whole, (verdict.missing, verdict.extra)
    assert SENTENCE not in said_locally(call)


async def test_without_rescue_nothing_is_spoken_for_the_providers(lab: Lab) -> None:
    async with stock_call(lab) as call:
        await asyncio.sleep(1.0)
        break_(lab, STAGES["llm"], faults.Refuse())
        await call.ask(HAIRCUT)

    assert call.facts(StageExhausted)
    assert not call.line.played


@pytest.mark.parametrize("broken", ["", "deepgram-b", "elevenlabs"])
@pytest.mark.usefixtures("pauses_to_think")
async def test_a_caller_who_pauses_to_think_hears_no_filler(lab: Lab, broken: str) -> None:
    async with stock_call(lab, rescue=SENTENCE) as call:
        await asyncio.sleep(1.0)
        break_(lab, (broken,) if broken else (), faults.Http(status=503))
        await call.say("I would like to")
        call.probe_all()
        await asyncio.sleep(1.6)
        heard = list(call.line.played)
        judged = [event.finished for event in call.told if type(event).__name__ == "PauseJudged"]

    assert judged == [False]
    assert {event.provider for event in call.facts(AttemptFailed)} == {broken} - {""}
    assert not heard


async def test_a_longer_pause_that_the_bot_allows_is_no_late_answer(lab: Lab) -> None:
    turns = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=2.0)])
    async with stock_call(lab, rescue=SENTENCE, turns=turns) as call:
        await asyncio.sleep(1.0)
        await call.say("I would like to")
        await asyncio.sleep(1.5)
        paused = list(call.line.played)
        break_(lab, STAGES["llm"], faults.SlowStart(delay_s=2.0))
        await call.ask(HAIRCUT)

    assert not paused
    assert call.facts(HeldTheLine)[0].after_s > 2.0
    assert words(call.said("user")[-1]) == words(f"I would like to {HAIRCUT}")


async def test_models_that_hang_before_the_caller_has_spoken_are_given_up(lab: Lab) -> None:
    async with stock_call(lab, rescue=SENTENCE) as call:
        await asyncio.sleep(1.0)
        break_(lab, STAGES["llm"], faults.Silent())
        began_s = time.monotonic()
        greet = {"role": "system", "content": "Greet the caller."}
        await call.worker.queue_frame(LLMMessagesAppendFrame([greet], run_llm=True))
        await call.until(lambda: call.line.played)

    assert call.line.audible_from - began_s < 5.0
    assert call.facts(StageExhausted)[0].stage == "llm"


async def test_an_answer_that_is_only_shown_is_not_awaited(lab: Lab) -> None:
    async with stock_call(lab, rescue=SENTENCE) as call:
        await asyncio.sleep(1.0)
        await call.worker.queue_frame(LLMConfigureOutputFrame(skip_tts=True))
        await call.say(HAIRCUT)
        await call.until(lambda: call.said("assistant"))
        await asyncio.sleep(4.0)

    assert words(call.said("assistant")[0]) == words(price("haircut"))
    assert not call.line.played
