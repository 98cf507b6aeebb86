"""Whole recordings and texts through the ladders, on virtual time, against the lab's faults."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bot.batch.batch import Batch, UnusableInputError
from bot.health.policies import build_availability
from calls.events import Event
from configuration.settings import Settings
from fallbacks.availability import AvailabilityTable
from fallbacks.breaker import State
from fallbacks.events import AttemptFailed, RetriesExhausted, RetryPlanned, RungChosen
from fallbacks.failure import Kind, PermanentError, ServiceError, TransientError
from lab.process import STAGE_OF
from lab.simulators.lab import Lab, Spec
from lab.simulators.record import Request
from lab.simulators.schedule import parse_windows
from runtime import clock
from tests.lab.simulators.near_ears import bring_near
from tests.lab.simulators.synthetic_caller import say as spoken_by_a_caller

pytestmark = pytest.mark.virtual_time

SPECS = [
    Spec(name="deepgram", kind="deepgram"),
    Spec(name="deepgram-b", kind="deepgram"),
    Spec(name="cartesia", kind="cartesia"),
    Spec(name="elevenlabs", kind="elevenlabs"),
]
TEXT = "Good morning. Your table for two is booked for tomorrow at seven o'clock."


def caller_says(text: str, rate_hz: int) -> NDArray[np.int16]:
    return np.frombuffer(spoken_by_a_caller(text, rate_hz=rate_hz), "<i2")


def asked(lab: Lab, name: str) -> tuple[Request, ...]:
    return lab.record.requests(name)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with bring_near(Lab(SPECS, speed=20.0)) as lab:
        yield lab


@pytest.fixture
def question(tmp_path: Path) -> Path:
    path = tmp_path / "question.wav"
    soundfile.write(path, caller_says("i would like to book a table", 16_000), 16_000)
    return path


class Bench:
    """The lab's ladders, and the events that were told of them."""

    def __init__(self, lab: Lab, **tree: Any) -> None:
        stages: dict[str, list[dict[str, Any]]] = {"stt": [], "tts": []}
        for item in lab.describe()["instances"]:
            rung = {key: item[key] for key in ("name", "kind", "url", "api_key")}
            stages[STAGE_OF[item["kind"]]].append(rung)
        stages["llm"] = [{"kind": "openai"}]
        for stage, ladder in tree.pop("stages", {}).items():
            stages[stage] = ladder(stages[stage])
        settings = Settings.model_validate({"stages": stages, **tree})
        self.availability: AvailabilityTable = build_availability(settings, clock.monotonic())
        self.told: list[Event] = []
        self.batch = Batch.of(settings, availability=self.availability, emit=self.told.append)

    def failures(self) -> list[tuple[str, Kind]]:
        return [
            (event.provider, event.kind) for event in self.told if isinstance(event, AttemptFailed)
        ]

    def state(self, stage: str, name: str) -> State:
        return self.availability.of(stage, name).breaker.state


def break_it(lab: Lab, name: str, fault: dict[str, Any]) -> None:
    lab.instance(name).set_faults(parse_windows([fault]))


async def test_a_recording_becomes_words_with_their_details(lab: Lab, question: Path) -> None:
    found = await Bench(lab).batch.transcribe(question)

    assert found.text.lower().strip(".?") == "i would like to book a table"
    assert (found.provider, found.language) == ("deepgram", "en")
    assert found.language_confidence is not None
    assert found.confidence is not None
    assert found.duration_s == pytest.approx(soundfile.info(question).duration, abs=0.01)
    assert [word.text.lower().strip(".?") for word in found.words][:2] == ["i", "would"]


@pytest.mark.parametrize(
    ("container", "subtype", "rate_hz", "channels"),
    [
        ("WAV", "ULAW", 8_000, 1),
        ("WAV", "PCM_24", 44_100, 2),
        ("OGG", "VORBIS", 16_000, 1),
    ],
    ids=["telephone", "stereo", "ogg"],
)
async def test_wav_and_other_formats_of_the_recogniser_are_accepted(
    lab: Lab, tmp_path: Path, container: str, subtype: str, rate_hz: int, channels: int
) -> None:
    path = tmp_path / f"question.{container.lower()}"
    mono = caller_says("hello", rate_hz)
    samples = np.repeat(mono[:, None], channels, axis=1)
    soundfile.write(path, samples, rate_hz, subtype=subtype, format=container)

    found = await Bench(lab).batch.transcribe(path)

    assert found.duration_s == pytest.approx(mono.size / rate_hz, abs=0.05)
    assert [item.well_formed for item in asked(lab, "deepgram")] == [True]


async def test_a_language_that_is_given_is_not_detected(lab: Lab, question: Path) -> None:
    found = await Bench(lab).batch.transcribe(question, language="en-GB")

    assert (found.language, found.language_confidence) == ("en-GB", None)


# The conformance suites in `tests/providers` show each kind of failure of each provider.
FAULTS = [
    ({"fault": "refuse"}, Kind.NETWORK),
    ({"fault": "http", "status": 429, "retry_after_s": 2}, Kind.RATE_LIMITED),
    ({"fault": "http", "status": 401}, Kind.AUTH),
    ({"fault": "silent", "where": "handshake"}, Kind.TIMEOUT),
    ({"fault": "silent"}, Kind.TIMEOUT),
    ({"fault": "garbage"}, Kind.PROTOCOL),
]
IDS = ["refused", "429", "401", "mute", "hangs", "garbage"]


@pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=IDS)
async def test_a_standby_hears_the_recording_when_a_recogniser_fails(
    lab: Lab, question: Path, fault: dict[str, Any], kind: Kind
) -> None:
    bench = Bench(lab)
    break_it(lab, "deepgram", fault)

    found = await bench.batch.transcribe(question)

    assert found.provider == "deepgram-b"
    assert bench.failures() == [("deepgram", kind)]
    assert [event.after for event in bench.told if isinstance(event, RungChosen)] == ["deepgram-b"]


SPEAKING: list[tuple[dict[str, Any], set[Kind]]] = [
    ({"fault": "silent"}, {Kind.TIMEOUT, Kind.STALLED}),
    ({"fault": "garbage"}, {Kind.PROTOCOL, Kind.CUT}),
    ({"fault": "cut", "after_words": 3}, {Kind.CUT, Kind.NETWORK}),
    ({"fault": "stall", "after_words": 3}, {Kind.STALLED}),
    ({"fault": "mistaken", "what": "odd_pcm"}, set()),
]


@pytest.mark.parametrize(
    ("voice", "fault", "kinds"),
    [
        *[("cartesia", fault, {kind}) for fault, kind in FAULTS[:4]],
        *[(voice, *row) for voice in ("cartesia", "elevenlabs") for row in SPEAKING],
    ],
)
async def test_a_standby_says_the_text_when_a_voice_fails(
    lab: Lab, voice: str, fault: dict[str, Any], kinds: set[Kind]
) -> None:
    own_first = [voice, *({"cartesia", "elevenlabs"} - {voice})]
    by_order = lambda rungs: sorted(rungs, key=lambda each: own_first.index(each["name"]))  # noqa: E731
    bench = Bench(lab, stages={"tts": by_order})
    break_it(lab, voice, fault)

    sound = await bench.batch.say(TEXT)

    assert {kind for _, kind in bench.failures()} <= kinds
    assert sound.provider == (own_first[1] if kinds else voice)
    assert len(sound.pcm) / 2 / 8000 > 3.0


async def test_a_voice_is_asked_for_the_rate_of_the_file(lab: Lab) -> None:
    batch = Bench(lab).batch

    slow, fast = await batch.say(TEXT), await batch.say(TEXT, rate_hz=24_000)

    assert (slow.rate_hz, fast.rate_hz) == (8000, 24_000)
    assert len(fast.pcm) == pytest.approx(3 * len(slow.pcm), rel=0.01)


async def test_a_lone_recogniser_is_asked_again_after_five_seconds(
    lab: Lab, question: Path
) -> None:
    bench = Bench(lab, stages={"stt": lambda rungs: rungs[:1]})
    break_it(lab, "deepgram", {"fault": "http", "status": 503, "until_s": 3.0})
    began = clock.monotonic()

    found = await bench.batch.transcribe(question)

    assert found.text
    assert 4.5 <= clock.monotonic() - began <= 6.5
    assert bench.state("stt", "deepgram") is State.CLOSED


async def test_the_wait_that_a_provider_asks_for_is_kept(lab: Lab, question: Path) -> None:
    bench = Bench(lab, stages={"stt": lambda rungs: rungs[:1]})
    limited = {"fault": "http", "status": 429, "retry_after_s": 20, "until_s": 10.0}
    break_it(lab, "deepgram", limited)

    await bench.batch.transcribe(question)

    planned = [event.wait_s for event in bench.told if isinstance(event, RetryPlanned)]
    assert planned == [20.0]


async def test_when_all_is_down_each_is_asked_four_times_and_its_breaker_opens(
    lab: Lab, question: Path
) -> None:
    bench = Bench(lab)
    for name in ("deepgram", "deepgram-b"):
        break_it(lab, name, {"fault": "http", "status": 503})

    with pytest.raises(TransientError, match="answered 503"):
        await bench.batch.transcribe(question)

    assert [name for name, _ in bench.failures()].count("deepgram") == 4
    assert [name for name, _ in bench.failures()].count("deepgram-b") == 4
    exhausted = [
        attempt.provider for attempt in bench.told if isinstance(attempt, RetriesExhausted)
    ]
    assert sorted(exhausted) == ["deepgram", "deepgram-b"]
    assert bench.state("stt", "deepgram") is State.OPEN


async def test_a_wrong_key_is_not_asked_twice_and_takes_its_account_along(
    lab: Lab, question: Path
) -> None:
    one_account = lambda rungs: [rung | {"account": "ours"} for rung in rungs]  # noqa: E731
    bench = Bench(lab, stages={"stt": one_account})
    break_it(lab, "deepgram", {"fault": "quota"})

    with pytest.raises(PermanentError, match="no credit"):
        await bench.batch.transcribe(question)

    assert bench.failures() == [("deepgram", Kind.QUOTA)]
    assert bench.state("stt", "deepgram") is State.OPEN
    assert bench.state("stt", "deepgram-b") is State.OPEN


async def test_a_rung_with_an_open_breaker_is_not_asked(lab: Lab, question: Path) -> None:
    bench = Bench(lab)
    bench.availability.of("stt", "deepgram").breaker.trip(clock.monotonic())

    found = await bench.batch.transcribe(question)

    assert found.provider == "deepgram-b"
    assert not asked(lab, "deepgram")


async def test_no_rung_is_asked_while_every_breaker_is_open(lab: Lab, question: Path) -> None:
    bench = Bench(lab, stages={"stt": lambda rungs: rungs[:1]})
    bench.availability.of("stt", "deepgram").breaker.trip(clock.monotonic())

    with pytest.raises(ServiceError, match="not asked"):
        await bench.batch.transcribe(question)


async def test_an_unreadable_recording_does_not_count_against_a_rung(
    lab: Lab, tmp_path: Path
) -> None:
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"RIFF and nothing that follows from it")
    bench = Bench(lab)

    with pytest.raises(PermanentError, match="does not accept this recording"):
        await bench.batch.transcribe(noise)

    assert bench.failures() == [
        ("deepgram", Kind.BAD_REQUEST),
        ("deepgram-b", Kind.BAD_REQUEST),
    ]
    assert bench.availability.of("stt", "deepgram").suspect_since is None


async def test_events_hold_no_secret(lab: Lab, question: Path) -> None:
    bench = Bench(lab)
    for name in ("deepgram", "deepgram-b"):
        break_it(lab, name, {"fault": "http", "status": 401})

    with pytest.raises(PermanentError) as refused:
        await bench.batch.transcribe(question)

    key = lab.instance("deepgram").api_key
    assert key not in f"{refused.value} {bench.told}"


async def test_a_file_that_is_no_recording_is_reported_before_a_provider_is_asked(
    lab: Lab, tmp_path: Path
) -> None:
    empty, too_large = tmp_path / "empty.wav", tmp_path / "large.wav"
    empty.touch()
    with too_large.open("wb") as file:
        file.truncate(101 << 20)
    reported = {empty: "empty, no bytes", too_large: "101 MB; at most 100 MB"}
    for path, why in (reported | {tmp_path / "gone.wav": "no such file"}).items():
        with pytest.raises(UnusableInputError, match=why):
            await Bench(lab).batch.transcribe(path)

    assert not asked(lab, "deepgram")


async def test_an_unspeakable_text_is_reported(lab: Lab) -> None:
    for text in ("", " ... ", "a" * 5001):
        with pytest.raises(UnusableInputError):
            await Bench(lab).batch.say(text)
