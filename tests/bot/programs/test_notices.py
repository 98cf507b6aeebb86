"""Notices to systemd, at a real socket of its kind."""

import socket
from pathlib import Path

import pytest

from bot.programs.notices import tell_ready


@pytest.mark.parametrize("kind", ["a file", "an abstract name"])
def test_the_service_manager_is_told_that_we_are_ready(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{tmp_path}/notify"
    address = place if kind == "a file" else f"\0{place}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))

        tell_ready()

        assert listening.recv(100) == b"READY=1"


@pytest.mark.parametrize("place", ["", "/nowhere/notify"])
def test_a_missing_listener_does_not_stop_the_program(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", place)

    tell_ready()
