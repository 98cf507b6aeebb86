"""What a carrier says to a webhook and what it reads in the answer, as Twilio does.

Source: twilio.com/docs/usage/security (the signature), /voice/twiml/stream (the answer).
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneCall:
    """Who calls whom."""

    caller: str = "+15005550006"  # Twilio's own number for tests
    called: str = "+15005550100"
    account_sid: str = field(default_factory=lambda: "AC" + secrets.token_hex(16))
    call_sid: str = field(default_factory=lambda: "CA" + secrets.token_hex(16))
    stream_sid: str = field(default_factory=lambda: "MZ" + secrets.token_hex(16))

    def form(self) -> dict[str, str]:
        """Return what Twilio posts to the voice webhook."""
        return {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.call_sid,
            "CallStatus": "ringing",
            "Called": self.called,
            "Caller": self.caller,
            "Direction": "inbound",
            "From": self.caller,
            "FromCountry": "US",
            "To": self.called,
            "ToCountry": "US",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Twiml:
    """What the answer to the webhook asks for."""

    stream_url: str | None  # of the `<Connect><Stream>`, if there is one
    parameters: Mapping[str, str]
    said: str  # by `<Say>`


def signature(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """Return the `X-Twilio-Signature` of a form posted to `url`."""
    told = url + "".join(name + form[name] for name in sorted(form))
    digest = hmac.new(auth_token.encode(), told.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def read_twiml(text: str) -> Twiml:
    """Return what a TwiML document asks for."""
    root = ElementTree.fromstring(text)  # noqa: S314 - the answer of the server under test
    stream = root.find("./Connect/Stream")
    parameters = () if stream is None else stream.findall("Parameter")
    return Twiml(
        stream_url=None if stream is None else stream.get("url"),
        parameters={part.get("name", ""): part.get("value", "") for part in parameters},
        said=" ".join(say.text or "" for say in root.iter("Say")),
    )
