"""Ladders for some of the stages, beside Pipecat's own services for the others."""

import asyncio
import re
from typing import Any

import pytest
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor

from calls.events import TurnDecided
from fallbacks.events import AttemptFailed, AttemptStarted, HeldTheLine
from holdline import Ladders, rung
from lab.drill.rows import HAIRCUT
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.lab import Lab
from lab.simulators.receptionist.phrases import hours, price
from lab.simulators.schedule import Window
from tests.holdline.stock_bot import SERVICES, arguments, stock_call
from tests.kit.caller import words

pytestmark = pytest.mark.virtual_time

PRICE = price("haircut")
PROMISED_S = 1.5
STAGES = {
    "stt": ("deepgram", "deepgram-b"),
    "llm": ("openai", "openai-b"),
    "tts": ("cartesia", "elevenlabs"),
}
FAULTS: dict[str, Fault] = {
    "stt": faults.Refuse(),
    "llm": faults.Cut(after_words=4),
    "tts": faults.Cut(after_words=4),
}
VOICE = SERVICES["cartesia"].Settings(voice="e07c00bc-4134-4eae-9ea4-1a55fb45746b")


def ladder(lab: Lab, stage: str) -> list[Any]:
    rungs = [(name, *arguments(lab, name)) for name in STAGES[stage]]
    return [rung(service, name=name, **given) for name, service, given in rungs]


def stages_with(lab: Lab, *laddered: str, **options: Any) -> tuple[FrameProcessor, ...]:
    """Return three stages: ladders for some, and Pipecat's own services for the others."""
    call = Ladders(**{stage: ladder(lab, stage) for stage in laddered}, **options)
    stages: list[FrameProcessor] = []
    for stage, (first, _) in STAGES.items():
        service, given = arguments(lab, first)
        more = {"settings": VOICE} if stage == "tts" else {}
        stages.append(getattr(call, stage) if stage in laddered else service(**given, **more))
    return tuple(stages)


@pytest.mark.parametrize(
    "laddered",
    [
        ("tts",),
        *(
            pytest.param(stages, marks=pytest.mark.slow)
            for stages in (("stt",), ("llm", "tts"), ("stt", "tts"))
        ),
    ],
    ids="+".join,
)
async def test_a_stage_with_a_ladder_survives_and_the_others_stay_as_they_were(
    lab: Lab, laddered: tuple[str, ...]
) -> None:
    told: list[Any] = []
    async with stock_call(
        lab, stages_with(lab, *laddered, on_event=told.append), told=told
    ) as call:
        await asyncio.sleep(1.0)
        await call.ask("When are you open?")
        healthy = await call.heard(hours(""))
        started = {event.provider for event in call.facts(AttemptStarted)}
        broken = laddered[-1]
        lab.instance(STAGES[broken][0]).set_faults([Window(fault=FAULTS[broken])])
        await call.ask(HAIRCUT)
        verdict = await call.heard(PRICE)

    assert healthy.whole, (healthy.missing, healthy.extra)
    assert started == {STAGES[stage][0] for stage in laddered}
    assert verdict.whole, (verdict.missing, verdict.extra)
    assert {event.provider for event in call.facts(AttemptFailed)} == {STAGES[broken][0]}
    assert words(call.said("user")[-1]) == words(HAIRCUT)
    assert words(call.said("assistant")[-1]) == words(PRICE)


@pytest.mark.parametrize("laddered", [("tts",), ("stt", "tts")], ids="+".join)
@pytest.mark.usefixtures("pauses_to_think")
async def test_ladders_without_a_model_bridge_a_late_answer_but_no_pause(
    lab: Lab, laddered: tuple[str, ...]
) -> None:
    told: list[Any] = []
    stages = stages_with(lab, *laddered, on_event=told.append, rescue="Please stay on the line.")
    async with stock_call(lab, stages, told=told) as call:
        await asyncio.sleep(1.0)
        lab.instance("openai").set_faults([Window(fault=faults.SlowStart(delay_s=2.0))])
        await call.say("I would like to")
        await asyncio.sleep(1.6)
        paused = list(call.line.played)
        await call.ask(HAIRCUT)

    assert not paused
    assert call.line.audible_from - call.stopped_at <= PROMISED_S
    (held,) = call.facts(HeldTheLine)
    assert (held.utterance, held.after_s > 1.0) == ("en.filler.0", True)
    assert [event.turn for event in call.facts(TurnDecided)] == [1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "it has no ladder; give it stt=, llm= or tts="),
        ({"tts": []}, "tts is empty"),
        ({"llm": ["openai"], "rescue": "Sorry."}, "rescue needs a ladder of voices"),
        ({"llm": ["openai"]}, "llm needs a ladder of voices"),
        ({"tts": ["cartesia"], "clips": {"Sorry.": "x.wav"}}, "clips are played by rescue"),
    ],
    ids=[
        "no stage",
        "an empty ladder",
        "rescue without voices",
        "models without voices",
        "clips without rescue",
    ],
)
async def test_arguments_that_do_not_fit_together_are_one_line(
    given: dict[str, Any], told: str
) -> None:
    rungs: dict[str, Any] = {
        key: [rung(kind, api_key="KEY") for kind in value] if isinstance(value, list) else value
        for key, value in given.items()
    }
    with pytest.raises(ValueError, match=re.escape(told)):
        Ladders(**rungs)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"rescue": 5}, "rescue is 5; it must be a sentence"),
        ({"rescue": "Sorry.", "clips": ["a.wav"]}, "clips is ['a.wav']; it must be files by"),
        ({"on_event": "print"}, "on_event is 'print'; it must be a function without async"),
        ({"on_event": asyncio.sleep}, "it must be a function without async"),
    ],
    ids=lambda value: next(reversed(value)) if isinstance(value, dict) else "",
)
async def test_an_argument_of_a_wrong_type_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=re.escape(told)):
        Ladders(tts=[rung("local")], **given)


def test_ladders_outside_an_event_loop_are_refused() -> None:
    with pytest.raises(RuntimeError, match="make it in a coroutine, as it needs the event loop"):
        Ladders(tts=[rung("local")])


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
async def test_a_stage_in_a_second_pipeline_is_refused(lab: Lab, stage: str) -> None:
    needs = {stage, "tts"} if stage == "llm" else {stage}
    ladders: dict[str, Any] = {name: ladder(lab, name) for name in needs}
    call = Ladders(**ladders)
    Pipeline([getattr(call, stage)])

    with pytest.raises(RuntimeError, match="it is in another pipeline; make one for each call"):
        Pipeline([getattr(call, stage)])


async def test_a_stage_that_was_left_out_is_named_when_it_is_used() -> None:
    call = Ladders(tts=[rung("cartesia", api_key="KEY")])

    with pytest.raises(AttributeError, match=re.escape("it was made without llm=[rung(...)]")):
        call.llm  # noqa: B018
    assert not hasattr(call, "stt")
