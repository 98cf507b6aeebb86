"""A service whose constructor raises during a call does not end it: the next rung serves."""

import time
from dataclasses import dataclass
from typing import Any, cast

import pytest
from loguru import logger

from bot.call.shared import _build_service
from calls.turn import Turn
from fallbacks.events import AttemptFailed
from lab.simulators.lab import Lab, Spec
from processors.answering.model_stream import Model
from processors.answering.stage import LlmStage
from providers.adapter.broken import BrokenService
from providers.catalog import provider
from providers.openai import build
from providers.provider import RungSpec, Stage
from tests.lab.simulators.near_ears import bring_near
from tests.processors.answering import test_stage
from tests.processors.hearing import stt_call
from tests.processors.speaking import tts_bench
from tests.providers.adapter.own_services import HERE

pytestmark = pytest.mark.virtual_time

ERROR = KeyError("the-key")


def spec(stage: Stage, name: str) -> RungSpec:
    return RungSpec(
        name=name,
        stage=stage,
        kind="pipecat",
        url="",
        sample_rate_hz=8000,
        api_key="the-key",
        service=f"{HERE}:BrokenVoice",
    )


def test_a_call_gets_a_service_that_refuses_instead_of_an_exception() -> None:
    assert isinstance(_build_service(spec("tts", "it")), BrokenService)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError("no such model: a.onnx"), "FileNotFoundError: no such model: a.onnx"),
        (KeyError("the-key\nis bad"), "KeyError: '********\\nis bad'"),
    ],
)
def test_the_error_of_a_constructor_is_logged_without_the_key(error: Exception, said: str) -> None:
    logged = list[str]()
    sink = logger.add(logged.append, format="{message}", level="ERROR")
    BrokenService(spec("tts", "it"), error)
    logger.remove(sink)

    assert logged == [f"it: its constructor raised {said}\n"]


@dataclass
class BrokenFirst(test_stage.Bench):
    """A ladder whose first model could not be built."""

    def stage(self) -> LlmStage:
        first, second = self.rungs
        rungs: Any = {
            first: BrokenService(spec("llm", first), ERROR),
            second: build(self._rung(second)),
        }
        return LlmStage(
            cast("dict[str, Model]", rungs),
            policy=self.policy,
            emit=self.told.append,
            clock=time.monotonic,
            turn=Turn(budget_s=1.5),
            window_tokens=4000,
        )


async def test_the_next_model_answers() -> None:
    async with test_stage.bench() as made:
        bench = BrokenFirst(made.lab, made.rungs, made.policy)

        assert await bench.ask() == test_stage.ANSWER

    (failure,) = bench.told_of(AttemptFailed)
    assert (failure.provider, failure.kind) == ("openai", "protocol")
    assert failure.reason == "its constructor raised KeyError"


async def test_the_next_voice_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Vendors:
        def __init__(self, stage: Stage, kind: str) -> None:
            self.vendor = provider(stage, kind)

        def build(self, rung: RungSpec) -> Any:
            if rung.name == "cartesia":
                return BrokenService(spec("tts", rung.name), ERROR)
            return self.vendor.build(rung)

    monkeypatch.setattr(tts_bench, "provider", Vendors)
    async with tts_bench.laboratory() as lab, tts_bench.talking(lab) as talk:
        await talk.reply("We open at nine.")
        await talk.until(lambda: "nine" in talk.words)

        assert talk.words == "We open at nine."
        assert talk.failures[0] == ("cartesia", "protocol")


async def test_the_next_recogniser_hears() -> None:
    async with bring_near(Lab([Spec(name="b", kind="deepgram")])) as lab:
        good = stt_call.rungs_of(tuple(lab.instances.values()))
        rungs: Any = {"a": BrokenService(spec("stt", "a"), ERROR), **good}
        async with stt_call.on_stage(rungs, lab=lab, pace=5.0) as call:
            heard = await call.says("my number is seven")

            assert stt_call.words(heard) == stt_call.words("my number is seven")
            assert call.failures[0] == ("a", "protocol")
