"""The command that installs a missing package."""

import importlib.util
import sys
from typing import Any

import pytest

from runtime.exits import install_command


@pytest.mark.parametrize(
    ("has_pip", "python", "command"),
    [
        (True, "/venv/bin/python", "/venv/bin/python -m pip install {}"),
        (True, "/my venv/bin/python", "'/my venv/bin/python' -m pip install {}"),
        (False, "/venv/bin/python", "uv pip install {} --python /venv/bin/python"),
    ],
    ids=["pip", "a path with a space", "an environment without pip"],
)
def test_a_package_is_installed_into_this_environment(
    monkeypatch: pytest.MonkeyPatch, *, has_pip: bool, python: str, command: str
) -> None:
    found: Any = object() if has_pip else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    monkeypatch.setattr(sys, "executable", python)

    assert install_command("holdline[server]") == command.format('"holdline[server]"')
    assert install_command("--force-reinstall", "x") == command.format("--force-reinstall x")
