"""STUN and TURN servers in the configuration."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.config.environment import Environment
from bot.config.errors import ConfigError
from bot.config.loading import load
from bot.server.webrtc_routes import for_page, for_us

RELAY = {
    "url": "turn:relay.example:3478?transport=tcp",
    "username": "us",
    "credential_env": "RELAY",
}
STUN = {"url": "stun:stun.example"}
KEYS = {"DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY"}


def loaded(folder: Path, *servers: dict[str, Any], **variables: str) -> Any:
    config = folder / "holdline.yaml"
    config.write_text(yaml.safe_dump({"transports": {"webrtc": {"ice_servers": list(servers)}}}))
    environment = Environment(values=variables | dict.fromkeys(KEYS, "a-key"))
    return load(config, variables=environment).settings.transports.webrtc.ice_servers


def test_a_relays_password_comes_from_the_environment(tmp_path: Path) -> None:
    servers = loaded(tmp_path, STUN, RELAY, RELAY="secret-of-the-relay")

    assert for_page(servers) == [
        {"urls": ["stun:stun.example"]},
        {"urls": [RELAY["url"]], "username": "us", "credential": "secret-of-the-relay"},
    ]
    assert for_us(servers)[1].credential == "secret-of-the-relay"
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
def test_a_mistake_is_one_line(tmp_path: Path, server: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line.replace("[", r"\[").replace("]", r"\]")) as wrong:
        loaded(tmp_path, server)

    assert "secret-of-the-relay" not in str(wrong.value)
