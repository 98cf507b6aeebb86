"""The place of an error is named in Holdline or an owner's code, wherever Holdline is installed."""

import pytest

from bot import code_places

LIBRARY = "/venv/lib/site-packages"
STACK = (f"{LIBRARY}/asyncio/tasks.py", "<frozen runpy>")  # innermost first


@pytest.mark.parametrize(
    ("ours", "file"),
    [
        ("/home/me/holdline/", "/home/me/holdline/bot/call/call.py"),  # a checkout
        (f"{LIBRARY}/holdline/", f"{LIBRARY}/holdline/bot/call/call.py"),  # a wheel
        (f"{LIBRARY}/holdline/", "/home/me/bot.py"),  # an owner's
    ],
)
def test_our_code_and_an_owners_are_no_library(
    ours: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_places, "_LIBRARIES", (LIBRARY,))
    monkeypatch.setattr(code_places, "_OURS", ours)

    assert code_places.innermost_own((*STACK, file, "/other.py")) == 2


def test_an_environment_inside_the_checkout_is_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_places, "_LIBRARIES", ("/me/holdline/.venv/lib",))
    monkeypatch.setattr(code_places, "_OURS", "/me/holdline/")

    files = ("/me/holdline/.venv/lib/asyncio/tasks.py", "/me/holdline/bot/call/call.py")

    assert code_places.innermost_own(files) == 1
