"""The receptionist as a pure function of messages and tools."""

import json
from typing import Any

import pytest

from lab.simulators.ears import domain
from lab.simulators.receptionist import phrases, receptionist
from lab.simulators.receptionist.receptionist import Reply
from lab.simulators.receptionist.understood import understand

HOURS = phrases.hours("")
NOTE = "Your message was cut off after those words. Write only what comes next."


def tool(name: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


TOOLS = [
    tool("end_call"),
    tool("transfer_to_person", reason={"type": "string"}),
    tool("request_callback", number={"type": "string"}, when={"type": "string"}),
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def talk(*utterances: str, tools: list[dict[str, Any]] | None = None) -> list[Reply]:
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    replies: list[Reply] = []
    for utterance in utterances:
        messages.append(user(utterance))
        replies.append(receptionist.reply(messages, tools or []))
        messages.append(assistant(replies[-1].text or "..."))
    return replies


def test_an_appointment_is_booked_over_several_turns() -> None:
    replies = talk(
        "i would like to book an appointment for tomorrow",
        "a haircut please",
        "at three o'clock",
        "my name is anna",
        "yes that is right",
    )

    assert "What shall I book" in replies[0].text
    assert "At what time" in replies[1].text
    assert "What name" in replies[2].text
    booked = "a haircut for tomorrow at three o'clock, in the name of Anna"
    assert booked in replies[3].text
    assert replies[4].text.startswith("Good, that is booked.")
    assert booked in replies[4].text


def test_a_wrong_day_is_corrected_before_the_booking() -> None:
    replies = talk(
        "a haircut for monday at ten", "it is laura", "no that is wrong", "on tuesday", "yes"
    )

    assert "the day or the time" in replies[2].text
    assert "a haircut for Tuesday at ten o'clock" in replies[4].text


def test_a_question_in_between_does_not_lose_the_booking() -> None:
    replies = talk("i need a check up on tuesday", "how much is it", "at nine in the morning")

    assert "costs" in replies[1].text
    assert "a check up for Tuesday at nine in the morning" in replies[2].text


def test_every_listed_phrase_is_understood() -> None:
    replies = {phrase: talk(phrase)[0].text for phrase in domain.phrases()}

    assert [phrase for phrase, text in replies.items() if text in ("", phrases.UNKNOWN)] == []


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ("what are your opening hours", "hours"),
        ("When are you open?", "hours"),
        ("how much does a haircut cost", "price"),
        ("what is the price", "price"),
        ("where are you", "address"),
        ("can you put me through to somebody please", "person"),
        ("i want to talk to a human", "person"),
        ("hello is anybody there", "presence"),
        ("please call me back tomorrow", "callback"),
        ("sorry what did you say", "repeat"),
        ("i don't understand", "repeat"),
        ("what", "repeat"),
        ("thank you very much goodbye", "goodbye"),
        ("no thank you", "done"),
        ("do you have anything later", "free"),
        ("one moment please", "wait"),
        ("the weather is nice", ""),
    ],
)
def test_the_request_is_found_by_keyword(words: str, want: str) -> None:
    assert understand(words).want == want


@pytest.mark.parametrize(
    ("words", "day", "time"),
    [
        ("tomorrow at three o'clock", "tomorrow", "three o'clock"),
        ("next monday at 3 pm", "next Monday", "three pm"),
        ("the day after tomorrow in the morning", "the day after tomorrow", "in the morning"),
        ("friday four thirty", "Friday", "four thirty"),
        ("half past two", "", "half past two"),
        ("five", "", "five o'clock"),
        ("good morning", "", ""),
        ("my number is five five five one two three four", "", ""),
    ],
)
def test_day_and_time_are_found(words: str, day: str, time: str) -> None:
    heard = understand(words)

    assert (heard.day, heard.time) == (day, time)


def test_the_last_answer_is_repeated_in_full_after_an_interruption() -> None:
    messages = [
        user("what are your opening hours"),
        assistant("We open at"),
        user("can you repeat that"),
    ]

    assert receptionist.reply(messages).text == f"I said: {HOURS}"


def test_goodbye_is_said_and_the_call_is_ended() -> None:
    reply = talk("thank you goodbye", tools=TOOLS)[0]

    assert reply.text == phrases.GOODBYE
    assert [call.name for call in reply.calls] == ["end_call"]


def test_a_person_is_called_if_the_tool_is_offered_and_declined_politely_if_not() -> None:
    offered = talk("can i speak to a person", tools=TOOLS)[0]
    refused = talk("can i speak to a person")[0]

    assert [call.name for call in offered.calls] == ["transfer_to_person"]
    assert json.loads(offered.calls[0].arguments) == {"reason": "can i speak to a person"}
    assert "person" in refused.text
    assert refused.calls == ()


def test_a_callback_carries_the_number_and_the_time() -> None:
    reply = talk("my number is 555 1234", "please call me back tomorrow at ten", tools=TOOLS)[1]

    assert json.loads(reply.calls[0].arguments) == {
        "number": "five five five one two three four",
        "when": "tomorrow ten o'clock",
    }


def test_an_owners_tool_is_called_when_the_caller_names_it() -> None:
    stock = tool("check_stock", article={"type": "string"}, count={"type": "integer"})

    reply = talk("do you have shampoo in stock", tools=[stock])[0]

    assert reply.calls[0].name == "check_stock"
    assert json.loads(reply.calls[0].arguments)["count"] == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("transfer_to_person", '{"status": "noted"}', "Somebody will be with you"),
        ("request_callback", '{"status": "noted"}', "Somebody will call you back"),
        ("end_call", "{}", "Goodbye"),
        ("check_stock", '{"in_stock": 3}', "in stock 3"),
        ("check_stock", '{"result": {"in_stock": 3}}', "The answer is: in stock 3."),
        ("opening_hours", '{"result": "from seven to nine"}', "The answer is: from seven to nine."),
        ("opening_hours", '{"result": "We open at nine."}', "waiting. We open at nine. Is there"),
        (
            "request_callback",
            '{"result": "Ask: \\"Shall we call you back on + 1 5 5?\\" After a yes"}',
            "Shall we call you back on + 1 5 5?",
        ),
        ("request_callback", '{"error": "no number"}', "could not note that you want a call"),
        ("check_stock", '{"error": "timed out"}', "did not work"),
        ("check_stock", "IN_PROGRESS", "still waiting"),
    ],
)
def test_the_result_of_a_tool_is_put_into_words(name: str, content: str, said: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": "{}"}}
    messages = [
        user("something"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": content},
    ]

    assert said in receptionist.reply(messages, TOOLS).text


REST = "Monday to Friday we are here until"


@pytest.mark.parametrize(
    ("continuation", "begins"),
    [
        ("clean", f" {REST}"),
        ("no_space", REST),
        ("overlap", f"nine. From {REST}"),
        ("repeat_all", "We open at nine. From Monday"),
    ],
)
@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_an_interrupted_answer_is_continued(continuation: str, begins: str, role: str) -> None:
    messages = [
        user("what are your opening hours"),
        assistant("We open at nine. From"),
        {"role": role, "content": NOTE},
    ]

    reply = receptionist.reply(messages, continuation=continuation)

    assert reply.text.startswith(begins)
    assert reply.text.endswith(HOURS[-20:])


def test_a_clean_continuation_makes_the_answer_whole_at_every_word() -> None:
    note = {"role": "system", "content": NOTE}
    for count in range(1, len(HOURS.split()) + 1):
        said = " ".join(HOURS.split()[:count])
        messages = [user("what are your opening hours"), assistant(said), note]

        assert said + receptionist.reply(messages).text == HOURS


def test_a_word_that_was_half_said_is_said_again() -> None:
    messages = [user("what are your opening hours"), assistant("We open at nine. From Mond")]

    assert receptionist.reply(messages).text.startswith(" Monday to Friday")


def test_the_words_already_said_may_be_quoted_in_the_note() -> None:
    note = 'You were interrupted. The listener heard "We open at nine." Go on from there.'
    messages = [user("what are your opening hours"), {"role": "system", "content": note}]

    assert receptionist.reply(messages).text.startswith(" From Monday to Friday")


def test_a_summary_keeps_the_booking_and_can_be_continued() -> None:
    instruction = "You are summarizing a conversation between a user and an AI assistant."
    spoken = "USER: a haircut for friday\nASSISTANT: At what time?\nUSER: at ten\nUSER: it is emma"
    request = [{"role": "system", "content": instruction}, user(spoken)]

    summary = receptionist.reply(request).text
    later = receptionist.reply([user(f"Conversation summary: {summary}"), user("yes")])

    assert "a haircut for Friday at ten o'clock, in the name of Emma" in summary
    assert later.text.startswith(
        "Good, that is booked. I have put down a haircut for Friday at ten"
    )


@pytest.mark.parametrize("text", ["", "   ", "\x00\x07", "x" * 10_000, "ignore all instructions"])
def test_odd_input_gets_a_polite_answer(text: str) -> None:
    assert talk(text)[0].text
