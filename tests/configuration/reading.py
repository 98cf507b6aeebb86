"""Reads configurations: the text of a file and some variables, with every provider's key set."""

from pathlib import Path
from typing import Any

import pytest

from configuration.environment import Environment
from configuration.errors import ConfigError
from configuration.loading import Loaded, load

KEYS = {
    "DEEPGRAM_API_KEY": "dg-7f3a",
    "OPENAI_API_KEY": "oa-81cc",
    "CARTESIA_API_KEY": "ca-55d0",
    "ELEVENLABS_API_KEY": "el-90be",
}


def read(
    text: str | None = None, flags: dict[str, Any] | None = None, /, **variables: str
) -> Loaded:
    """Read a text as the `holdline.yaml` of the test's own folder; `None` for no file."""
    if text is not None:
        Path("holdline.yaml").write_text(text, encoding="utf-8")
    return load(flags=flags, variables=Environment(values=KEYS | variables))


def refused(text: str | None = None, /, **variables: str) -> list[str]:
    """Return the error lines of a configuration that must be refused."""
    with pytest.raises(ConfigError) as caught:
        read(text, **variables)
    return [problem.line for problem in caught.value.problems]
