"""The TTS stage against simulated voices: every word is heard once, whatever fails."""

import asyncio
import json
import time
from typing import Any

import pytest
from pipecat.frames.frames import (
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.services.settings import TTSSettings
from websockets.asyncio.client import ClientConnection

from fallbacks.breaker import State
from fallbacks.events import RungChosen, StageExhausted
from fallbacks.ladder import StagePolicy
from fallbacks.word_times import CHARACTER_S
from lab.callers import spoken_s
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.lab import Lab
from lab.simulators.receptionist.phrases import hours
from lab.simulators.record import Request
from lab.simulators.schedule import Window
from processors.speaking.speech_queue import AHEAD_S, RUNG, TakeBackFrame
from providers import sockets as one_address
from providers.sockets import ConnectHere
from tests.kit.faults import DEAD, MUTE, cuts, stalls
from tests.processors.speaking.tts_bench import RATE_HZ, Talk, policy, talking, usage

pytestmark = pytest.mark.virtual_time

TEXT = "Hello there, this is Holdline, how are you?"

BROKEN: dict[str, Fault] = {
    **cuts(4),
    "inside a word": faults.Cut(after_words=4, how="reset", inside_word=True),
    **stalls(4),
}
ODD: dict[str, Fault] = {
    "cut at the first word": faults.Cut(after_words=1, how="reset"),
    "garbage": faults.Garbage(),
    "torn samples": faults.Mistaken(what="odd_pcm"),
    "no word times": faults.Mistaken(what="null_alignment"),
    "no end": faults.Mistaken(what="no_final"),
    "twice": faults.Duplicate(),
}
VOICES = ("cartesia", "elevenlabs")
LADDERS = {"cartesia first": VOICES, "elevenlabs first": VOICES[::-1]}


def probed(shared: StagePolicy, name: str) -> None:
    now = time.monotonic()
    permit = shared.availability.of("tts", name).permit(now, probe=True)
    assert permit
    shared.availability.succeeded(("tts", name), permit, now=now)


def break_(lab: Lab, name: str, fault: Fault | None) -> None:
    lab.instance(name).set_faults([Window(fault=fault)] if fault else [])


async def spoken(talk: Talk, text: str = TEXT) -> None:
    await talk.reply(*text.split())
    await talk.until(lambda: talk.said, within_s=15.0)


def sound_s(talk: Talk, rung: str | None = None) -> float:
    """Return the seconds of sound that left the stage, from one rung or from all."""
    frames = [f for f in talk.kept_of(TTSAudioRawFrame) if rung in (None, f.metadata[RUNG])]
    return sum(len(frame.audio) for frame in frames) / 2 / RATE_HZ


async def test_a_healthy_reply_is_spoken_by_the_first_rung_only(lab: Lab) -> None:
    async with talking(lab) as talk:
        await spoken(talk)

    assert talk.said == [TEXT]
    assert (talk.asked, talk.failures) == (["cartesia"], [])
    assert usage(talk) == ["cartesia"]
    assert sound_s(talk) == pytest.approx(
        lab.record.words("cartesia")[-1].end_s, abs=0.3
    )  # and the silence after it


@pytest.mark.parametrize(
    ("ladder", "name"),
    [
        *(("cartesia first", name) for name in DEAD),
        *(("elevenlabs first", name) for name in ("refused", "401", "hung handshake")),
    ],
)
async def test_a_dead_rung_is_skipped_at_once(lab: Lab, ladder: str, name: str) -> None:
    names = LADDERS[ladder]
    break_(lab, names[0], DEAD[name])
    async with talking(lab, names) as talk:
        at = await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.line.played)
        first_s = talk.line.audible_from - at
        await talk.worker.cancel()

    assert first_s <= 0.3 + 0.4
    assert talk.asked == list(names)
    assert not talk.spoken_by(names[0])


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
@pytest.mark.parametrize("fault", MUTE.values(), ids=MUTE)
async def test_a_mute_rung_is_replaced_in_time(
    lab: Lab, fault: Fault, ladder: tuple[str, str]
) -> None:
    break_(lab, ladder[0], fault)
    async with talking(lab, ladder) as talk:
        at = await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.words == TEXT)
        first_s = talk.line.audible_from - at
        await talk.worker.cancel()

    assert first_s <= 0.3 + 0.8
    assert talk.failures == [(ladder[0], "timeout")]


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
@pytest.mark.parametrize("name", BROKEN)
async def test_a_voice_that_breaks_loses_no_word_and_leaves_no_gap(
    lab: Lab, name: str, ladder: tuple[str, str]
) -> None:
    break_(lab, ladder[0], BROKEN[name])
    async with talking(lab, ladder) as talk:
        await spoken(talk)

    assert talk.said == [TEXT]
    assert talk.words == TEXT
    assert max(talk.line.gaps_s) <= 0.6
    kinds = [type(frame) for frame in talk.kept]
    for once in (
        LLMFullResponseStartFrame,
        LLMFullResponseEndFrame,
        TTSStartedFrame,
        TTSStoppedFrame,
    ):
        assert kinds.count(once) == 1
    assert kinds.index(LLMFullResponseStartFrame) < kinds.index(TTSStartedFrame)
    assert kinds.index(TTSStoppedFrame) < kinds.index(LLMFullResponseEndFrame)


@pytest.mark.parametrize("fault", ODD.values(), ids=ODD)
async def test_a_voice_that_breaks_its_own_protocol_loses_no_word(lab: Lab, fault: Fault) -> None:
    break_(lab, "cartesia", fault)
    async with talking(lab) as talk:
        await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.kept_of(LLMFullResponseEndFrame))
        await talk.worker.cancel()

    assert talk.words == TEXT


async def test_a_call_that_ends_while_it_tries_a_rung_leaves_the_rung_to_others(lab: Lab) -> None:
    shared = policy(("cartesia",), time.monotonic())
    rung = shared.availability.of("tts", "cartesia")
    rung.breaker.trip(time.monotonic())
    break_(lab, "cartesia", faults.Silent())
    async with talking(lab, ("cartesia",), shared=shared) as talk:
        await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.asked)
        await talk.worker.cancel()

    assert rung.permit(time.monotonic(), probe=True)


async def test_a_server_with_other_key_spellings_says_every_reply_at_once(
    lab: Lab,
) -> None:
    break_(lab, "elevenlabs", faults.Mistaken(what="snake_case"))
    texts = [f"This is the reply with the number {number}." for number in ("one", "two", "three")]
    waits_s = []
    async with talking(lab, ("elevenlabs",)) as talk:
        for text in [*texts, *texts]:
            before = len(talk.line.played)
            asked_at = await talk.reply(*text.split())
            await talk.until(lambda before=before: len(talk.line.played) > before)
            waits_s.append(talk.line.played[before][0] - asked_at)
            await talk.until(lambda text=text: " ".join(talk.said).endswith(text))

    assert " ".join(talk.said) == " ".join([*texts, *texts])
    assert max(waits_s) < 0.6
    assert talk.failures == []


ODD_TIMES: dict[str, dict[str, Any]] = {
    "no start": {"words": ["Hello"], "start": [None], "end": [0.3]},
    "no word": {"words": [None], "start": [0.0], "end": [0.3]},
    "endless": {"words": ["Hello"], "start": [0.0], "end": [float("inf")]},
}


@pytest.mark.parametrize("times", ODD_TIMES.values(), ids=ODD_TIMES)
async def test_a_word_without_its_time_does_not_silence_the_call(
    lab: Lab, times: dict[str, Any]
) -> None:
    break_(lab, "cartesia", faults.Stall(after_words=2))
    async with talking(lab) as talk:
        service: Any = talk.stage._rungs["cartesia"].pipe.service
        await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.kept_of(TTSAudioRawFrame))
        odd = {"type": "timestamps", "context_id": service.tap.context.name}
        await service._report_and_convert(
            service._ear, json.dumps({**odd, "word_timestamps": times})
        )
        await talk.until(lambda: talk.said)
        await talk.reply("And", "again.")
        await talk.until(lambda: len(talk.said) == 2)

    assert talk.said == [TEXT, "And again."]


async def test_each_word_of_a_resumed_sentence_sounds_once(lab: Lab) -> None:
    break_(lab, "cartesia", faults.Cut(after_words=4, how="reset"))
    async with talking(lab) as talk:
        await spoken(talk)

    second = talk.spoken_by("elevenlabs")
    repeated = second[0].text
    first = [word for word in talk.spoken_by("cartesia") if word.text != repeated]
    assert [word.text for word in [*first, *second]] == TEXT.split()
    assert sound_s(talk, "cartesia") == pytest.approx(first[-1].end_s, abs=0.08)
    assert sound_s(talk, "elevenlabs") == pytest.approx(second[-1].end_s, abs=0.3)


async def test_the_voice_that_took_over_stays_for_the_call_and_the_next_call_returns(
    lab: Lab,
) -> None:
    shared = policy(("cartesia", "elevenlabs"), time.monotonic())
    break_(lab, "cartesia", faults.Cut(after_words=2, how="reset"))
    async with talking(lab, shared=shared) as talk:
        await spoken(talk)
        break_(lab, "cartesia", None)
        probed(shared, "cartesia")
        await talk.reply("And what else?")
        await talk.until(lambda: len(talk.said) == 2)
    chosen = talk.facts(RungChosen)

    async with talking(lab, shared=shared) as second:
        await second.reply("Hello.")
        await second.until(lambda: second.said)

    assert talk.asked == ["cartesia", "elevenlabs", "elevenlabs"]
    assert [(fact.before, fact.after) for fact in chosen] == [("cartesia", "elevenlabs")]
    assert second.asked == ["cartesia"]


async def test_a_barge_in_during_a_resumed_sentence_keeps_the_heard_words(lab: Lab) -> None:
    break_(lab, "cartesia", faults.Cut(after_words=3, how="reset"))
    async with talking(lab) as talk:
        await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.line.length_s > 1.2)
        failed = list(talk.failures)
        await talk.put(InterruptionFrame())
        await talk.until(lambda: talk.said)
        heard_s = talk.line.length_s
        await asyncio.sleep(0.2)

        assert TEXT.startswith(talk.said[0])
        assert 3 <= len(talk.said[0].split()) < len(TEXT.split())
        assert talk.line.length_s - heard_s < 0.1
        assert talk.failures == failed == [("cartesia", "cut")]

        await talk.reply("Of course.")
        await talk.until(lambda: len(talk.said) == 2)

    assert talk.said[1] == "Of course."
    assert talk.asked == ["cartesia", "elevenlabs", "elevenlabs"]


async def test_a_script_without_spaces_is_remembered_as_it_was_written(lab: Lab) -> None:
    async with talking(lab) as talk:
        await talk.reply("We call it 你好 here.")
        await talk.until(lambda: talk.said)

    assert talk.said == ["We call it 你好 here."]
    words = [frame.text for frame in talk.kept_of(TTSTextFrame)]
    assert words == ["We", "call", "it", " 你", "好", "here."]


async def test_late_output_of_a_cancelled_rung_is_dropped(lab: Lab) -> None:
    break_(lab, "cartesia", faults.LateAfterCancel(delay_s=1.0))
    async with talking(lab) as talk:
        await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.line.length_s > 0.3)
        await talk.put(InterruptionFrame())
        await talk.until(lambda: any(isinstance(f, InterruptionFrame) for f in talk.kept))
        since = len(talk.kept)
        await talk.reply("Of course.")
        await talk.until(lambda: talk.said and talk.said[-1] == "Of course.")

    after = talk.kept[since:]
    assert [f.text for f in after if isinstance(f, TTSTextFrame)] == ["Of", "course."]
    last = talk.spoken_by("cartesia")
    alone_s = next(word.end_s for word in reversed(last) if word.text == "course.")
    late_s = sum(len(f.audio) for f in after if isinstance(f, TTSAudioRawFrame)) / 2 / RATE_HZ
    assert late_s == pytest.approx(alone_s, abs=0.3)


@pytest.mark.parametrize("hung", ["cartesia", "elevenlabs"])
async def test_a_hung_handshake_does_not_delay_the_start(lab: Lab, hung: str) -> None:
    break_(lab, hung, faults.Silent(where="handshake"))
    began = time.monotonic()
    async with talking(lab) as talk:
        assert time.monotonic() - began < 0.2
        await talk.put(TTSSpeakFrame("Hello."))
        await talk.until(lambda: talk.said)
        assert talk.said == ["Hello."]
        ending = time.monotonic()

    assert time.monotonic() - ending < 2.0


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
async def test_a_call_that_ends_while_its_voice_speaks_leaves_no_connection_open(
    lab: Lab, ladder: tuple[str, str]
) -> None:
    async with talking(lab, ladder) as talk:
        await talk.reply(*[TEXT] * 10)  # the provider would send the rest
        await talk.until(lambda: talk.line.length_s > 0.5)
        await talk.worker.cancel()
    await asyncio.sleep(0.1)

    outcomes = {request.outcome for name in ladder for request in lab.record.requests(name)}
    assert "open" not in outcomes


async def test_without_a_usable_rung_the_call_continues_and_the_rest_is_reported(lab: Lab) -> None:
    for name in VOICES:
        break_(lab, name, faults.Refuse())
    notice = TTSSpeakFrame("This call is recorded.")
    notice.interruptible = False
    async with talking(lab) as talk:
        await talk.put(notice)
        await talk.reply(*TEXT.split())
        await talk.until(lambda: len(talk.unsaid) == 2)

        assert talk.unsaid == [notice.text, TEXT]
        assert talk.protected == [True, False]
        assert talk.facts(StageExhausted)
        assert talk.kept_of(LLMFullResponseEndFrame)
        assert not talk.kept_of(TTSTextFrame)


async def test_a_rung_that_gave_up_is_revived_and_speaks_again(lab: Lab) -> None:
    break_(lab, "cartesia", faults.Refuse())
    shared = policy(("cartesia",), time.monotonic())
    async with talking(lab, ("cartesia",), shared=shared) as talk:
        await talk.reply("Lost.")
        await talk.until(lambda: talk.unsaid)

        break_(lab, "cartesia", None)
        await talk.until(lambda: talk.stage._rungs["cartesia"].connection.up)
        shared.availability.reset("cartesia", time.monotonic())  # three refusals opened its breaker
        probed(shared, "cartesia")
        probed(shared, "cartesia")
        await talk.reply("Here again.")
        await talk.until(lambda: talk.said)

    assert talk.said == ["Here again."]


@pytest.mark.parametrize("name", ["cartesia", "elevenlabs"])
async def test_a_voice_that_ended_without_a_sound_is_heard_again_in_the_same_call(
    lab: Lab, name: str
) -> None:
    break_(lab, name, faults.Mistaken(what="no_audio"))
    shared = policy((name,), time.monotonic())
    async with talking(lab, (name,), shared=shared) as talk:
        await talk.reply("Lost.")
        await talk.until(lambda: talk.unsaid)
        assert talk.failures == [(name, "silent")] * 3

        break_(lab, name, None)
        shared.availability.reset(name, time.monotonic())  # three silences opened its breaker
        probed(shared, name)
        probed(shared, name)
        for text in ("Here again.", "And again."):
            since = len(talk.said)
            await talk.reply(text)
            await talk.until(lambda since=since: len(talk.said) > since)

    assert " ".join(talk.said) == "Here again. And again."
    assert len(talk.failures) == 3


@pytest.mark.parametrize("name", ["cartesia", "elevenlabs", "local"])
async def test_a_connected_voice_that_pipecat_gave_up_is_reconnected(lab: Lab, name: str) -> None:
    async with talking(lab, (name,)) as talk:
        await spoken(talk, "First.")
        await talk.stage._rungs[name].pipe.service.set_usable(False)
        await talk.reply("Second.")
        await talk.until(lambda: len(talk.said) > 1)

    assert talk.said == ["First.", "Second."]
    assert talk.failures == []


@pytest.mark.parametrize(("words", "gap_s"), [(1, 0.02), (3, 0.01), (4, 0.03), (5, 0.02)])
async def test_a_cut_between_two_sentences_loses_no_word_of_the_second(
    lab: Lab, words: int, gap_s: float
) -> None:
    text = hours("")
    break_(lab, "cartesia", faults.Cut(after_words=words, how="reset"))
    async with talking(lab) as talk:
        await talk.reply_slowly(*text.split(), gap_s=gap_s)
        await talk.until(lambda: talk.said, within_s=15.0)

    assert talk.said == [text]
    assert talk.line.length_s > 0.85 * spoken_s(text)


async def test_an_error_and_the_close_after_it_are_one_failure(lab: Lab) -> None:
    async with talking(lab, ("elevenlabs",)) as talk:
        await spoken(talk, "Connected.")
        error = faults.Cut(after_words=2, how="error")
        lab.instance("elevenlabs").set_faults([Window(fault=error, requests=1)])
        await talk.reply(*TEXT.split())
        await talk.until(lambda: len(talk.said) > 1, within_s=15.0)

    assert talk.said == ["Connected.", TEXT]
    assert talk.asked == ["elevenlabs"] * 3
    assert len(talk.failures) == 1


async def connect_from_afar(uri: str, **kwargs: Any) -> ClientConnection:
    await asyncio.sleep(0.1)
    return await ConnectHere(uri, **kwargs)


@pytest.mark.parametrize("when", ["while it connects", "when it was refused"])
async def test_a_refused_connection_counts_once_and_is_tried_again_when_no_other_is_left(
    lab: Lab, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_address, "ConnectHere", connect_from_afar)
    refused = faults.Http(status=503)
    for name in VOICES:
        lab.instance(name).set_faults([Window(fault=refused, requests=1)])
    async with talking(lab) as talk:
        connection = talk.stage._rungs[VOICES[0]].connection
        if when == "when it was refused":
            await talk.until(lambda: not connection.is_connecting)
        else:
            assert connection.is_connecting
        await spoken(talk)

    assert talk.said == [TEXT]
    assert talk.asked == [*VOICES, VOICES[0]]
    assert [provider for provider, _ in talk.failures] == [*VOICES]


async def test_a_filler_survives_a_failover_and_a_barge_in_and_is_not_remembered(lab: Lab) -> None:
    break_(lab, "cartesia", faults.Cut(after_words=2, how="reset"))
    filler = TTSSpeakFrame("One moment please, I am looking it up.", append_to_context=False)
    filler.interruptible = False
    async with talking(lab) as talk:
        await talk.put(filler)
        await talk.until(lambda: talk.line.length_s > 0.2)
        await talk.put(InterruptionFrame())
        await talk.until(lambda: talk.kept_of(TTSStoppedFrame))
        await talk.reply("Found it.")
        await talk.until(lambda: talk.said)

    assert talk.words == f"{filler.text} Found it."
    assert talk.said == ["Found it."]
    assert talk.asked == ["cartesia", "elevenlabs", "elevenlabs"]


async def test_a_barge_in_removes_no_protected_sound_from_the_line(lab: Lab) -> None:
    notice = TTSSpeakFrame("This call may be recorded, to train whoever answers it next.")
    notice.interruptible = False
    async with talking(lab) as talk:
        await talk.put(notice)
        await talk.until(lambda: talk.kept_of(TTSStoppedFrame))  # sent, and still to be played
        assert talk.caller_line.queued_s(time.monotonic()) > 0.5
        await talk.put(InterruptionFrame())
        await asyncio.sleep(0.05)
        dry_at = talk.caller_line.dry_at
        await asyncio.sleep(5.0)

    assert talk.words == notice.text
    assert dry_at == pytest.approx(talk.line.free_at_s, abs=0.1)


@pytest.mark.parametrize("sent", [False, True], ids=["as it is sent", "once it is sent"])
async def test_a_barge_in_at_a_protected_sentence_keeps_what_follows_it(
    lab: Lab, *, sent: bool
) -> None:
    notice = TTSSpeakFrame("This call may be recorded, to train whoever answers it next.")
    notice.interruptible = False
    kind = TTSStoppedFrame if sent else TTSStartedFrame
    async with talking(lab) as talk:
        await talk.put(notice, TTSSpeakFrame("We open at nine."), TTSSpeakFrame("We close at six."))
        await talk.until(lambda: len(talk.kept_of(kind)) == (3 if sent else 2))
        assert talk.caller_line.dry_at - 2.0 > time.monotonic()  # the first is being played
        await talk.put(InterruptionFrame())
        await talk.until(lambda: talk.stage.queue.speech.cut)

    assert talk.stage.queue.speech.cut
    assert talk.stage.queue.speech.cut.text == "We open at nine. We close at six."


async def test_a_barge_in_removes_sound_before_protected_sound(lab: Lab) -> None:
    notice = TTSSpeakFrame("This call may be recorded.")
    notice.interruptible = False
    async with talking(lab) as talk:
        await talk.reply(*TEXT.split())
        await talk.put(notice)
        await talk.until(lambda: len(talk.kept_of(TTSStartedFrame)) == 2)  # the reply is played
        await talk.put(InterruptionFrame())
        await talk.until(lambda: len(talk.kept_of(TTSStoppedFrame)) == 2)
        await asyncio.sleep(0.05)
        dry_at = talk.caller_line.dry_at
        await asyncio.sleep(5.0)

    assert talk.words.endswith(notice.text)
    assert dry_at == pytest.approx(talk.line.free_at_s, abs=0.3)


async def test_speech_inside_a_reply_keeps_its_place(lab: Lab) -> None:
    async with talking(lab) as talk:
        await talk.put(LLMFullResponseStartFrame())
        await talk.reply()
        await talk.put(TTSSpeakFrame("Greetings first."), TTSSpeakFrame("Then this."))
        await talk.until(lambda: talk.words == "Greetings first. Then this.")
        await talk.worker.cancel()

    assert len(talk.kept_of(TTSStartedFrame)) == 2


async def test_a_slow_model_does_not_make_a_voice_stalled(lab: Lab) -> None:
    async with talking(lab) as talk:
        await talk.put(LLMFullResponseStartFrame(), LLMTextFrame("That is done. "))
        await talk.put(LLMTextFrame("And "))
        await asyncio.sleep(0.9)
        await talk.put(LLMTextFrame("more. "), LLMFullResponseEndFrame())
        await talk.until(lambda: talk.said)

    assert talk.said == ["That is done. And more."]
    assert talk.failures == []
    assert set(talk.asked) == {"cartesia"}


async def test_a_call_ends_at_once_despite_hanging_rungs(lab: Lab) -> None:
    for name in ("cartesia", "elevenlabs"):
        break_(lab, name, faults.Silent())
    async with talking(lab) as talk:
        await talk.reply(*TEXT.split())
        await talk.until(lambda: len(talk.asked) == 2)
        began = time.monotonic()
        await talk.worker.cancel()
        await talk.finished.wait()

    assert time.monotonic() - began < 2.5


def speak_in(talk: Talk, language: str) -> list[TTSUpdateSettingsFrame]:
    services = [rung.pipe.service for rung in talk.stage._rungs.values()]
    frames = [
        TTSUpdateSettingsFrame(delta=TTSSettings(language=language), service=service)
        for service in services
    ]
    for frame in frames:
        frame.interruptible = False
    return frames


def languages(lab: Lab, name: str) -> list[str]:
    asked = lab.record.requests(name)
    return [
        request.details["language"] for request in asked if request.details.get("text", "").strip()
    ]


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
async def test_the_next_reply_is_requested_in_the_callers_language(
    lab: Lab, ladder: tuple[str, str]
) -> None:
    async with talking(lab, ladder) as talk:
        await spoken(talk)
        await talk.put(*speak_in(talk, "es"))
        await talk.reply("Hola, ", "buenos ", "dias.")
        await talk.until(lambda: len(talk.said) == 2)

    assert languages(lab, ladder[0]) == ["en", "es"]
    assert talk.said == [TEXT, "Hola, buenos dias."]
    assert (talk.failures, set(talk.asked)) == ([], {ladder[0]})


async def test_a_voice_that_dies_in_the_sign_after_a_number_loses_no_unit(lab: Lab) -> None:
    text = "That will cost you 25 € every month."
    break_(lab, "cartesia", faults.Cut(after_words=5, how="reset", inside_word=True))
    async with talking(lab) as talk:
        await spoken(talk, text)

    first, rest = (" ".join(word.text for word in talk.spoken_by(name)) for name in VOICES)
    assert talk.said == [text]
    assert (first, rest) == ("That will cost you 25", "€ every month.")


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
async def test_a_standby_speaks_the_callers_language_too(lab: Lab, ladder: tuple[str, str]) -> None:
    async with talking(lab, ladder) as talk:
        await talk.put(*speak_in(talk, "ru"))
        await asyncio.sleep(1.0)
        break_(lab, ladder[0], faults.Cut(after_words=4, how="reset"))
        await spoken(talk)

    assert languages(lab, ladder[1]) == ["ru"]
    assert talk.said == [TEXT]


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
async def test_current_speech_keeps_its_language(lab: Lab, ladder: tuple[str, str]) -> None:
    async with talking(lab, ladder) as talk:
        talk.turn.caller_stopped(time.monotonic())
        await talk.put(LLMFullResponseStartFrame(), LLMTextFrame("Hello there. And "))
        await talk.until(lambda: languages(lab, ladder[0]))
        await talk.put(*speak_in(talk, "es"))
        await talk.put(LLMTextFrame("now the rest of it. "), LLMFullResponseEndFrame())
        await talk.until(lambda: talk.said)
        await talk.reply("Hola.")
        await talk.until(lambda: len(talk.said) == 2)

    assert languages(lab, ladder[0]) == ["en", "es"]
    assert talk.said == ["Hello there. And now the rest of it.", "Hola."]
    assert talk.failures == []


THOUGHTS = "The user wants the hours. I should look them up in the list, and then say them. "
ANSWERED = ("We", "open", "at", "nine.")


@pytest.mark.parametrize("after_s", [0.0, 0.6, 8.0])
async def test_thoughts_that_are_spoken_when_they_end_are_stopped_and_leave_the_context(
    lab: Lab, after_s: float
) -> None:
    async with talking(lab) as talk:
        await talk.reply("Good", "day.")
        await talk.until(lambda: talk.said)
        await talk.begin_reply()
        await talk.write(*THOUGHTS.split(), gap_s=0.0)
        await asyncio.sleep(after_s)
        heard = talk.words.removeprefix("Good day.").split()
        await talk.put(TakeBackFrame(characters=len(THOUGHTS)))
        await talk.write(*ANSWERED, gap_s=0.0)
        await talk.end_reply()
        await talk.until(lambda: len(talk.said) > 1)

    assert talk.said == ["Good day.", "We open at nine."]
    assert talk.words.endswith("We open at nine.")
    assert len(talk.words.split()) <= len(heard) + len(["Good", "day.", *ANSWERED]) + 1
    assert talk.failures == []


async def test_a_word_that_is_taken_back_withdraws_no_reply(lab: Lab) -> None:
    async with talking(lab) as talk:
        await talk.begin_reply()
        await talk.write("One", "moment.", "check_order", gap_s=0.0)
        await talk.put(TakeBackFrame(characters=len("check_order ")))
        await talk.end_reply()
        await talk.until(lambda: talk.said)

    assert talk.said == ["One moment."]
    assert talk.kept_of(InterruptionFrame) == []


@pytest.mark.parametrize("after_s", [0.0, 3.0])
async def test_a_half_sentence_that_is_taken_back_is_not_spoken(lab: Lab, after_s: float) -> None:
    async with talking(lab) as talk:
        await talk.begin_reply()
        await talk.write("We", "open", "at", "nine.", "From", "Monday", "to", gap_s=0.0)
        await asyncio.sleep(after_s)
        await talk.put(TakeBackFrame(unfinished=True))
        await talk.end_reply()
        await talk.until(lambda: talk.said)
        await talk.reply("Good", "day.")
        await talk.until(lambda: len(talk.said) > 1)

    assert talk.said == ["We open at nine.", "Good day."]
    assert talk.kept_of(InterruptionFrame) == []


async def test_a_caller_who_interrupts_in_another_language_is_answered_in_it(lab: Lab) -> None:
    async with talking(lab) as talk:
        await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.kept_of(TTSTextFrame))
        await talk.put(*speak_in(talk, "es"), InterruptionFrame())
        await talk.reply("Hola.")
        await talk.until(lambda: talk.said and talk.said[-1] == "Hola.")

    assert languages(lab, "cartesia") == ["en", "es"]
    assert talk.failures == []


async def test_a_voice_that_reconnects_for_another_language_is_waited_for_and_not_suspect(
    lab: Lab,
) -> None:
    async with talking(lab, LADDERS["elevenlabs first"]) as talk:
        await spoken(talk)
        break_(lab, "elevenlabs", faults.Silent(where="handshake"))
        await talk.put(*speak_in(talk, "es"))
        await asyncio.sleep(0.4)  # a model's first sentence takes about as long
        await talk.reply("Hola.")
        await asyncio.sleep(0.2)
        break_(lab, "elevenlabs", None)
        await talk.until(lambda: len(talk.said) == 2)

    assert talk.failures == []
    assert languages(lab, "elevenlabs") == ["en", "es"]


async def test_a_barge_in_while_a_voice_reconnects_does_not_lose_it_for_the_call(
    lab: Lab,
) -> None:
    async with talking(lab, LADDERS["elevenlabs first"]) as talk:
        talk.turn.caller_stopped(time.monotonic())
        await talk.put(LLMFullResponseStartFrame(), LLMTextFrame("Hello there. And "))
        await talk.until(lambda: languages(lab, "elevenlabs"))
        await talk.put(*speak_in(talk, "es"))  # for the next speech
        await talk.put(LLMTextFrame("now the rest of it. "), LLMFullResponseEndFrame())
        await talk.until(lambda: talk.said)
        break_(lab, "elevenlabs", faults.Silent(where="handshake"))
        await talk.reply("Hola.")
        await asyncio.sleep(0.2)
        await talk.put(InterruptionFrame())
        await asyncio.sleep(0.2)
        break_(lab, "elevenlabs", None)
        await asyncio.sleep(5.0)
        await talk.reply("Buenos ", "dias.")
        await talk.until(lambda: len(talk.said) == 2)

    assert languages(lab, "elevenlabs") == ["en", "es"]
    assert talk.failures == []


async def test_with_every_voice_out_a_callers_own_attempt_is_made_and_heard(lab: Lab) -> None:
    shared = policy(VOICES, time.monotonic())
    rungs = [shared.availability.of("tts", name) for name in VOICES]
    for rung in rungs:
        rung.breaker.trip(time.monotonic())
    async with talking(lab, shared=shared) as talk:
        await spoken(talk)

    assert talk.said == [TEXT]
    assert (talk.asked, talk.failures, talk.unsaid) == (["cartesia"], [], [])
    assert [rung.breaker.state for rung in rungs] == [State.CLOSED, State.OPEN]


WORDLESS = (
    '<break time="1s"/>', "<|im_end|>", "</s>", "\U0001f600", "\u2026", "- - -", "<b></b> ...",
)  # fmt: skip


async def test_pieces_without_words_reach_no_voice(lab: Lab) -> None:
    async with talking(lab, ["cartesia"]) as talk:
        await talk.put(*map(TTSSpeakFrame, WORDLESS))
        for mute in WORDLESS:
            heard = len(talk.said)
            await talk.reply("We open at nine.", mute)
            await talk.until(lambda heard=heard: len(talk.said) > heard)
            await talk.put(TTSSpeakFrame(mute))

    assert {said.rstrip(" \u2026") for said in talk.said} == {"We open at nine."}
    assert (talk.asked, talk.failures) == (["cartesia"] * len(WORDLESS), [])
    assert talk.unsaid == []


LONG = [f"This is sentence {number} of a reply that is long." for number in range(12)]


async def test_neither_a_voice_nor_its_replacement_is_ever_far_ahead_of_the_line(lab: Lab) -> None:
    break_(lab, "cartesia", faults.Cut(after_words=25, how="reset"))
    queued_s: list[float] = []
    async with talking(lab, limit_s=120.0) as talk:
        await talk.reply(*LONG)
        while not talk.said:
            queued_s.append(talk.caller_line.queued_s(time.monotonic()))
            await asyncio.sleep(0.2)

    assert talk.said == [" ".join(LONG)]
    assert max(queued_s) < AHEAD_S + 2.0  # the lab's voices speak a little slower than estimated
    assert max(talk.line.gaps_s, default=0.0) < 0.6
    assert talk.unsaid == []
    assert set(talk.asked) == set(VOICES)
    requests = {(word.instance, word.request): "" for word in lab.record.words()}
    for word in lab.record.words():
        requests[word.instance, word.request] += f"{word.text} "
    assert max(map(len, requests.values())) * CHARACTER_S < AHEAD_S + 4.0


@pytest.mark.parametrize(("ladder", "dies"), [(VOICES, False), (VOICES[::-1], True)])
async def test_after_a_barge_in_little_unheard_sound_is_billed(
    lab: Lab, ladder: tuple[str, str], *, dies: bool
) -> None:
    if dies:
        window = Window(fault=faults.Cut(after_words=25, how="reset"), requests=1)
        lab.instance(ladder[0]).set_faults([window])
    async with talking(lab, ladder, limit_s=120.0) as talk:
        await talk.reply(*LONG)
        await talk.until(lambda: talk.line.length_s > 15.0, within_s=60.0)
        await talk.put(InterruptionFrame())
        await asyncio.sleep(5.0)

    given = {name: [given_to(asked) for asked in lab.record.requests(name)] for name in ladder}
    billed = sum(len(text) for texts in given.values() for text in texts)  # as voices bill
    unheard_s = CHARACTER_S * (billed - len(talk.said[0]))
    assert unheard_s < AHEAD_S + 4.0
    assert bool(given[ladder[1]][1:]) is dies
    for text in given[ladder[1]]:
        assert len(text) * CHARACTER_S < AHEAD_S + 4.0


def given_to(request: Request) -> str:
    return str(request.details.get("text", ""))
