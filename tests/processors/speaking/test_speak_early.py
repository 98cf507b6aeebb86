"""The first clause of a reply, given to a simulated voice before its sentence ends."""

import asyncio
import time
from collections.abc import Sequence

import pytest
from pipecat.frames.frames import InterruptionFrame

from fallbacks.events import RungChosen
from fallbacks.ladder import ClauseRule
from lab.simulators import faults
from lab.simulators.lab import Lab
from processors.speaking import clause_rules
from providers.catalog import provider
from tests.kit.faults import MUTE
from tests.processors.speaking.test_stage import BROKEN, break_
from tests.processors.speaking.tts_bench import Talk, policy, talking

pytestmark = pytest.mark.virtual_time

TEXT = "We are open from nine in the morning until six in the evening on every day of the week."
QUICK_S = 0.04  # a word of the model
RULES = {"cartesia": ClauseRule(words=3), "elevenlabs": ClauseRule(words=4)}


async def first_word_s(
    lab: Lab,
    names: Sequence[str] = ("cartesia", "elevenlabs"),
    *,
    early: bool,
    text: str = TEXT,
    gap_s: float = QUICK_S,
) -> tuple[float, Talk]:
    """Return how long after the model's first word the caller heard one."""
    shared = policy(names, time.monotonic())
    shared.clauses = RULES if early else {}
    async with talking(lab, names, shared=shared) as talk:
        at = time.monotonic()
        await talk.reply_slowly(*text.split(), gap_s=gap_s)
        await talk.until(lambda: talk.said, within_s=30.0)
    return talk.line.audible_from - at, talk


async def test_the_caller_hears_the_first_words_while_the_model_writes_the_rest(lab: Lab) -> None:
    late_s, late = await first_word_s(lab, early=False)
    early_s, talk = await first_word_s(lab, early=True)

    assert talk.said == late.said == [TEXT]
    assert early_s < late_s - 0.4
    assert talk.failures == []
    assert max(talk.line.gaps_s) < 0.01
    words = [word.text for word in talk.spoken_by("cartesia")]
    assert words[-len(TEXT.split()) :] == TEXT.split()


@pytest.mark.parametrize(
    ("text", "gap_s"),
    [
        (TEXT, 0.04),
        ("We are open until six in the evening today. Is that early enough for you, Maria?", 0.02),
    ],
    ids=["one sentence", "two sentences"],
)
async def test_the_second_voice_begins_almost_as_early_as_the_first(
    lab: Lab, text: str, gap_s: float
) -> None:
    rules = {name: provider("tts", name).facts.clause for name in ("cartesia", "elevenlabs")}
    assert rules == RULES
    first_s, _ = await first_word_s(lab, ("cartesia",), early=True, text=text, gap_s=gap_s)
    second_s, talk = await first_word_s(lab, ("elevenlabs",), early=True, text=text, gap_s=gap_s)

    assert second_s < first_s + 0.1
    assert talk.said == [text]
    assert max(talk.line.gaps_s) < 0.01


async def test_a_model_that_slows_down_is_followed_word_by_word(lab: Lab) -> None:
    shared = policy(("cartesia",), time.monotonic())
    shared.clauses = RULES
    async with talking(lab, ("cartesia",), shared=shared) as talk:
        words = TEXT.split()
        await talk.begin_reply()
        await talk.write(*words[:6], gap_s=QUICK_S)
        await talk.write(*words[6:], gap_s=0.25)
        await talk.end_reply()
        await talk.until(lambda: talk.said, within_s=30.0)

    assert talk.said == [TEXT]
    assert max(talk.line.gaps_s) < 0.5  # waiting for a whole sentence would take 3 s


async def test_a_slow_model_gets_time_for_its_sentence(lab: Lab) -> None:
    _, talk = await first_word_s(lab, early=True, gap_s=clause_rules.QUICK_S * 2)

    assert talk.said == [TEXT]
    assert max(talk.line.gaps_s) < 0.01


async def test_a_voice_that_takes_phrases_begins_at_a_comma(lab: Lab) -> None:
    text = "On Monday and on Tuesday, we are here from nine in the morning until six."
    names = ("elevenlabs", "cartesia")
    late_s, _ = await first_word_s(lab, names, early=False, text=text)
    early_s, talk = await first_word_s(lab, names, early=True, text=text)

    assert talk.said == [text]
    assert early_s < late_s - 0.2


@pytest.mark.parametrize("name", ["cartesia", "elevenlabs"])
async def test_a_voice_gets_two_pieces_of_a_sentence_with_the_spaces_between_words(
    lab: Lab, name: str
) -> None:
    text = "On Monday and on Tuesday, we are here from nine until six. And more."
    await first_word_s(lab, (name,), early=True, text=text)

    (request,) = [item for item in lab.record.requests(name) if "text" in item.details]
    assert request.details["text"].split() == text.split()
    assert len([mark for mark in request.marks if mark.what == "text" and mark.words]) == 3


@pytest.mark.parametrize("name", ["inside a word", "stall after 4 words", "silent"])
@pytest.mark.parametrize("names", [("cartesia", "elevenlabs"), ("elevenlabs", "cartesia")])
async def test_a_voice_that_breaks_in_or_after_the_clause_loses_and_repeats_no_word(
    lab: Lab, name: str, names: tuple[str, str]
) -> None:
    break_(lab, names[0], (BROKEN | MUTE)[name])
    _, talk = await first_word_s(lab, names, early=True)

    assert talk.said == [TEXT]
    assert [fact.after for fact in talk.facts(RungChosen)] == [names[1]]


@pytest.mark.parametrize("words", [1, 3, 5])
async def test_a_voice_that_is_cut_is_continued_by_the_next_one_from_the_word(
    lab: Lab, words: int
) -> None:
    break_(lab, "cartesia", faults.Cut(after_words=words, how="reset"))
    _, talk = await first_word_s(lab, early=True)

    assert talk.said == [TEXT]
    assert talk.words.split() == TEXT.split()


async def test_a_caller_who_barges_in_during_the_first_clause_leaves_only_its_words(
    lab: Lab,
) -> None:
    shared = policy(("cartesia", "elevenlabs"), time.monotonic())
    shared.clauses = RULES
    async with talking(lab, shared=shared) as talk:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk.reply_slowly(*TEXT.split(), gap_s=QUICK_S))
            await talk.until(lambda: talk.line.played)
            await talk.put(InterruptionFrame())
        heard = talk.words.split()
        await talk.reply("Of", "course.")
        await talk.until(lambda: talk.said and talk.said[-1].endswith("Of course."))

    assert heard == TEXT.split()[: len(heard)]
    assert len(heard) < 6
