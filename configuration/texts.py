"""The texts that are said without a model: the owner's, and Holdline's for what those lack."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel

from calls.languages.facts import base_of
from configuration.errors import ConfigError, Problem
from configuration.files import value_of
from processors.holding.utterance_rules import (
    DEFAULT_LANGUAGE,
    FallbackText,
    Situation,
    built_in_texts,
    in_language,
    merged,
    utterances_of,
)

DETECTED: Final = "multi"  # the language of each turn is detected


def read_texts(path: Path) -> tuple[FallbackText, ...]:
    """Return the texts in a file; blocks.

    Raises:
        ConfigError: The file cannot be read or is not a valid list of texts.
    """
    try:
        texts = value_of(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError([Problem(where=str(path), text=f"cannot be read: {error}")]) from error
    if not isinstance(texts, dict):
        raise ConfigError(
            [Problem(where=str(path), text="must map languages to texts; see the built-in one")]
        )
    try:
        return utterances_of(texts)
    except ValueError as wrong:
        lines = str(wrong).splitlines()
        raise ConfigError([Problem(where=str(path), text=line) for line in lines]) from wrong


def texts_with(file: Path | None) -> tuple[FallbackText, ...]:
    """Return the texts in the owner's file, and the built-in ones of what it lacks.

    Raises:
        ConfigError: The file cannot be read or is not a valid list of texts.
    """
    return merged(read_texts(file), built_in_texts()) if file else built_in_texts()


def sentence(
    situation: Situation, language: str, texts: Sequence[FallbackText] | None = None
) -> str:
    """Return the first text for a situation; in English if the language has none."""
    return sentences(situation, language, texts)[0]


def sentences(
    situation: Situation, language: str, texts: Sequence[FallbackText] | None = None
) -> tuple[str, ...]:
    """Return all texts for a situation; in English if the language has none.

    Without `texts`, they are taken from the built-in ones.
    """
    spoken = in_language(texts or built_in_texts(), language)
    return tuple(item.text for item in spoken if item.situation is situation)


def with_sentences(agent: dict[str, Any], texts: Sequence[FallbackText] | None) -> dict[str, Any]:
    """Return an agent's configuration with sentences in its language for those that it lacks.

    Without `texts`, they are taken from the built-in ones.
    """
    language = str(agent.get("language", DEFAULT_LANGUAGE))

    def say(situation: Situation) -> str:
        return sentence(situation, language, texts)

    prompts = sentences(Situation.STILL_THERE, language, texts)
    silence = {"prompts": prompts, "goodbye": say(Situation.SILENT_GOODBYE)}
    defaults = {"greeting": say(Situation.GREETING), "farewell": say(Situation.FAREWELL)}
    filled = {
        "silence": _with_defaults(agent.get("silence", {}), silence),
        "recording": _with_defaults(
            agent.get("recording", {}), {"notice": say(Situation.RECORDED)}
        ),
    }
    if isinstance(tools := agent.get("tools"), list | tuple):
        bridge = {"bridge": say(Situation.BRIDGE)}
        filled["tools"] = [_with_defaults(tool, bridge) for tool in tools]
    return defaults | agent | filled


def _with_defaults(section: Any, defaults: Mapping[str, Any]) -> Any:
    """Return a section with values for the keys that are not set; anything else is unchanged."""
    if isinstance(section, BaseModel):
        given = section.model_fields_set
        return section.model_copy(update={k: v for k, v in defaults.items() if k not in given})
    return {**defaults, **section} if isinstance(section, dict) else section


def english_in(language: str, texts: Sequence[FallbackText]) -> Iterator[Situation]:
    """Yield the situations without texts in a language; callers hear English then.

    A text that equals a built-in English one counts as missing, too.
    """
    if base_of(language) in (DEFAULT_LANGUAGE, DETECTED):
        return
    english = {text.text for text in built_in_texts() if text.language == DEFAULT_LANGUAGE}
    for text in in_language(texts, language):
        if text.number == 0 and (text.language == DEFAULT_LANGUAGE or text.text in english):
            yield text.situation


def file_to_translate(language: str, texts: Sequence[FallbackText]) -> str:
    """Return a texts file (YAML) for a language: its own texts, and English ones for the rest."""
    situations: dict[str, list[Any]] = {}
    for text in in_language(texts, language):
        when = {"when": list(text.topics), "text": text.text}
        situations.setdefault(text.situation.value, []).append(when if text.topics else text.text)
    missing = list(english_in(language, texts))
    told = f"to translate: {', '.join(missing)}" if missing else "complete"
    ordered = {item.value: situations[item.value] for item in Situation}
    body = yaml.safe_dump(
        {language: ordered}, allow_unicode=True, sort_keys=False, width=10_000, indent=2
    )
    return f"{_HEAD.format(language=language, told=told)}{body}"


_HEAD: Final = """\
# The sentences that callers hear without a model, in {language}; {told}.
# Translate the texts, not the keys. Keep {{number}}; `when` lists beginnings of the caller's words.
# Then set `hold.utterances` in holdline.yaml to this file, and run `holdline clips`.
"""
