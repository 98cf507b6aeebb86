"""STUN and TURN servers in the configuration."""

from typing import Any

import pytest
import yaml

from bot.server.webrtc_routes import for_page, own_ice_servers
from tests.configuration.reading import read, refused

RELAY = {
    "url": "turn:relay.example:3478?transport=tcp",
    "username": "us",
    "credential_env": "RELAY",
}
STUN = {"url": "stun:stun.example"}


def text_of(*servers: dict[str, Any]) -> str:
    return yaml.safe_dump({"transports": {"webrtc": {"ice_servers": list(servers)}}})


def test_a_relays_password_comes_from_the_environment() -> None:
    settings = read(text_of(STUN, RELAY), RELAY="secret-of-the-relay").settings
    servers = settings.transports.webrtc.ice_servers

    assert for_page(servers) == [
        {"urls": ["stun:stun.example"]},
        {"urls": [RELAY["url"]], "username": "us", "credential": "secret-of-the-relay"},
    ]
    assert own_ice_servers(servers)[1].credential == "secret-of-the-relay"
    assert "secret-of-the-relay" not in repr(servers)


@pytest.mark.parametrize(
    ("server", "line"),
    [
        ({"url": "http://x"}, 'ice_servers[0].url is "http://x"; it must be stun:HOST:PORT'),
        ({"url": "turn:x:1"}, "ice_servers[0] is a TURN server and needs `username`"),
        (RELAY, "ice_servers[0].credential_env names RELAY, which is not set"),
        (STUN | {"credential": "x"}, "ice_servers[0].credential is a secret"),
        (STUN | {"user": "x"}, "ice_servers[0].user is unknown"),
    ],
    ids=["no ICE url", "no account", "not set", "in the file", "unknown"],
)
def test_a_mistake_is_one_line(server: dict[str, Any], line: str) -> None:
    (told,) = refused(text_of(server))

    assert line in told
