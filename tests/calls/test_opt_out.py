"""Recognises in a caller's words that they want no more calls."""
# ruff: noqa: RUF001 - Russian has letters that look like Latin ones

import pytest

from bot.tools.opt_out_rules import wants_no_calls


@pytest.mark.parametrize(
    "said",
    [
        "Please don't call me again.",
        "Do not call me anymore!",
        "Stop calling me",
        "Stop calling.",
        "Never call here again",
        "Take me off your list",
        "Remove my number from your list, please",
        "Put me on the do not call list",
        "I don't want any more calls",
        "I don\N{RIGHT SINGLE QUOTATION MARK}t want you to call, okay?",
        "Lose my number",
        "Quit bothering us",
        "Don't call again",
        "No me llame más",
        "No me vuelva a llamar",
        "Dejen de llamar, por favor",
        "No quiero más llamadas",
        "Quíteme de la lista",
        "Больше не звоните мне",
        "Не звоните сюда больше",
        "Перестаньте мне звонить!",
        "Удалите мой номер",
        "Не надо больше звонить",
    ],
)
def test_a_request_for_no_more_calls_is_recognised(said: str) -> None:
    assert wants_no_calls(said)


@pytest.mark.parametrize(
    "said",
    [
        "Please don't call me after six.",
        "Don't call me back, I will call you",
        "Do not call me tomorrow",
        "Call me again on Monday",
        "Can you call me?",
        "Stop, please repeat that",
        "I don't want to be called at noon, that is all I said about Monday",
        "What is your number?",
        "Take my number down",
        "No me llame mañana",
        "No me llame después de las seis",
        "Llámeme mañana",
        "Не звоните мне после шести",
        "Позвоните мне завтра",
        "",
    ],
)
def test_another_request_is_not_taken_for_an_opt_out(said: str) -> None:
    assert not wants_no_calls(said)
