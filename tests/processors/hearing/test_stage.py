"""The caller's words are transcribed once, whatever the recognisers do."""

import asyncio
import time
from typing import Any

import pytest
from deepgram.core.unchecked_base_model import construct_type
from deepgram.listen.v1.types import ListenV1Results
from pipecat.frames.frames import (
    InterimTranscriptionFrame,
    InterruptionFrame,
    STTMetadataFrame,
    STTMuteFrame,
    STTUpdateSettingsFrame,
    TranscriptionFrame,
    UserAudioRawFrame,
)
from pipecat.metrics.metrics import STTUsageMetricsData
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies

from fallbacks.availability import AvailabilityTable
from fallbacks.breaker import State
from fallbacks.events import AttemptDropped, AttemptFailed, RungChosen, StageExhausted, Suspected
from fallbacks.failure import Kind, failed
from lab.simulators import faults
from lab.simulators.deepgram.socket import StreamLimits
from lab.simulators.faults import Fault
from processors.turn.ending import PauseBegan
from providers.catalog import provider
from tests.kit.bench import rung_spec
from tests.kit.caller import frames_of
from tests.kit.faults import REFUSALS, cuts, stalls
from tests.lab.simulators import synthetic_caller as caller
from tests.processors.hearing import stt_call
from tests.processors.hearing.stt_call import RATE_HZ, calling, words
from tests.processors.weather import REST_S, availability_of
from tests.providers.near_sphinx import hear_near

pytestmark = pytest.mark.virtual_time

FIRST = "I would like to book an appointment."
SECOND = "When are you open on Saturday?"


async def test_a_healthy_call_asks_the_first_rung_only() -> None:
    async with calling() as call:
        said = [await call.says(FIRST), await call.says(SECOND)]

        assert [words(item) for item in said] == [words(FIRST), words(SECOND)]
        assert call.asked == ["a", "a"]
        assert call.failures == []
        assert not call.facts(Suspected)
        assert call.stage.writer == "a"
        interim = call.bench.all(InterimTranscriptionFrame)
        assert interim
        assert all(item.text and item.metadata["rung"] == "a" for item in interim)
        timing = [item.service_name for item in call.bench.all(STTMetadataFrame)]
        assert timing == [call.stage._services[0].name] * 2  # once in each direction
    (standby,) = call.lab.instance("b").record.requests("b")
    assert standby.details["audio_s"] < 0.1


async def test_a_recogniser_that_can_end_turns_does_not_end_those_of_a_ladder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def recommend(service: STTService) -> STTMetadataFrame:
        own = ExternalUserTurnStrategies()
        return STTMetadataFrame(service.name, 0.4, user_turn_strategies=own)

    monkeypatch.setattr(STTService, "service_metadata_frame", recommend)
    async with calling() as call:
        await call.bench.until(lambda: len(call.bench.all(STTMetadataFrame)) == 2)

    told = call.bench.all(STTMetadataFrame)
    assert [(item.ttfs_p99_latency, item.user_turn_strategies) for item in told] == [
        (0.4, None)
    ] * 2


async def test_words_have_the_user_whose_audio_they_were_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def named(pcm: bytes, rate_hz: int) -> list[UserAudioRawFrame]:
        pieces = frames_of(pcm, rate_hz)
        return [UserAudioRawFrame(item.audio, rate_hz, 1, user_id="ann") for item in pieces]

    monkeypatch.setattr(stt_call, "frames_of", named)
    async with calling() as call:
        await call.says(FIRST)
        heard = call.bench.all(TranscriptionFrame) + call.bench.all(InterimTranscriptionFrame)

    assert {frame.user_id for frame in heard} == {"ann"}


async def test_a_caller_who_hangs_up_while_speaking_leaves_no_attempt_in_progress() -> None:
    async with calling() as call:
        await call.begins(caller.say(FIRST))
        await call.bench.until(lambda: call.asked)

    assert [dropped.attempt for dropped in call.facts(AttemptDropped)] == [1]


async def test_the_words_are_written_in_the_pause_before_the_vad_is_sure_and_once() -> None:
    async with calling() as call:
        await call.sound(await call.begins(caller.say(SECOND)))
        await call.silence(0.1)
        await call.bench.put(PauseBegan())
        await call.written(SECOND)
        written = call.text
        await call.stops()
        owed = call.stage.awaits_words()
        await call.silence(1.0)

        assert words(written) == words(call.text) == words(SECOND)
        assert not owed
        assert call.asked == ["a"]
        assert call.failures == []


async def test_a_caller_who_pauses_and_continues_loses_no_word_of_either_half() -> None:
    async with calling() as call:
        await call.sound(await call.begins(caller.say(FIRST)))
        await call.silence(0.1)
        await call.bench.put(PauseBegan())
        await call.silence(0.1)
        await call.sound(caller.say(SECOND))
        await call.stops()
        await call.written(f"{FIRST} {SECOND}")

        assert words(call.text) == words(f"{FIRST} {SECOND}")
        assert call.asked == ["a"]


DEATHS: dict[str, Fault] = {
    **cuts(3),
    **stalls(2),
    "garbage": faults.Garbage(),
    "mute": faults.Silent(),
    "slow": faults.SlowStart(delay_s=4.0),
}


@pytest.mark.parametrize(
    "name", [name for name in DEATHS if name not in ("error after 3 words", "slow")]
)
async def test_a_recogniser_that_fails_in_an_utterance_loses_no_word(name: str) -> None:
    async with calling(faults={"a": DEATHS[name]}, pace=2.5) as call:
        said = await call.says(FIRST)
        asked = len(call.asked)
        again = await call.says(SECOND)

        assert words(said) == words(FIRST)
        assert words(again) == words(SECOND)
        assert call.asked[asked:] == ["b"]  # the second utterance loses no time
        assert {name for name, _ in call.failures} == {"a"}
        assert [(fact.before, fact.after) for fact in call.facts(RungChosen)] == [("a", "b")]


async def test_a_recogniser_that_fails_between_utterances_is_detected_before_the_next() -> None:
    async with calling() as call:
        await call.says(FIRST)
        call.breaks("a", faults.Quota(where="event"))
        await call.until(lambda: call.failures)
        said = await call.says(SECOND)

        assert words(said) == words(SECOND)
        assert call.asked == ["a", "b"]


@pytest.mark.parametrize(("fault", "kind"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_a_refusal_at_the_start_is_detected(fault: Fault, kind: str) -> None:
    async with calling(faults={"a": fault}) as call:
        await call.until(lambda: call.failures)

        assert call.failures[0] == ("a", kind)


async def test_a_recogniser_that_refused_at_the_start_is_not_asked_for_the_first_word() -> None:
    async with calling(faults={"a": faults.Http(status=401)}) as call:
        await call.until(lambda: call.failures)
        said = await call.says(FIRST)

        assert words(said) == words(FIRST)
        assert call.asked == ["b"]


@pytest.mark.parametrize("name", ["a", "b"])
async def test_a_rung_whose_handshake_hangs_does_not_delay_the_start(name: str) -> None:
    began = time.monotonic()
    async with calling(faults={name: faults.Silent(where="handshake")}) as call:
        started_s = time.monotonic() - began
        said = await call.says(FIRST)

        assert started_s < 2.0  # the handshake gives up after 3 s
        assert words(said) == words(FIRST)


async def test_noise_that_triggers_the_vad_does_not_count_as_a_mute_recogniser() -> None:
    async with calling(pace=1.0) as call:
        await call.silence(0.5)
        await call.starts()
        await call.sound(caller.noise(3.0, rms=900))
        await call.stops()
        await call.until(lambda: not call.stage.awaits_words())

        assert call.asked == ["a"]
        assert call.failures == []
        assert not call.facts(Suspected)
        assert call.text == ""


async def test_a_barge_in_does_not_mute_the_recogniser() -> None:
    async with calling() as call:
        rest = await call.begins(caller.say(FIRST))
        await call.sound(rest[: len(rest) // 4 * 2])
        await call.bench.put(InterruptionFrame())
        await call.sound(rest[len(rest) // 4 * 2 :])
        await call.stops()
        await call.written(FIRST)

        assert words(call.text) == words(FIRST)


async def test_the_only_rung_is_reconnected_and_hears_everything_again() -> None:
    async with calling("a") as call:
        await call.sound(await call.begins(caller.say(FIRST)))
        call.lab.instance("a").drop_connections()
        await call.stops()
        await call.written(FIRST)

        assert words(call.text) == words(FIRST)
        assert call.asked == ["a", "a"]


async def test_a_rung_that_returns_writes_the_unwritten_words() -> None:
    away = faults.Http(status=503)
    async with calling(faults={"a": away, "b": away}, failures=50) as call:
        await call.sound(await call.begins(caller.say(FIRST)))
        call.breaks("b", None)
        await call.stops()
        await call.written(FIRST)

        assert words(call.text) == words(FIRST)
        assert call.facts(StageExhausted)


async def test_a_caller_who_continues_before_the_last_word_is_written_is_in_one_utterance() -> None:
    async with calling(faults={"a": faults.Silent()}, pace=6.0) as call:
        await call.sound(await call.begins(caller.say(FIRST)))
        await call.stops()
        await call.sound(await call.begins(caller.say(SECOND)))
        await call.stops()
        await call.written(FIRST + SECOND)  # it was over long before a recogniser was late

        assert words(call.text) == words(FIRST) + words(SECOND)
        assert call.bench.all(TranscriptionFrame)[-1].finalized
        assert call.asked == ["a", "b"]


async def test_a_lost_standby_is_connected_again_in_the_background() -> None:
    async with calling() as call:
        await call.until(lambda: len(call.lab.record.requests("b")) == 1)
        await call.until(lambda: len(call.lab.record.requests("a")) == 1)
        call.lab.instance("b").drop_connections()
        await call.until(lambda: len(call.lab.record.requests("b")) == 2)

        assert [fact.provider for fact in call.facts(AttemptFailed)] == ["b"]


async def test_the_first_rung_writes_again_when_it_is_no_longer_suspect() -> None:
    async with calling(faults={"a": faults.Cut(after_words=2)}) as call:
        await call.says(FIRST)
        call.breaks("a", None)
        health = call.policy.availability.of("stt", "a")
        await call.until(lambda: call.stage._rungs["a"].connected)
        permit = health.permit(time.monotonic())
        assert permit is not None
        health.succeeded(permit, time.monotonic())  # as a probe does
        await call.silence(1.1)
        assert call.stage.writer == "a"  # it already gets the audio when the caller begins
        said = await call.says(SECOND)

        assert words(said) == words(SECOND)
        assert call.stage.writer == "a"


def fail_another_call(availability: AvailabilityTable, name: str, kind: Kind) -> None:
    rung, now = availability.of("stt", name), time.monotonic()
    permit = rung.permit(now)
    assert permit is not None
    rung.failed(permit, failed(kind, "stt", provider=name), now=now, call="another")


async def test_a_recogniser_on_trial_is_connected_for_it() -> None:
    availability = availability_of("stt", ("a", "b"))  # without probes: the next caller tries it
    async with calling(
        faults={"a": faults.Http(status=503)}, pace=1.0, availability=availability
    ) as call:
        breaker = availability.of("stt", "a").breaker
        fail_another_call(availability, "a", Kind.OVERLOADED)
        await call.until(lambda: breaker.state is State.OPEN, limit_s=30.0)
        call.breaks("a", None)
        call.breaks("b", faults.Silent())
        await asyncio.sleep(REST_S)
        availability.tick(time.monotonic())
        said = await call.says(FIRST)

        assert words(said) == words(FIRST)
        assert call.stage.writer == "a"


async def test_a_recogniser_that_connects_later_has_the_latest_settings() -> None:
    async with calling("a", "b", "c") as call:
        services: dict[str, Any] = {r.name: r.pipe.service for r in call.stage._rungs.values()}
        for language, service in (("es", None), ("de", services["c"]), ("fr", services["a"])):
            settings = STTSettings(language=language)
            await call.bench.put(STTUpdateSettingsFrame(delta=settings, service=service))
        await call.silence(1.0)
        for name in "ab":
            call.breaks(name, faults.Refuse())
        await call.sound(await call.begins(caller.say(FIRST)))
        await call.until(lambda: call.stage._rungs["c"].connected)
        await asyncio.sleep(1.0)

    languages = {name: str(service._settings.language) for name, service in services.items()}
    assert languages == {"a": "fr", "b": "es", "c": "de"}


@pytest.mark.parametrize("before_s", [0.0, 4.0])
async def test_a_muted_caller_is_not_heard_and_no_recogniser_is_to_blame(before_s: float) -> None:
    async with calling("a", "b") as call:
        await call.silence(before_s)
        await call.bench.put(STTMuteFrame(mute=True))
        await call.sound(await call.begins(caller.say(FIRST)))
        await call.stops()
        await call.silence(6.0)
        muted = call.asked, call.text
        await call.bench.put(STTMuteFrame(mute=False))
        said = await call.says(SECOND)

    assert muted == ([], "")
    assert words(said) == words(SECOND)
    assert call.failures == []
    assert not call.facts(Suspected)


async def test_a_caller_who_speaks_when_the_mute_ends_is_heard_from_then_on() -> None:
    async with calling("a", "b") as call:
        await call.silence(4.0)
        await call.bench.put(STTMuteFrame(mute=True))
        await call.silence(3.0)
        await call.starts()
        await call.bench.put(STTMuteFrame(mute=False))
        await call.silence(0.2)
        await call.sound(caller.say(SECOND))
        await call.stops()
        await call.written(SECOND)

    assert words(call.text) == words(SECOND)
    assert call.failures == []
    assert not call.facts(Suspected)


async def test_a_caller_who_is_muted_and_unmuted_while_speaking_is_heard_before_and_after() -> None:
    async with calling("a", "b") as call:
        await call.sound(await call.begins(caller.say(FIRST)))
        await call.bench.put(STTMuteFrame(mute=True))
        await call.written(FIRST)
        await call.sound(caller.say("Now I am talking to my daughter."))
        await call.silence(3.0)
        await call.bench.put(STTMuteFrame(mute=False))
        await call.silence(0.2)
        await call.sound(caller.say(SECOND))
        await call.stops()
        await call.written(FIRST + SECOND)

    assert words(call.text) == words(FIRST) + words(SECOND)
    assert call.failures == []


async def test_heard_sound_is_billed_to_its_recogniser() -> None:
    async with calling(faults={"a": faults.Cut(after_words=3)}, pace=1.5) as call:
        await call.says(FIRST)
        await asyncio.sleep(0.05)

        billed = {measured.processor for measured in call.bench.measured(STTUsageMetricsData)}
        assert billed == {"b"}  # `a` died before it could report its sound


async def test_a_recogniser_that_lagged_does_not_lag_in_the_next_utterance() -> None:
    capped = StreamLimits(intake_cap=1.25)
    async with calling(limits=capped, pace=1.0) as call:
        await call.sound(await call.begins(caller.say(FIRST)))
        call.lab.instance("a").drop_connections()
        await call.stops()
        await call.written(FIRST)
        first = call.text
        begun = time.monotonic()
        said = await call.says(SECOND)
        took_s = time.monotonic() - begun - (0.5 + len(caller.say(SECOND)) / 32_000 + 0.24)

        assert [words(first), words(said)] == [words(FIRST), words(SECOND)]
        assert took_s < 0.7  # 0.15 s of them is our own waiting; it was 1 s behind


async def test_a_caller_who_continues_is_heard_by_a_lagging_recogniser() -> None:
    capped = StreamLimits(intake_cap=1.25)
    async with calling(limits=capped, pace=1.0) as call:
        await call.sound(await call.begins(caller.say(FIRST)))
        call.lab.instance("a").drop_connections()
        await call.stops()
        await call.sound(await call.begins(caller.say(SECOND)))
        await call.stops()
        await call.written(FIRST + SECOND)

        assert words(call.text) == words(FIRST) + words(SECOND)


def local() -> FrameProcessor:
    rung = rung_spec("stt", "local", name="local", sample_rate_hz=RATE_HZ)
    return provider("stt", "local").build(rung)


@pytest.mark.real_time  # the recogniser is a separate process
async def test_the_local_recogniser_is_started_when_no_other_is_left() -> None:
    away = faults.Http(status=401)
    async with calling(faults={"a": away, "b": away}, more={"local": local()}) as call:
        await call.until(lambda: len(call.failures) == 2)
        cold = not call.stage._rungs["local"].opened
        said = await call.says(FIRST)

        assert cold
        assert words(said)[-1] == "appointment"  # it may take the others for similar words
        assert call.stage.writer == "local"


async def test_noise_is_no_failure_of_the_local_recogniser() -> None:
    near, away = hear_near(local()), faults.Http(status=401)
    async with calling("a", faults={"a": away}, more={"local": near}) as call:
        await call.until(lambda: call.failures)
        await call.starts()
        await call.sound(caller.noise(1.0, rms=900))
        await call.stops()
        await call.until(lambda: not call.stage.awaits_words())

        assert call.failures == [("a", "auth")]
        assert not [fact for fact in call.facts(Suspected) if fact.provider == "local"]


async def test_the_local_recogniser_writes_once_the_words_from_before_another_was_asked() -> None:
    near, away = hear_near(local()), faults.Http(status=503)
    more = {"local": near}
    async with calling("a", faults={"a": away}, more=more, pace=1.0, failures=50) as call:
        await call.says(FIRST)
        health = call.policy.availability.of("stt", "a")
        permit = health.permit(time.monotonic())
        assert permit is not None
        health.succeeded(permit, time.monotonic())  # as in another call: half of them are refused
        said = await call.says(FIRST)

        assert words(said) == words(FIRST)
        assert call.asked == ["local", "a", "local"]


async def test_late_words_of_the_local_recogniser_are_not_written_again() -> None:
    caught_up = asyncio.Event()
    near = hear_near(local(), caught_up=caught_up)  # until then this machine is busy
    slow = faults.SlowStart(delay_s=3.0)
    async with calling("a", faults={"a": slow}, more={"local": near}, pace=1.0) as call:
        await call.until(lambda: call.stage._rungs["a"].connected)
        first = await call.says(FIRST)
        call.seen = len(call.bench.out)
        await call.sound(await call.begins(caller.say(SECOND)))
        await call.until(lambda: call.asked[2:] == ["a", "local"])
        caught_up.set()
        await call.stops()
        await call.written(SECOND)

        assert words(first) == words(FIRST)
        assert words(call.text) == words(SECOND)


async def test_a_result_with_an_invalid_word_does_not_stop_recognition() -> None:
    async with calling("a") as call:
        await call.sound(await call.begins(caller.say(FIRST)))
        service: Any = call.stage._services[0]
        heard = {"transcript": "", "confidence": 0.0, "words": [None]}
        odd = {"channel_index": [0, 1], "duration": 0.1, "start": 0.0, "is_final": False}
        odd |= {"type": "Results", "channel": {"alternatives": [heard]}, "metadata": {}}
        await service._on_message(construct_type(type_=ListenV1Results, object_=odd))
        await call.stops()
        await call.written(FIRST)

        assert words(call.text) == words(FIRST)


@pytest.mark.parametrize("speaks", [False, True], ids=["between utterances", "in an utterance"])
async def test_each_refusal_of_a_recogniser_counts_once(*, speaks: bool) -> None:
    away = faults.Http(status=503)
    async with calling(faults={"a": away, "b": away}, failures=50) as call:
        if speaks:
            await call.sound(await call.begins(caller.say(FIRST)))
            await call.stops()
        await asyncio.sleep(4.0)
        refused = [request.instance for name in "ab" for request in call.lab.record.requests(name)]

        assert sorted(name for name, _ in call.failures) == refused
        assert len(refused) > 2
