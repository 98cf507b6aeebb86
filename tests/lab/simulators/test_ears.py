"""The lab's recogniser hears callers' words to a reception, and nothing in silence."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
import soundfile

from lab.simulators.ears.domain import phrases, read_templates, sample, words_of
from lab.simulators.ears.ears import Ears, EarsError
from lab.simulators.ears.heard import HeardAudio, HearingSettings
from lab.simulators.ears.hearing import Hearing
from tests.lab.simulators import synthetic_caller as caller

BOOKING = "I would like to book an appointment for tomorrow."


def heard_in(pcm: bytes, *, piece: int = 640, **settings: object) -> list[HeardAudio]:
    hearing = Hearing(HearingSettings(**settings))  # type: ignore[arg-type]
    facts = [
        fact for at in range(0, len(pcm), piece) for fact in hearing.hear(pcm[at : at + piece])
    ]
    return [*facts, *hearing.flush()]


def text_of(facts: Iterable[HeardAudio]) -> str:
    words = (word for fact in facts if fact.what in ("final", "flushed") for word in fact.words)
    return " ".join(word.text for word in words)


def in_a_call(pcm: bytes, *, rate_hz: int = 16_000) -> bytes:
    """Return speech with the silence of a call around it; the flush comes 0.22 s after it."""
    return caller.silence(0.5, rate_hz=rate_hz) + pcm + caller.silence(0.22, rate_hz=rate_hz)


def word_error(texts: Iterable[str], *, rate_hz: int = 16_000) -> float:
    """Return the share of errors in texts that the voices speak in turn."""
    errors = words = 0
    for text, voice in zip(texts, itertools.cycle(caller.VOICES), strict=False):
        pcm = in_a_call(caller.say(text, voice=voice, rate_hz=rate_hz), rate_hz=rate_hz)
        said = words_of(text)
        errors += caller.word_errors(said, words_of(text_of(heard_in(pcm, rate_hz=rate_hz))))
        words += len(said)
    return errors / words


def unlisted(number: int) -> list[str]:
    """Sentences of the domain drawn with another seed than the language model's."""
    templates, rng = read_templates(), random.Random(777)  # noqa: S311 - a corpus
    return [sample(templates, rng.choice(templates.lines), rng=rng) for _ in range(number)]


def test_a_part_of_the_listed_phrases_is_heard_with_few_word_errors() -> None:
    assert word_error(phrases()[::6]) < 0.10


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("texts", "rate_hz", "limit"),
    [(phrases(), 16_000, 0.10), (unlisted(24), 16_000, 0.10), (phrases(), 8000, 0.25)],
    ids=["listed phrases", "other sentences of the domain", "over a telephone line"],
)
def test_callers_are_heard_with_few_word_errors(
    texts: Sequence[str], rate_hz: int, limit: float
) -> None:
    rate = word_error(texts, rate_hz=rate_hz)

    print(f"{rate:.1%} word errors")  # noqa: T201 - the measurement
    assert rate < limit


@pytest.mark.parametrize(
    "pcm",
    [
        caller.silence(3),
        caller.noise(3, rms=50),
        caller.noise(3, rms=500),
        caller.silence(1) + caller.noise(2.5, rms=3000),
        caller.silence(0.5) + caller.noise(0.1, rms=300) + caller.silence(0.5),
    ],
    ids=["silence", "quiet line", "loud line", "noise sets in", "a microphone is opened"],
)
def test_without_speech_nothing_is_heard(pcm: bytes) -> None:
    assert text_of(heard_in(pcm)) == ""


@pytest.mark.parametrize("gain", [0.04, 3.0], ids=["very quiet", "clipped"])
def test_loudness_matters_little(gain: float) -> None:
    speech = np.frombuffer(in_a_call(caller.say(BOOKING)), "<i2") * gain
    pcm = speech.clip(-32768, 32767).astype("<i2").tobytes()

    assert caller.word_errors(words_of(BOOKING), words_of(text_of(heard_in(pcm)))) <= 2


def test_a_caller_in_a_noisy_room_is_understood() -> None:
    pcm = caller.mixed_with_noise(in_a_call(caller.say(BOOKING)), snr_db=10)

    assert text_of(heard_in(pcm)) == "i would like to book an appointment for tomorrow"


@pytest.mark.parametrize("rate_hz", [8000, 48_000])
def test_every_sample_rate_is_heard(rate_hz: int) -> None:
    pcm = in_a_call(caller.say(BOOKING, rate_hz=rate_hz), rate_hz=rate_hz)

    heard = text_of(heard_in(pcm, rate_hz=rate_hz))

    assert heard == "i would like to book an appointment for tomorrow"


@pytest.mark.parametrize(("encoding", "subtype"), [("mulaw", "ULAW"), ("alaw", "ALAW")])
def test_telephone_encodings_are_heard(encoding: str, subtype: str, tmp_path: object) -> None:
    linear = in_a_call(caller.say(BOOKING, rate_hz=8000), rate_hz=8000)
    file = f"{tmp_path}/coded.raw"
    samples = np.frombuffer(linear, "<i2").astype(np.int16)
    soundfile.write(file, samples, 8000, format="RAW", subtype=subtype)
    with open(file, "rb") as coded:  # noqa: PTH123 - one read of a file just written
        pcm = coded.read()

    heard = text_of(heard_in(pcm, encoding=encoding, rate_hz=8000, piece=160))

    assert "book an appointment" in heard


def test_interim_results_come_while_the_caller_speaks_and_times_lie_in_the_audio() -> None:
    pcm = in_a_call(caller.say(BOOKING))

    facts = heard_in(pcm)

    interim = [fact for fact in facts if fact.what == "interim" and fact.words]
    assert len(interim) >= 4
    times = [at for word in facts[-1].words for at in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert 0.4 < times[0] < 0.7
    assert times[-1] < len(pcm) / 32_000
    assert facts[-1].what == "flushed"


def test_a_pause_inside_a_sentence_loses_no_word() -> None:
    parts = ("I would like to book", "a haircut for Friday")
    pause = caller.silence(0.25)
    pcm = in_a_call(caller.say(parts[0]) + pause + caller.say(parts[1]))

    assert text_of(heard_in(pcm, endpoint_s=0.6)) == "i would like to book a haircut for friday"


def test_a_pause_long_enough_ends_the_utterance() -> None:
    pcm = in_a_call(caller.say("Yes, please.") + caller.silence(0.8) + caller.say("Goodbye."))

    finals = [f for f in heard_in(pcm, endpoint_s=0.5) if f.words and f.what != "interim"]

    assert [text_of([f]) for f in finals] == ["yes please", "goodbye"]
    assert [f.endpoint for f in finals] == [True, True]
    assert finals[0].end_s <= finals[1].start_s


def test_a_sentence_that_begins_as_silence_becomes_final_is_heard_from_its_first_word() -> None:
    hearing = Hearing(HearingSettings())
    said = caller.say("When are you open on Saturday?")
    begin_s, heard = [5.0 - 0.08 * index for index in range(5)], set[str]()
    for quiet_s in begin_s:
        pcm = caller.noise(quiet_s, rms=3.0) + said + caller.noise(0.24, rms=3.0)
        facts = [f for at in range(0, len(pcm), 640) for f in hearing.hear(pcm[at : at + 640])]
        heard.add(text_of([*facts, *hearing.flush()]))

    assert heard == {"when are you open on saturday"}


def test_a_flush_at_the_start_of_a_sentence_loses_nothing() -> None:
    hearing = Hearing(HearingSettings())
    said = caller.say("When are you open on Saturday?")
    heard = set[str]()
    for spoken_s in (0.06 * index for index in range(4)):
        before = int(spoken_s * 16_000) * 2
        unsure = list(hearing.hear(caller.noise(1.0, rms=3.0) + said[:before]))
        unsure += hearing.flush()
        facts = [*hearing.hear(said[before:] + caller.noise(0.24, rms=3.0)), *hearing.flush()]
        if not any(item.what == "speech_started" for item in unsure):
            heard.add(text_of(facts))

    assert heard == {"when are you open on saturday"}


async def flushed_text(ears: Ears, pcm: bytes) -> str:
    stream = await ears.open(HearingSettings())
    for at in range(0, len(pcm), 3200):
        await stream.hear(pcm[at : at + 3200])
    await stream.flush()
    facts: list[HeardAudio] = []
    async for fact in stream.results():
        facts.append(fact)
        if fact.what == "flushed":
            break
    await stream.close()
    return text_of(facts)


async def test_six_simultaneous_callers_are_each_heard_separately() -> None:
    texts = ["yes please", "goodbye", "what are your opening hours", "how much is a haircut"] * 2
    texts = texts[:6]
    async with Ears() as ears:
        heard = await asyncio.gather(
            *(flushed_text(ears, in_a_call(caller.say(text))) for text in texts)
        )

    assert heard == texts


async def test_the_loop_is_not_blocked_while_the_worker_hears() -> None:
    pcm = in_a_call(caller.say(BOOKING))
    computed_s = -time.thread_time()
    heard_in(pcm)  # the control: what hearing it in this thread takes of a core
    computed_s += time.thread_time()

    async with Ears() as ears:
        waited_s = -time.thread_time()
        await flushed_text(ears, pcm)
        waited_s += time.thread_time()

    assert waited_s < computed_s / 3


async def test_a_worker_that_dies_fails_its_streams_and_is_replaced() -> None:
    async with Ears() as ears:
        stream = await ears.open(HearingSettings())
        process = ears._process
        assert process is not None
        process.kill()

        with pytest.raises(EarsError, match="process ended"):
            await anext(stream.results())
        assert await flushed_text(ears, in_a_call(caller.say("Goodbye."))) == "goodbye"


async def test_a_wrong_grammar_fails_its_stream_only() -> None:
    async with Ears() as ears:
        stream = await ears.open(HearingSettings(grammar=("xyzzyplugh",)))

        with pytest.raises(EarsError, match="xyzzyplugh"):
            await anext(stream.results())
        assert await flushed_text(ears, in_a_call(caller.say("Goodbye."))) == "goodbye"
