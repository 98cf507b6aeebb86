"""The plan for a reply that the model does not end, and its measures."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fallbacks.word_times import CHARACTER_S
from lab.control import LabControl
from lab.drill.evidence import JudgedTurn, judge_turn
from lab.drill.judge import compare_words
from lab.drill.measured import MeasuredRun
from lab.drill.rig import Conversation, Rig
from lab.drill.rows import LOST, When
from lab.process import STAGE_OF
from runtime.exits import CommandError

LONG_S: Final = 100.0  # the longest wait for the end of a reply, which may take 60 s
MAX_S: Final = 30.0  # after this much speech, a pause counts as the end of the reply
JUDGED_WORDS: Final = 260  # of the model's text; a minute has about 170


async def play_long_reply(rig: Rig, run: MeasuredRun) -> None:
    """Ask once, and listen until the reply is over; compare it with what the model wrote."""
    async with rig.greeted_call() as call:
        await rig.break_now(When.BEFORE_TURN)
        asked = await call.ask(rig.row.question, wanted_s=MAX_S, within_s=LONG_S)
        written = await _longest_answer(rig.control, call.lab_s(asked.began_s))
        if not written:
            raise CommandError("no model has written an answer")
        turn = dataclasses.replace(asked, answer=" ".join(written.split()[:JUDGED_WORDS]))
        judged = as_ended(await judge_turn(call, rig.control, turn))
        run.add(judged)
        run.measures["reply_s"] = _length_s(judged)
        run.measures["ahead_s"] = await _ahead_s(rig.control, call, judged)
        run.measures["given_s"] = await most_given(rig.control, call, turn.began_s)


def as_ended(judged: JudgedTurn) -> JudgedTurn:
    """Return a turn whose answer ends where the speech ended, if that is the end of a sentence.

    Otherwise the turn is returned unchanged.
    """
    words = judged.verdict.words
    if not words or not words[-1].text.endswith((".", "!", "?")):
        return judged
    answer = " ".join(judged.turn.answer.split()[: len(words)])
    missing, extra = compare_words(words, answer)
    verdict = dataclasses.replace(judged.verdict, missing=missing, extra=extra)
    turn = dataclasses.replace(judged.turn, answer=answer)
    return dataclasses.replace(judged, turn=turn, verdict=verdict)


async def most_given(control: LabControl, call: Conversation, since_s: float) -> float:
    """Return the longest text that a voice got in one request since then, in seconds of speech.

    It is estimated from the number of characters.
    """
    given = [
        len(request["details"].get("text", ""))
        for name in control.names
        if STAGE_OF.get(name.partition("-")[0]) == "tts"
        for request in await control.requests(name)
        if request["at_s"] >= call.lab_s(since_s)
    ]
    return CHARACTER_S * max(given, default=0)


async def _longest_answer(control: LabControl, since_s: float) -> str:
    """Return the longest text that a model has written since then; empty if none has written.

    `since_s` is in seconds of the lab's record.
    """
    answers: Sequence[str] = [
        request["details"]["answer"]
        for name in control.names
        for request in await control.requests(name)
        if request["at_s"] >= since_s and "answer" in request["details"]
    ]
    return max(answers, key=len, default="")


def _length_s(judged: JudgedTurn) -> float:
    words = judged.verdict.words
    return words[-1].end_s - words[0].at_s if words else LOST


async def _ahead_s(control: LabControl, call: Conversation, judged: JudgedTurn) -> float:
    """Return the longest time from a voice sending a word to the caller hearing it; or `LOST`.

    Words are paired by their order, so it is wrong if a filler was sent or a word was not heard.
    """
    from_s, until_s = call.lab_s(judged.turn.began_s), call.lab_s(judged.turn.end_s)
    sent: Sequence[Mapping[str, Any]] = [
        word for word in await control.words() if from_s <= word["sent_at_s"] <= until_s
    ]
    waited = [
        from_s + word.at_s - other["sent_at_s"]
        for word, other in zip(judged.verdict.words, sent, strict=False)
    ]
    return max(waited, default=LOST)
