"""The sentences that an agent says without a model, in its language."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bot.__main__ import app
from bot.call.briefs import briefed
from calls.languages.facts import languages
from calls.outbound import Contact
from campaigns.model import Campaign
from configuration.agent import AgentSettings
from configuration.loading import load
from configuration.texts import sentence, texts_with
from processors.holding.utterance_rules import (
    OF_AGENT,
    Chooser,
    Situation,
    built_in_texts,
    in_language,
)
from runtime.exits import UsageError

TEN = ["en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "tr"]
ENGLISH = AgentSettings()


def loaded(folder: Path, **tree: Any):
    file = folder / "holdline.yaml"
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return load(file, keys=False)


def spoken(agent: AgentSettings) -> list[str]:
    tool = agent.tools[0].bridge if agent.tools else ""
    silence = (*agent.silence.prompts, agent.silence.goodbye)
    return [agent.greeting, agent.farewell, *silence, agent.recording.notice, tool]


TOOL = {"name": "book", "description": "Books.", "url": "https://shop.example/book"}


@pytest.mark.parametrize("language", TEN[1:])
def test_an_agent_says_its_own_sentences_in_its_language(tmp_path: Path, language: str) -> None:
    agent = {"language": language, "tools": [TOOL], "recording": {"enabled": True}}
    found = loaded(tmp_path, agent=agent)

    english = {text.text for text in built_in_texts() if text.language == "en"}
    assert not english & set(spoken(found.settings.agent))
    assert english.isdisjoint({found.settings.agent.sentence(item) for item in OF_AGENT})
    assert not [line for line in found.warnings if "English" in line]


@pytest.mark.parametrize("language", TEN)
def test_a_language_has_texts_for_every_situation(language: str) -> None:
    found = [text for text in built_in_texts() if text.language == language]

    assert {text.situation for text in found} == set(Situation)
    assert all("{number}" in text.text for text in found if text.situation.endswith("_number"))
    assert languages()[language].caller_said.count("{words}") == 1
    assert languages()[language].region.startswith(f"{language}-")


@pytest.mark.parametrize(("variant", "base"), [("de-AT", "de"), ("pt-BR", "pt"), ("fr-CA", "fr")])
def test_a_variant_has_the_texts_of_its_language(variant: str, base: str) -> None:
    assert spoken(AgentSettings(language=variant)) == spoken(AgentSettings(language=base))


def test_what_the_configuration_sets_is_said_as_it_is(tmp_path: Path) -> None:
    agent = {"language": "de", "farewell": "Servus.", "silence": {"goodbye": "Pfiat di."}}
    found = loaded(tmp_path, agent=agent, agents={"nord": {"language": "fr"}}).settings

    assert (found.agent.farewell, found.agent.silence.goodbye) == ("Servus.", "Pfiat di.")
    assert found.agent.silence.prompts[0] == "Sind Sie noch da?"
    assert found.agents["nord"].farewell == "Servus."  # inherited
    assert found.agents["nord"].recording.notice == "Cet appel est enregistré."


def test_the_start_names_what_callers_hear_in_english(tmp_path: Path) -> None:
    (line,) = loaded(tmp_path, agent={"language": "sv", "farewell": "Hej då."}).warnings

    assert "agent 'default' speaks sv" in line
    sentences, clips = line.split("; and these clips: ")
    assert "greeting" in sentences
    assert "farewell" not in sentences
    assert "filler" in clips
    assert "`holdline texts --language sv`" in line


@pytest.mark.parametrize("language", ["sv", "zh-Hans", "no"])
def test_the_printed_file_is_translated_and_used(tmp_path: Path, language: str) -> None:
    config = tmp_path / "holdline.yaml"
    config.write_text(f'agent: {{language: "{language}"}}\n', encoding="utf-8")
    printed = CliRunner().invoke(app, ["texts", "--language", language, "--config", str(config)])
    texts = yaml.safe_load(printed.stdout)
    assert set(texts[language]) == set(Situation)
    untouched = tmp_path / "untouched.yaml"
    untouched.write_text(printed.stdout, encoding="utf-8")
    own = tmp_path / "texts.yaml"
    translated = {key: [f"{language} {key}"] for key in texts[language]}
    own.write_text(yaml.safe_dump({language: translated}), encoding="utf-8")

    agent = {"language": language, "tools": [TOOL]}
    same = loaded(tmp_path, agent=agent, hold={"utterances": str(untouched)})
    found = loaded(tmp_path, agent=agent, hold={"utterances": str(own)})

    assert "English" in same.warnings[0]  # nothing is translated yet
    assert found.warnings == ()
    assert found.settings.agent.farewell == f"{language} farewell"
    assert found.settings.agent.tools[0].bridge == f"{language} bridge"
    assert found.settings.agent.sentence(Situation.APOLOGY) == f"{language} apology"
    chosen = Chooser(texts_with(own)).choose(Situation.DOWN, language)
    assert chosen
    assert chosen.text == f"{language} down"


def test_a_partly_translated_file_is_completed_in_english(tmp_path: Path) -> None:
    own = tmp_path / "texts.yaml"
    own.write_text("sv:\n  filler: [Javisst.]\n", encoding="utf-8")

    found = {text.situation: text.language for text in in_language(texts_with(own), "sv")}

    assert found.pop(Situation.FILLER) == "sv"
    assert set(found.values()) == {"en"}


@pytest.mark.parametrize("language", ["multi", "x", "de_DE", "../x"])
def test_the_texts_of_what_is_no_language_are_refused(language: str) -> None:
    result = CliRunner().invoke(app, ["texts", "--language", language])

    assert isinstance(result.exception, UsageError)


def test_an_unknown_language_is_answered_in_english() -> None:
    assert sentence(Situation.FAREWELL, "xx") == ENGLISH.farewell
    assert spoken(AgentSettings(language="multi")) == spoken(ENGLISH)


def test_a_campaign_without_a_greeting_asks_in_the_agents_language() -> None:
    contact = Contact(id=1, campaign="c", number="+15550142", name="Anna", fields={})

    agent = briefed(AgentSettings(language="it"), Campaign(name="c"), contact)

    assert agent.greeting == "È un buon momento per parlare?"
