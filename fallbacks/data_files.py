"""Reads the data files of the packages: tables that do not change while the program runs."""

from importlib.resources import files
from typing import Any, Final

import yaml

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_data(package: str, name: str) -> Any:
    """Return the content of a package's YAML file, with each value as text.

    So `no` is a word and a language, not "false".
    """
    return yaml.load(files(package).joinpath(name).read_text("utf-8"), _LOADER)  # noqa: S506
