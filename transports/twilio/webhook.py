"""Twilio's webhooks: their forms and signatures, and the response when all lines are busy."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import VoiceResponse

VOICE_PATH: Final = "/twilio/voice"
MAX_FIELDS: Final = 200  # a webhook has about twenty
BUSY: Final = "All our lines are busy. Please call again in a few minutes. Goodbye."

Form = ImmutableMultiDict[str, str]


def read_form(body: bytes) -> Form | None:
    """Return the fields of a webhook; `None` for a malformed or too large form."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    return ImmutableMultiDict(pairs)


def is_signed(
    validator: RequestValidator,
    form: Form,
    *,
    addresses: Sequence[str],
    query: str,
    signature: str,
    path: str = VOICE_PATH,
) -> bool:
    """Return whether Twilio signed the form.

    Args:
        validator: Has the account's token.
        form: The fields.
        addresses: Our possible base URLs, without a trailing slash. Twilio signs the URL that it
            requested, which a proxy may have changed on the way to us.
        query: The query of the URL, without the question mark.
        signature: The header `X-Twilio-Signature`.
        path: The path of the URL.
    """
    target = f"{path}?{query}" if query else path
    return any(validator.validate(f"{address}{target}", form, signature) for address in addresses)


def is_outbound(form: Form) -> bool:
    """Return whether we placed the call."""
    return form.get("Direction", "").startswith("outbound")


def busy_twiml(form: Form) -> str:
    """Return TwiML that hangs up, after saying that all lines are busy to a caller."""
    answer = VoiceResponse()
    if not is_outbound(form):
        answer.say(BUSY)
    answer.hangup()
    return str(answer)
