"""The state from which a call continues in another process."""

import json
from typing import Any

import pytest

from calls.resume import (
    CUT_OFF,
    CUT_SHORT,
    GO_ON,
    CutSpeech,
    KeptTool,
    Next,
    ResumeState,
    SpeechSinceInterruption,
    conversation,
    next_step,
    tool_key,
    unheard,
    without_last,
)

ASKED: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "When do you open?"},
]
SAID = "We open at nine. On Sunday we are closed."


@pytest.mark.parametrize(
    ("said", "heard", "rest"),
    [
        (SAID, "", SAID),
        (SAID, "We open at", "nine. On Sunday we are closed."),
        (SAID, SAID, ""),
        (SAID, "Hello. One moment. We open at nine.", "On Sunday we are closed."),
        ("Nine - no, ten.", "Nine", "- no, ten."),
        ("我们九点开门。", "我们 九", "点开门。"),
        ("It costs 25 € now.", "It costs 25", "€ now."),
        ("", "Hello.", ""),
        ("Yes …", "Yes", ""),
    ],
)
def test_the_rest_begins_at_the_first_unheard_word(said: str, heard: str, rest: str) -> None:
    assert unheard(said, heard) == rest


@pytest.mark.parametrize(
    ("text", "words", "left"),
    [
        ("We open at nine.", 0, "We open at nine."),
        ("We open at nine. ", 1, "We open at"),
        ("We open", 2, ""),
        ("We open", 3, ""),
        ("", 0, ""),
        ("我们九点", 1, "我们九"),
    ],
)
def test_the_last_words_can_be_left_out(text: str, words: int, left: str) -> None:
    assert without_last(text, words) == left


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (ResumeState(messages=ASKED[:2]), (Next.LISTEN, "")),
        (ResumeState(messages=ASKED), (Next.ASK, "")),
        (ResumeState(messages=ASKED, written=False), (Next.ASK, "")),
        (ResumeState(messages=ASKED, said=SAID), (Next.SAY, SAID)),
        (
            ResumeState(messages=ASKED, said=SAID, heard="We open at nine.", partial="We open"),
            (Next.SAY, "On Sunday we are closed."),
        ),
        (ResumeState(messages=ASKED, said=SAID, heard="We", written=False), (Next.ASK, "")),
        (ResumeState(messages=ASKED[:2], words="I would like"), (Next.ASK, "")),
        (ResumeState(messages=ASKED[:2], caller_speaking=True), (Next.REPEAT, "")),
        (ResumeState(messages=ASKED, caller_speaking=True), (Next.ASK, "")),
        (ResumeState(messages=ASKED[:2], said=SAID, caller_speaking=True), (Next.SAY, SAID)),
        (ResumeState(messages=[*ASKED, {"role": "tool", "content": "{}"}]), (Next.ASK, "")),
        (ResumeState(messages=[*ASKED[:2], {"role": "system", "content": "x"}]), (Next.LISTEN, "")),
    ],
)
def test_a_pending_answer_to_the_caller_comes_first(
    state: ResumeState, step: tuple[Next, str]
) -> None:
    assert next_step(state) == step


def test_the_conversation_has_the_heard_words_and_those_still_being_said() -> None:
    heard = ResumeState(messages=ASKED, said=SAID, heard="We open", partial="We open")
    cut = ResumeState(messages=ASKED, said="We", heard="We", partial="We", written=False)
    spoke = ResumeState(messages=ASKED[:2], words="I would like")

    assert conversation(heard)[3:] == [{"role": "assistant", "content": "We open"}]
    assert [message["content"] for message in conversation(cut)[3:]] == ["We", GO_ON]
    assert conversation(spoke)[2:] == [{"role": "user", "content": "I would like"}]


@pytest.mark.parametrize(
    ("messages", "words", "added"),
    [
        (ASKED[:2], "When do you open?", ["When do you open?"]),
        (ASKED, "When do you open?", []),  # the turn has just closed
        (ASKED, "do you open?", []),  # its first words are from before a pause
        ([*ASKED, {"role": "system", "content": "x"}], "When do you open?", []),
        (ASKED, "And on Sunday?", ["And on Sunday?"]),
        ([*ASKED, ASKED[1]], "When do you open?", ["When do you open?"]),  # asked again
        (ASKED, "", []),
    ],
)
@pytest.mark.parametrize("speaking", [True, False])
def test_the_callers_last_words_are_in_the_conversation_once(
    messages: list[dict[str, Any]], words: str, added: list[str], *, speaking: bool
) -> None:
    state = ResumeState(messages=messages, words=words, caller_speaking=speaking)
    rest = conversation(state)[len(messages) :]

    assert [item["content"] for item in rest if item["role"] == "user"] == added
    assert [item["content"] for item in rest if item["role"] == "system"] == [CUT_SHORT] * speaking


@pytest.mark.parametrize(
    ("result", "told"),
    [({"result": "Monday at ten"}, {"result": "Monday at ten"}), (None, CUT_OFF)],
)
def test_an_interrupted_tool_does_not_stay_in_progress(
    result: dict[str, Any] | None, told: dict[str, Any]
) -> None:
    function = {"name": "book", "arguments": '{"day": "Monday"}'}
    call = {"id": "a", "type": "function", "function": function}
    messages = [
        *ASKED,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "IN_PROGRESS"},
    ]
    tool = KeptTool(key=tool_key("book", {"day": "Monday"}), turn=1, result=result)

    *before, last = conversation(ResumeState(messages=messages, tools=[tool]))

    assert before == messages[:-1]
    assert json.loads(last["content"]) == told


def test_a_speech_begins_at_the_conversations_end_and_ends_with_an_interruption() -> None:
    messages = ["Hello."]
    speech = SpeechSinceInterruption()
    speech.length = lambda: len(messages)

    speech.add("We open at nine.")
    messages.append("We open at nine.")
    speech.add("Until six.")
    assert (speech.text, speech.since) == ("We open at nine. Until six.", 1)

    speech.interrupted(written=True, protected=False)
    assert not speech.text
    speech.add("Yes.")
    assert (speech.text, speech.since) == ("Yes.", 2)


NOTICE, HOURS = "We open at nine.", "We close at six."


@pytest.mark.parametrize(
    ("must", "protected", "cut"),
    [
        (False, False, CutSpeech(text=f"{NOTICE} {HOURS}", since=1, written=False)),
        (True, True, CutSpeech(text=HOURS, since=None, written=False)),
        (True, False, CutSpeech(text=f"{NOTICE} {HOURS}", since=1, written=False)),  # it is over
        (False, True, CutSpeech(text=f"{NOTICE} {HOURS}", since=1, written=False)),  # another voice
    ],
)
def test_an_interruption_keeps_what_it_cuts_off(
    cut: CutSpeech | None, *, must: bool, protected: bool
) -> None:
    messages = ["Hello."]
    speech = SpeechSinceInterruption()
    speech.length = lambda: len(messages)
    speech.add(NOTICE, protected=must)
    speech.add(HOURS)
    messages += ["We open", "Uh huh."]

    speech.interrupted(written=False, protected=protected)

    assert speech.cut == cut


def test_speech_after_a_protected_sentence_is_cut_off_twice() -> None:
    speech = SpeechSinceInterruption()
    speech.add(NOTICE, protected=True)
    for _ in range(2):
        speech.add(HOURS)
        speech.interrupted(written=True, protected=True)

        assert speech.cut == CutSpeech(text=HOURS, since=None, written=True)
