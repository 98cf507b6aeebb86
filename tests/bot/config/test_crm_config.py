"""A CRM that could accept no call is refused at the start, in one line."""

from pathlib import Path

import pytest

from bot.config.environment import Environment
from bot.config.errors import ConfigError
from bot.config.loading import load
from bot.config.settings import Settings
from operations.remote import signature

PACKED = "c2VjcmV0" * 4
WEBHOOK = 'crm: {kind: webhook, url: "https://crm.example.com/calls"}\n'
OTHER = 'crm: {kind: rest, url: "https://crm.example.com", mapping: {}}\n'


def read(folder: Path, text: str, token: str) -> Settings:
    file = folder / "holdline.yaml"
    file.write_text(text, encoding="utf-8")
    variables = Environment(values={"CRM_TOKEN": token})
    return load(file, variables=variables, keys=False).settings


@pytest.mark.parametrize("token", ["secret-1", f"{PACKED}_1-", f"whsec_{PACKED}a"])
def test_a_webhook_s_secret_that_cannot_sign_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, WEBHOOK, token)

    (line,) = str(raised.value).splitlines()
    assert "crm.token" in line
    assert "it must be whsec_ followed by base64 for `kind: webhook`" in line
    assert token not in line
    with pytest.raises(ValueError, match=r"base64|padding"):
        signature(token, "a report")


@pytest.mark.parametrize(
    ("text", "token"),
    [
        (WEBHOOK, f"whsec_{PACKED}"),
        (WEBHOOK, PACKED),
        (WEBHOOK, f"whsec_{PACKED}YQ"),  # without what fills it up
        (OTHER, "secret-1"),
    ],
    ids=["as they are given", "bare", "not filled up", "a bearer token"],
)
def test_any_other_secret_is_accepted(tmp_path: Path, text: str, token: str) -> None:
    held = read(tmp_path, text, token).crm.token

    assert held is not None
    assert held.get_secret_value() == token
