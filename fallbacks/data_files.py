"""Reads the data files of the packages: tables that do not change while the program runs."""

from importlib.resources import files
from typing import Any, Final

import yaml

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_data(module: str, name: str) -> Any:
    """Return the content of a YAML file beside a module, with each value as text.

    The module passes its own `__name__`. So `no` is a word and a language, not "false".
    """
    text = files(module.rpartition(".")[0]).joinpath(name).read_text("utf-8")
    return yaml.load(text, _LOADER)  # noqa: S506
