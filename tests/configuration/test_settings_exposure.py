"""Whether a proxy in front may open the console, and the warning about it."""

import pytest
from loguru import logger

from bot.cli.serve import _warn_of_token
from configuration.folders import why_exposed
from configuration.settings import ServerSettings

PUBLIC = "https://phone.example.com"


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        (PUBLIC, True),
        ("http://192.168.0.7:8080", True),
        ("http://127.0.0.1:8080", False),
        ("http://[::1]:8080", False),
        ("http://localhost", False),
    ],
)
def test_without_a_token_a_public_url_other_than_loopback_may_expose_the_console(
    url: str, *, exposed: bool
) -> None:
    said = why_exposed(ServerSettings.model_validate({"public_url": url}))
    with_token = {"public_url": url, "token": "a-token-of-the-console"}

    assert bool(said) is exposed
    assert (url in said) is exposed
    assert why_exposed(ServerSettings.model_validate(with_token)) == ""


def test_the_start_warns_once_and_names_the_cure() -> None:
    heard: list[str] = []
    sink = logger.add(lambda message: heard.append(str(message)), format="{level} {message}")
    try:
        _warn_of_token(ServerSettings.model_validate({"public_url": PUBLIC}))
        _warn_of_token(ServerSettings())
    finally:
        logger.remove(sink)

    (line,) = heard
    assert line.startswith("WARNING HOLDLINE_TOKEN ")
    assert PUBLIC in line
