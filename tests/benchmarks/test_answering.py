"""A few greetings through the parts that hear them in a call; the benchmark has the rest."""

import pytest

from benchmarks.answerer_trial import (
    Recognise,
    no_words,
    try_greeting,
    words_as_spoken,
    words_misheard,
)
from benchmarks.greetings import RenderedGreeting, read_greetings, render
from bot.call.models import VoiceModels
from configuration.settings import TurnSettings
from engines.espeak import Espeak

KNOWN, HELD_OUT = read_greetings("known"), read_greetings("held-out")
PEOPLE = ("long firm", "secretary", "hold on")
MACHINES = ("pause first", "family")
SHORT = ("full", "sales")  # no beep, and no longer than a person's sentence


@pytest.fixture(scope="module")
def models() -> VoiceModels:
    return VoiceModels.load()


def of(name: str) -> RenderedGreeting:
    engine = Espeak(private=True, seed=1)
    rendered = render(next(greeting for greeting in KNOWN if greeting.name == name), engine)
    engine.unload()
    return rendered


@pytest.mark.parametrize("name", PEOPLE)
@pytest.mark.parametrize("hears", [True, False], ids=["with words", "without words"])
async def test_a_person_is_spoken_to_and_never_hung_up_on(
    models: VoiceModels, name: str, *, hears: bool
) -> None:
    rendered = of(name)
    recognise: Recognise = words_as_spoken(rendered) if hears else no_words()

    trial = await try_greeting(rendered, models.vad(TurnSettings()), recognise)

    assert not trial.treated_as_machine
    assert trial.opened_s is not None


@pytest.mark.parametrize("name", MACHINES)
async def test_a_machine_is_found_by_its_words(models: VoiceModels, name: str) -> None:
    rendered = of(name)

    trial = await try_greeting(rendered, models.vad(TurnSettings()), words_as_spoken(rendered))

    assert trial.verdicts[-1].answerer is trial.who


@pytest.mark.parametrize("name", SHORT)
async def test_a_machine_whose_words_alone_tell_it_is_spoken_to_in_doubt(
    models: VoiceModels, name: str
) -> None:
    rendered = of(name)

    trial = await try_greeting(rendered, models.vad(TurnSettings()), words_as_spoken(rendered))

    assert trial.who in [verdict.answerer for verdict in trial.verdicts]
    assert not trial.treated_as_machine


@pytest.mark.parametrize("name", PEOPLE)
async def test_a_person_whose_words_are_misrecognised_is_spoken_to(
    models: VoiceModels, name: str
) -> None:
    rendered = of(name)

    trial = await try_greeting(rendered, models.vad(TurnSettings()), words_misheard(rendered, 0))

    assert not trial.treated_as_machine


async def test_speech_before_the_answer_is_heard(models: VoiceModels) -> None:
    rendered = of("long firm")

    trial = await try_greeting(rendered, models.vad(TurnSettings()), no_words(), answered_s=1.5)

    assert trial.verdicts[0].why == "time"
    assert trial.opened_s is not None
    assert trial.opened_s > rendered.words[-1][0]
