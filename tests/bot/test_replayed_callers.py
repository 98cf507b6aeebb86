"""Every recorded caller through the whole pipeline, against the simulated providers."""

import asyncio
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from calls.events import (
    AgentSaid,
    AnswerHeard,
    BargedIn,
    CallerSilent,
    CallFailed,
    PhaseRefused,
    ProviderFailed,
    TranscriptFinal,
)
from fallbacks.events import AttemptStarted
from lab.recording import UnreadableAudioError, read_recording
from lab.replay import KeptEntries, Replayed, replay_one
from tests.bot.word_error import word_error
from tests.kit.near import near_process
from tests.virtual_time import VirtualLoop

FOLDER = Path(__file__).parents[1] / "fixtures" / "callers"
SIDECARS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
TAKEN = [name for name, each in SIDECARS.items() if not each["expect"]["refused"]]
REFUSED = [name for name, each in SIDECARS.items() if each["expect"]["refused"]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Replayed]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:  # callers speak at their own times
        return runner.run(replay_all(tmp_path_factory.mktemp("replayed")))


async def replay_all(out: Path) -> dict[str, Replayed]:
    notes = KeptEntries()
    async with near_process(out / "logs", notes) as process:
        return {
            name: await replay_one(
                process,
                notes,
                read_recording(FOLDER / f"{name}.wav"),
                path=FOLDER / f"{name}.wav",
                folder=out / name,
            )
            for name in TAKEN
        }


def expected(name: str) -> dict[str, Any]:
    return SIDECARS[name]["expect"]


@pytest.mark.parametrize("name", TAKEN)
def test_the_agent_answers_each_turn_to_the_point(
    name: str, replayed: Mapping[str, Replayed]
) -> None:
    said = [event.text.lower() for event in replayed[name].events if isinstance(event, AgentSaid)]
    answers = " | ".join(said)

    assert replayed[name].outcome.turns == expected(name)["turns"]
    for words in expected(name)["agent_says"]:
        assert any(word in answers for word in words), answers


@pytest.mark.parametrize("name", TAKEN)
def test_the_callers_words_arrive(name: str, replayed: Mapping[str, Replayed]) -> None:
    said = " ".join(sidecar["words"] for sidecar in SIDECARS[name]["utterances"])
    finals = [event for event in replayed[name].events if isinstance(event, TranscriptFinal)]
    heard = " ".join(final.text for final in finals)

    assert word_error(said, heard) <= expected(name)["max_word_error"], heard
    assert all(final.confidence is not None for final in finals)


@pytest.mark.parametrize("name", TAKEN)
def test_only_a_caller_who_barges_in_interrupts_the_agent(
    name: str, replayed: Mapping[str, Replayed]
) -> None:
    barged = any(isinstance(event, BargedIn) for event in replayed[name].events)

    assert barged == expected(name)["barge_in"]


@pytest.mark.parametrize("name", TAKEN)
def test_a_healthy_call_has_no_failures_or_unexpected_events(
    name: str, replayed: Mapping[str, Replayed]
) -> None:
    bad = (ProviderFailed, PhaseRefused, CallFailed)

    assert [event for event in replayed[name].events if isinstance(event, bad)] == []


def test_healthy_calls_ask_the_first_rungs_only(replayed: Mapping[str, Replayed]) -> None:
    others = {
        name: event.provider
        for name in TAKEN
        for event in replayed[name].events
        if isinstance(event, AttemptStarted)
        and event.provider not in ("deepgram", "openai", "cartesia")
    }

    assert others == {}


@pytest.mark.parametrize("name", TAKEN)
def test_the_parts_of_every_answer_add_up(name: str, replayed: Mapping[str, Replayed]) -> None:
    answers = [event for event in replayed[name].events if isinstance(event, AnswerHeard)]

    assert len(answers) == expected(name)["turns"]
    for answer in answers:
        assert sum(astuple(answer.parts)) == pytest.approx(answer.v2v_s, abs=1e-6)


def test_a_silent_caller_gets_a_gentle_prompt(replayed: Mapping[str, Replayed]) -> None:
    events = replayed["10_silence"].events

    assert [event.prompts for event in events if isinstance(event, CallerSilent)][:1] == [1]


@pytest.mark.parametrize("name", TAKEN)
def test_the_callers_sound_is_written_to_a_file(
    name: str, replayed: Mapping[str, Replayed]
) -> None:
    folder = replayed[name].folder
    samples, _ = soundfile.read(str(folder / "heard.wav"), dtype="int16")

    assert int(np.abs(samples.astype(np.int32)).max()) > 2000
    assert (folder / "timeline.jsonl").read_text().count("\n") == len(replayed[name].events)


@pytest.mark.parametrize("name", REFUSED)
def test_an_invalid_recording_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UnreadableAudioError) as refused:
        read_recording(FOLDER / f"{name}.wav")

    line = str(refused.value)
    assert "\n" not in line
    assert f"{name}.wav" in line
    assert expected(name)["reason"] in line
