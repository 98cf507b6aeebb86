"""Reads what is said when a provider cannot answer: the texts that come with us, or the owner's."""

from pathlib import Path
from typing import Final

import yaml

from bot.config.errors import ConfigError, Problem
from bot.config.yaml_text import value_of
from processors.holding.utterance_rules import FallbackText, utterances_of

BUILT_IN: Final = Path(__file__).parents[2] / "processors" / "holding" / "utterances.yaml"


def load_utterances(file: Path | None = None) -> tuple[FallbackText, ...]:
    """Return the texts in `file`, or those that come with Holdline.

    Raises:
        ConfigError: The file cannot be read, or holds something that is no text.
    """
    path = file or BUILT_IN
    try:
        texts = value_of(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([Problem(where=str(path), text=f"cannot be read: {error}")]) from error
    if not isinstance(texts, dict):
        raise ConfigError(
            [Problem(where=str(path), text="holds no languages; see the one we bring")]
        )
    try:
        return utterances_of(texts)
    except ValueError as wrong:
        lines = str(wrong).splitlines()
        raise ConfigError([Problem(where=str(path), text=each) for each in lines]) from wrong
