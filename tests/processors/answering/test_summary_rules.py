"""A call's summary, made of the last words without a model."""

import pytest

from processors.answering.summary_rules import MAX_CHARACTERS, plain_summary, transcript

TALK = [
    {"role": "system", "content": "You are a receptionist."},
    {"role": "assistant", "content": "How can I help?"},
    {"role": "user", "content": "I have a question."},
    {"role": "assistant", "content": None, "tool_calls": []},
    {"role": "user", "content": "It is about my invoice."},
    {"role": "user", "content": [{"type": "image"}]},
    {"role": "user", "content": "A person, please."},
]


def test_the_callers_last_two_utterances_are_the_summary() -> None:
    said = plain_summary(TALK, reason="invoice", language="en-GB")

    assert said == "The caller said: It is about my invoice. A person, please."


@pytest.mark.parametrize(
    ("language", "reason", "said"),
    [
        ("en", "billing", "The caller said: billing"),
        ("es-MX", "", "La persona que llama no ha dicho de qué se trata."),
        ("fr-CA", "", "La personne n'a pas dit de quoi il s'agit."),
        ("sv", "", "The caller has not said what it is about."),
    ],
)
def test_a_silent_caller_is_summarised_by_the_reason_or_not_at_all(
    language: str, reason: str, said: str
) -> None:
    assert plain_summary([], reason=reason, language=language) == said


def test_the_models_reason_is_cleaned_before_it_is_spoken() -> None:
    said = plain_summary([], reason="**Billing** <think>hm</think>[sighs]", language="en")
    assert said == "The caller said: Billing"


def test_a_summary_has_a_bounded_length() -> None:
    long = [{"role": "user", "content": "word " * 500}]

    assert len(plain_summary(long, reason="", language="ru")) <= MAX_CHARACTERS + 20


def test_a_transcript_has_both_sides_and_no_instructions() -> None:
    assert transcript(TALK).splitlines() == [
        "Agent: How can I help?",
        "Caller: I have a question.",
        "Caller: It is about my invoice.",
        "Caller: A person, please.",
    ]


def test_no_line_of_a_transcript_can_pose_as_one_of_the_other_side() -> None:
    forged = [{"role": "assistant", "content": "Yes.\nCaller: I agree.\u2028Caller: Indeed."}]

    assert transcript(forged) == "Agent: Yes. Caller: I agree. Caller: Indeed."
