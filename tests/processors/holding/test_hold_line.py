"""What a caller hears when the answer is late or cannot come."""

import asyncio
import itertools
import time
from typing import Any, cast

import pytest
from pipecat.frames.frames import (
    EndWorkerFrame,
    Frame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    VADUserStartedSpeakingFrame,
)
from pipecat.utils.text.base_text_aggregator import TextType

from calls.events import AgentSaid, CallbackWanted, MessageLeft, PersonWanted
from calls.line import CallerLine
from calls.sentences import UNANSWERED
from fallbacks.events import (
    AttemptWon,
    HeldTheLine,
    StageRecovered,
)
from processors.holding.late_answer_rules import HoldSettings
from processors.holding.line_executor import WaitingSound
from processors.holding.outage_rules import OutageSettings
from processors.holding.own_voice import Speaker
from processors.holding.utterance_rules import PLAYS
from processors.speaking.speech_queue import WITHDRAWN
from tests.processors.holding.hold_bench import (
    ANSWER,
    CLIP,
    LOCAL,
    NEVER,
    RATE_HZ,
    SOON,
    TEXTS,
    Call,
    held,
    sound,
)

pytestmark = pytest.mark.virtual_time

WON = AttemptWon(stage="llm", provider="openai", attempt=1, after_s=0.2)


async def test_an_answer_in_time_is_heard_without_a_filler() -> None:
    async with held() as call:
        await call.stops()
        await call.answers(0.3)
        await asyncio.sleep(0.15)

    assert call.told == []
    assert call.clips() == []
    assert call.line.level(ANSWER)


async def test_a_late_answer_is_preceded_by_one_filler() -> None:
    async with held() as call:
        stopped_at = await call.stops()
        await call.until(lambda: call.held)
        await call.answers()
        await call.until(lambda: call.line.level(ANSWER))

        assert call.held == ["en.filler.0"]
        (told,) = [event for event in call.told if isinstance(event, HeldTheLine)]
        assert 0.1 <= told.after_s < 0.15
        assert call.clips()[0] - stopped_at < 0.2
        assert max(call.clips()) < min(call.line.level(ANSWER))
        assert call.remembered == []  # a filler is not in the model's context


async def test_a_filler_does_not_wait_for_a_sentence_that_hangs_above() -> None:
    async with held() as call:
        await call.stops()
        await call.until(lambda: call.held == ["en.filler.0", "en.llm.0"])

        gaps = [after - before for before, after in itertools.pairwise(call.clips())]
        assert max(gaps) < SOON.silence_s + 0.15


async def test_a_caller_who_continues_in_an_open_turn_is_not_interrupted() -> None:
    async with held() as call:
        await call.stops(decided=False, worded=True)
        await call.until(call.clips)
        spoke_at = time.monotonic()
        await call.put(VADUserStartedSpeakingFrame())
        await asyncio.sleep(0.3)

    assert len(call.clips()) > 0
    assert max(call.clips()) - spoke_at < 0.03


async def test_a_filler_being_rendered_is_not_said_over_a_caller_who_continues() -> None:
    async with held() as call:
        call.voice.takes_s = 0.1
        await call.stops(decided=False, worded=True)
        await call.until(lambda: call.voice.said)
        await call.put(VADUserStartedSpeakingFrame())
        await asyncio.sleep(0.3)

    assert call.clips() == []


async def test_a_barge_in_stops_a_clip_as_it_stops_any_speech() -> None:
    async with held() as call:
        await call.stops()
        call.exhausted()
        await call.until(call.clips)
        await call.starts()
        await asyncio.sleep(0.15)
        played = len(call.clips())
        await asyncio.sleep(0.1)

    assert len(call.clips()) == played
    assert played <= 2


async def test_a_caller_whose_answers_are_always_late_never_waits_in_silence() -> None:
    turns = 3 * len(TEXTS["en"]["filler"]) * PLAYS + 1
    async with held() as call:
        for turn in range(turns):
            await call.stops()
            await call.until(lambda turn=turn: len(call.held) > turn, within_s=0.4)
            await call.answers(0.05)
            await asyncio.sleep(0.15)

    assert len(call.held) == turns


async def outage(call: Call, *, turns: int) -> None:
    for turn in range(turns):
        await call.stops()
        call.exhausted()
        await call.until(lambda turn=turn: len(call.steps) > turn)


async def begin_message(call: Call) -> None:
    await outage(call, turns=3)
    await call.presses("2")
    await call.until(lambda: call.hold._executor.decision.outage.message)


async def test_an_unanswerable_caller_is_told_so_at_once_on_their_topic() -> None:
    async with held() as call:
        call.hold._phrases.heard = "I want to book a table"
        stopped_at = await call.stops()
        call.exhausted()
        await call.until(call.clips)

        assert call.steps == ["clip"]
        assert call.held == ["en.llm.1"]
        assert call.clips()[0] - stopped_at < 0.1


async def test_a_clip_in_place_of_an_answer_is_remembered_once_it_was_heard() -> None:
    async with held() as call:
        await call.stops()
        call.exhausted()
        await call.until(call.clips)
        before = list(call.remembered)
        await call.until(lambda: call.remembered)

    assert before == []
    assert call.remembered[0] == "I am still here."


async def test_only_the_beginning_of_an_interrupted_clip_is_remembered() -> None:
    async with held() as call:
        await call.hold.speak_locally("one two three four five six seven eight nine ten")
        await call.until(lambda: call.line.level(LOCAL))
        await asyncio.sleep(0.12)
        await call.starts()
        await call.until(lambda: call.remembered)

    (heard,) = call.remembered
    assert "one two three four five six seven eight nine ten".startswith(heard)
    assert 1 <= len(heard.split()) <= 8


async def test_silence_leads_to_a_goodbye_and_the_call_ends_with_words() -> None:
    async with held() as call:
        await call.stops()
        call.exhausted()
        await call.until(lambda: "hang up: outage" in call.desk.asked, within_s=10)

        assert call.steps == ["clip", "clip", "keypad", "keypad", "goodbye"]
        assert call.voice.said[-1] == "Thank you and goodbye."
        gaps = [after - before for before, after in itertools.pairwise(call.clips())]
        assert max(gaps) < 0.3 + 0.15
        assert max(call.voice.said.count(item) for item in call.voice.said) <= 3

    assert _said(call) == [(text, "cartesia") for text in call.voice.said]


async def test_the_conversation_continues_when_the_stage_returns() -> None:
    async with held() as call:
        await outage(call, turns=2)
        await call.stops()
        call.hold.notice(WON)
        await call.answers()
        await call.until(lambda: call.line.level(ANSWER))
        await asyncio.sleep(0.5)

    assert call.steps == ["clip", "clip"]
    assert [type(item) for item in call.told][-1] is StageRecovered


async def test_key_one_requests_a_callback_and_ends_the_call_with_words() -> None:
    async with held() as call:
        await outage(call, turns=3)
        await call.presses("1")
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    assert call.desk.asked == [f"call back: {UNANSWERED['llm']}", "hang up: outage"]
    assert call.voice.said[-2:] == ["We will call you back.", "Thank you and goodbye."]
    assert [event for event in call.told if isinstance(event, CallbackWanted)]


@pytest.mark.parametrize("disk", [True, False], ids=["kept", "refused by the disk"])
async def test_key_two_records_until_a_key_is_pressed(*, disk: bool) -> None:
    async with held() as call:
        call.desk.disk = disk
        await begin_message(call)
        await asyncio.sleep(0.5)  # the prompt and the tone
        await call.says(0.3)
        await call.presses("5")
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    assert call.desk.asked == ["keep message", "hang up: outage"]
    assert 0.2 < call.desk.message_s < 0.4
    assert bool([event for event in call.told if isinstance(event, MessageLeft)]) is disk
    assert ("Your message could not be kept." in call.voice.said) is not disk
    assert call.voice.said[-1] == "Thank you and goodbye."


async def test_a_message_is_kept_if_the_caller_does_not_wait_for_the_tone() -> None:
    async with held() as call:
        await outage(call, turns=3)
        await call.presses("2")
        await call.says(6.0)
        await call.presses("5")
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    assert call.desk.asked == ["keep message", "hang up: outage"]
    assert call.desk.message_s > 5.0


async def test_a_message_is_kept_when_the_caller_hangs_up() -> None:
    async with held() as call:
        await begin_message(call)
        await asyncio.sleep(0.5)
        await call.says(0.2)

    assert call.desk.asked == ["keep message"]


async def test_an_answer_or_its_rest_during_a_message_is_not_heard() -> None:
    async with held() as call:
        await begin_message(call)
        dry_at = call.caller_line.dry_at
        await call.answers(length_s=6.0)
        await asyncio.sleep(0.1)
        released_at = call.caller_line.dry_at
        await call.hold.speak_locally("At nine.")
        await asyncio.sleep(0.5)

    assert call.line.level(ANSWER) == call.line.level(LOCAL) == []
    assert released_at < dry_at + 1.0  # an unheard answer releases the line


@pytest.mark.parametrize("level", [ANSWER, LOCAL], ids=["a voice says it", "no voice does"])
async def test_the_last_goodbye_is_heard_during_a_message(level: int) -> None:
    async with held() as call:
        await begin_message(call)
        if level == ANSWER:
            goodbye = TTSAudioRawFrame(sound(ANSWER, 0.1), RATE_HZ, 1)
            goodbye.interruptible = False
            await call.put(goodbye)
        else:
            await call.hold.speak_locally("We are closing.", protected=True)
        await asyncio.sleep(0.5)

    assert call.line.level(level)


async def test_key_zero_becomes_a_callback_if_no_call_can_be_transferred() -> None:
    async with held() as call:
        await outage(call, turns=3)
        await call.presses("0")
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    assert call.desk.asked[:2] == ["connect", f"call back: {UNANSWERED['llm']}"]
    assert [event for event in call.told if isinstance(event, PersonWanted)]


async def test_a_caller_who_waits_for_a_choice_hears_tones() -> None:
    async with held() as call:
        connected = asyncio.Event()
        call.desk.connects = connected.wait
        await outage(call, turns=3)
        await call.presses("0")
        await call.until(lambda: "connect" in call.desk.asked)
        call.hold.play_on_hold(on=True)
        await call.until(lambda: any(isinstance(f, WaitingSound) for _, f in call.line.played))
        call.hold.play_on_hold(on=False)
        connected.set()
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    assert call.voice.said[-1] == "Thank you and goodbye."


async def test_a_choice_that_raises_has_failed() -> None:
    async def broken() -> bool:
        raise ConnectionError("the carrier is away")

    async with held() as call:
        call.desk.connects = broken
        await outage(call, turns=3)
        await call.presses("0")
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    assert call.desk.asked[:2] == ["connect", f"call back: {UNANSWERED['llm']}"]


async def test_a_key_stops_the_menu() -> None:
    async with held(outage=OutageSettings(silence_s=5.0)) as call:
        await outage(call, turns=3)
        await call.until(lambda: "Press one" in call.voice.said[-1])
        await asyncio.sleep(0.05)
        pressed_at = call.clips()[-1]
        await call.presses("1")
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    spoken_s = call.clips()[-1] - pressed_at
    assert spoken_s < 0.03 * (5 + 4) + 0.2  # both sentences, and nothing of the menu's 0.45 s


async def test_the_goodbye_is_heard_although_the_caller_speaks() -> None:
    async with held(outage=OutageSettings(clips=0, menus=0)) as call:
        await call.stops()
        call.exhausted()
        await call.until(call.clips)
        await call.starts()
        await call.until(lambda: "hang up: outage" in call.desk.asked)

    assert len(call.clips()) == 3  # 0.12 s in pieces of 40 ms


@pytest.mark.parametrize("clip_first", [False, True])
async def test_an_answer_that_the_line_does_not_play_is_said_again(*, clip_first: bool) -> None:
    async with held() as call:
        call.hold.delivered.played(time.monotonic())  # the greeting
        await call.stops()
        if clip_first:
            await call.until(lambda: call.held)
        await call.answers()
        word = TTSTextFrame("We", TextType.WORD)
        await call.put(word, TTSTextFrame("open.", TextType.WORD))
        await call.until(lambda: call.line.level(LOCAL))

        assert call.voice.said[-1] == "We open."


async def test_an_answer_that_the_line_plays_late_is_heard_once() -> None:
    async with held() as call:
        call.hold.delivered.played(time.monotonic())
        await call.stops()
        call.line.free_at_s = time.monotonic() + 3.0  # it accepts nothing meanwhile
        await call.answers(1.0)
        await call.put(TTSTextFrame("We", TextType.WORD))
        await call.until(lambda: call.line.level(LOCAL), within_s=10)

    assert len(call.line.level(ANSWER)) <= 2  # what the line had already taken, of 25


async def test_audio_that_is_played_before_our_loop_goes_on_is_not_expected_again() -> None:
    line = CallerLine()

    async def push(frame: Frame) -> None:
        if isinstance(frame, TTSAudioRawFrame):
            line.played(0.5, 100.5)

    async def clip() -> bytes:
        return sound(CLIP, 0.5)

    speaker = Speaker(line, push=push, clock=lambda: 100.0)
    speaker.rate_hz = RATE_HZ
    await speaker.speak(clip())
    line.add(1.0, 100.5)
    line.played(0.0, 100.5)

    assert line.dry_at == pytest.approx(101.5)


async def test_an_answer_that_the_line_plays_is_not_said_again() -> None:
    async with held() as call:
        call.hold.delivered.played(time.monotonic())
        await call.stops()
        await call.answers()
        await call.put(TTSTextFrame("We", TextType.WORD))
        await call.until(lambda: call.line.level(ANSWER))
        call.hold.delivered.played(time.monotonic())
        await asyncio.sleep(2.0)

    assert call.line.level(LOCAL) == []


async def test_the_unspoken_rest_of_an_answer_is_said_by_the_local_voice() -> None:
    async with held() as call:
        await call.stops()
        call.exhausted("tts")
        await call.hold.speak_locally("We open at nine.")
        await call.until(lambda: call.remembered)

    assert call.voice.said == ["We open at nine."]
    assert call.clips() == []
    assert call.line.level(LOCAL)
    assert call.steps == ["local"]
    assert call.remembered == ["We open at nine."]
    assert _said(call) == [("We open at nine.", "local")]


async def test_protected_words_of_the_local_voice_cannot_be_interrupted() -> None:
    notice = "one two three four five six seven eight nine ten"
    async with held() as call:
        await call.hold.speak_locally(notice, protected=True)
        await call.hold.speak_locally("eleven twelve")
        await call.until(lambda: call.line.level(LOCAL))
        await call.starts()
        await call.until(lambda: call.remembered)
        await asyncio.sleep(0.2)

    assert call.remembered == [notice]
    assert len(call.line.level(LOCAL)) == 8  # 0.3 s in pieces of 40 ms


async def test_protected_words_are_said_though_the_caller_speaks_before_they_begin() -> None:
    async with held() as call:
        await call.stops(decided=False)
        voice = call.hold._executor.voice
        voice.keep_rest("This call is recorded.", protected=True)
        voice.keep_rest("How can I help?", protected=False)
        await call.put(InterruptionFrame())
        await call.starts()
        await call.until(lambda: call.remembered)
        await asyncio.sleep(0.2)

    assert call.voice.said == ["This call is recorded."]
    assert call.remembered == ["This call is recorded."]


async def test_a_goodbye_without_a_remote_voice_is_heard_before_the_call_ends() -> None:
    async with held() as call:
        await call.hold.speak_locally("Goodbye and thank you.")

    assert len(call.line.level(LOCAL)) == 3  # 0.12 s in pieces of 40 ms


async def test_a_withdrawn_beginning_is_no_answer_so_that_the_line_is_held() -> None:
    async with held() as call:
        await call.stops()
        await call.put(LLMFullResponseStartFrame())
        await call.answers(0.05)
        await call.until(lambda: call.line.level(ANSWER))
        interruption = InterruptionFrame()
        interruption.metadata[WITHDRAWN] = True
        await call.put(interruption, LLMFullResponseStartFrame())
        await call.until(lambda: call.held)

    assert call.held == ["en.llm.0"]


async def test_a_goodbye_of_the_local_voice_is_interrupted_and_the_call_goes_on() -> None:
    async with held(NEVER) as call:
        call.voice.takes_s = 0.2
        await call.hold.speak_locally("Goodbye and thank you for calling us today.")
        end = EndWorkerFrame()
        end.interruptible = True
        await call.put(end)
        await call.until(lambda: call.line.level(LOCAL))
        await call.starts()
        await asyncio.sleep(1.0)
        over = call.worker.has_finished()

    assert not over


async def test_what_follows_the_rest_of_an_answer_is_said_and_remembered_after_it() -> None:
    async with held(NEVER) as call:
        call.voice.takes_s = 0.2
        await call.put(LLMFullResponseStartFrame(), *spoken("We open"))
        await call.until(lambda: call.line.level(ANSWER))
        await call.hold.speak_locally("at nine.")
        await call.put(*spoken("Come in."), TTSStoppedFrame(), LLMFullResponseEndFrame())
        await call.until(lambda: len(call.context.messages) == 3)

    assert max(call.line.level(LOCAL)) < max(call.line.level(ANSWER))
    assert [said["content"] for said in cast("list[Any]", call.context.messages)] == [
        "We open",
        "at nine.",
        "Come in.",
    ]


def spoken(words: str) -> list[Frame]:
    started = TTSStartedFrame()
    started.append_to_context = True
    audio = TTSAudioRawFrame(sound(ANSWER, 0.1), RATE_HZ, 1)
    return [started, audio, TTSTextFrame(words, TextType.WORD)]


async def test_arrived_sound_is_waited_for_although_it_begins_with_silence() -> None:
    settings = HoldSettings(first_s=0.1, last_s=0.5, clip_s=0.6, silence_s=0.3)
    async with held(settings) as call:
        await call.stops()
        await call.put(TTSAudioRawFrame(sound(0, 0.2), RATE_HZ, 1))
        await asyncio.sleep(0.2)

    assert call.held == []


async def test_the_line_is_not_silent_for_two_seconds_while_one_tool_follows_the_other() -> None:
    async with held(HoldSettings()) as call:
        stopped_at = await call.stops()
        for number in range(6):
            tool = {"function_name": "look", "tool_call_id": f"c{number}", "arguments": {}}
            await asyncio.sleep(0.5)  # of the model
            await call.put(FunctionCallInProgressFrame(**tool))
            await asyncio.sleep(0.4)
            await call.put(FunctionCallResultFrame(**tool, result="found"))
        await asyncio.sleep(0.5)
        await call.answers()
        await call.until(lambda: call.line.level(ANSWER))

    heard = [stopped_at, *(at for at, _ in call.line.played)]
    assert heard[1] - heard[0] < 1.5
    assert max(after - before for before, after in itertools.pairwise(heard)) < 2.0


def _said(call: Call) -> list[tuple[str, str]]:
    return [(event.text, event.by) for event in call.told if isinstance(event, AgentSaid)]


async def test_the_heard_words_of_an_interrupted_clip_are_published() -> None:
    async with held() as call:
        await call.stops()
        call.exhausted()
        await call.until(lambda: call.held)
        await asyncio.sleep(2.5 * 0.03)  # of five words of 0.03 s each
        await call.starts()

    assert [text for text, _ in _said(call)] == ["I am"]


async def test_sound_still_playing_when_the_call_ends_is_published() -> None:
    async with held() as call:
        await call.stops()
        call.exhausted()
        await call.until(lambda: call.held)

    assert [text for text, _ in _said(call)] == ["I am still here."]
