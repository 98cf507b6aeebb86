"""Checks answers against Twilio's own library, which must know every verb and attribute."""

import re
from xml.etree import ElementTree

from twilio.twiml import TwiML
from twilio.twiml.voice_response import VoiceResponse


def rebuilt(text: str) -> str:
    """Return the same verbs as written by Twilio's library, to compare with the answer."""
    root = ElementTree.fromstring(text)  # noqa: S314 - the answer of the server under test
    assert root.tag == "Response"
    response = VoiceResponse()
    for item in root:
        _add(response, item)
    return str(response)


def _add(parent: TwiML, element: ElementTree.Element) -> None:
    verb = getattr(parent, _snake(element.tag))  # which it has for what may stand there
    attributes = {_snake(name): value for name, value in element.attrib.items()}
    text = (element.text or "").strip()
    own = verb(text, **attributes) if text else verb(**attributes)
    for item in element:
        _add(own, item)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()


def verbs(text: str) -> list[str]:
    """Return the verbs of an answer; fail unless Twilio's library writes the same answer."""
    assert rebuilt(text) == text
    return re.findall(r"<(\w+)", text)
