"""The lab's Plivo connects a live call with the requested party, if that can be dialled."""

import pytest

from lab.simulators.carrier.callee import DialVerb
from lab.simulators.carrier.plivo import NEVER_S, read_plivo_dial
from lab.simulators.carrier.webhook import NotConnectedError

WAYS = 'method="POST" callbackMethod="POST"'


def answer(inner: str, attributes: str = WAYS) -> str:
    return f"<Response><Dial {attributes}>{inner}</Dial></Response>"


def test_a_dial_is_read_as_it_is_written() -> None:
    more = f'{WAYS} action="https://a/after" timeout="20" callbackUrl="https://a/status"'

    assert read_plivo_dial(answer("<Number>+1555</Number>", more)) == DialVerb(
        number="+1555", action="https://a/after", timeout_s=20, callback="https://a/status"
    )
    verb = read_plivo_dial(answer("<User>sip:b@example.com</User>"))
    assert verb == DialVerb(number="sip:b@example.com", action=None, timeout_s=NEVER_S)


def test_an_answer_without_a_dial_transfers_nothing() -> None:
    assert read_plivo_dial("<Response><Hangup/></Response>") is None


WRONG = {
    "nobody": answer(""),
    "an empty number": answer("<Number></Number>"),
    "two": answer("<Number>+1555</Number><User>sip:b@example.com</User>"),
    "a user without an address": answer("<User>+1555</User>"),
    "an action by GET": answer("<Number>+1555</Number>", 'method="GET" callbackMethod="POST"'),
    "a callback by GET": answer("<Number>+1555</Number>", 'method="POST" callbackMethod="GET"'),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_an_invalid_dial_is_refused(text: str) -> None:
    with pytest.raises(NotConnectedError):
        read_plivo_dial(text)
