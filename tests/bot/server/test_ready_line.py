"""The line for operators when a server is ready."""

from typing import Any

import pytest

from bot.config.settings import Settings
from bot.server.ready_line import ready_line

STAGES = {
    "stt": [{"name": "ears", "kind": "local"}],
    "llm": [{"name": "mind", "kind": "openai", "url": "http://127.0.0.1:9/v1", "api_key": "k"}],
    "tts": [{"name": "voice", "kind": "local"}],
}
OFF = {"webrtc": {"enabled": False}}
TWILIO = {"twilio": {"enabled": True, "auth_token": "t"}}
ON = {"enabled": True}
PHONE = {"public_url": "https://phone.example.com"}


@pytest.mark.parametrize(
    ("tree", "line"),
    [
        (
            {},
            "Holdline is ready at http://127.0.0.1:81 (webrtc): "
            "open http://127.0.0.1:81/ and press Call.",
        ),
        (
            {"server": {"host": "0.0.0.0", "token": "s3cret"}},  # noqa: S104
            "Holdline is ready at http://127.0.0.1:81 (webrtc): "
            "open http://127.0.0.1:81/, sign in with HOLDLINE_TOKEN and press Call.",
        ),
        (
            {"server": PHONE, "transports": TWILIO},
            "Holdline is ready at http://127.0.0.1:81 (webrtc, twilio): "
            "open http://127.0.0.1:81/ and press Call; "
            "set your Twilio number's voice webhook to https://phone.example.com/twilio/voice.",
        ),
        (
            {
                "server": PHONE,
                "transports": OFF | {"telnyx": ON, "plivo": ON, "exotel": ON},
            },
            "Holdline is ready at http://127.0.0.1:81 (telnyx, plivo, exotel): "
            "set your Telnyx application's webhook to https://phone.example.com/telnyx/voice; "
            "set your Plivo application's answer URL to https://phone.example.com/plivo/voice; "
            "set your Exotel Voicebot applet's URL to "
            "https://phone.example.com/exotel/media, as wss.",
        ),
        (
            {"transports": OFF},
            "Holdline is ready at http://127.0.0.1:81 (no transport): "
            "enable one under transports in the configuration, otherwise no calls can arrive.",
        ),
    ],
    ids=["browser", "everywhere", "both", "the other carriers", "none"],
)
def test_it_names_address_transports_and_the_next_step(tree: dict[str, Any], line: str) -> None:
    assert ready_line(Settings.model_validate({"stages": STAGES, **tree}), port=81) == line
