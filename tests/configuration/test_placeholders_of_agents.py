"""A placeholder in an agent's own words is an error where nothing fills it: it would be spoken."""

import pytest

from tests.configuration.reading import read, refused

CURE = "take it out (the crm fills only greetings, a contact's row fills only a campaign's texts)"
WORDS = {
    "greeting": "greeting: 'Hello {name}.'",
    "disclosure": "disclosure: 'Hello {name}.'",
    "resumed": "resumed: 'Sorry, {name}.'",
    "farewell": "farewell: 'Goodbye {name}.'",
    "recording.notice": "recording: {notice: '{name}, this is recorded.'}",
    "silence.goodbye": "silence: {goodbye: 'Goodbye {name}.'}",
    "silence.prompts[1]": "silence: {prompts: ['Hello?', '{name}?']}",
}
OWN_CRM = "crm: {kind: own}\n"


@pytest.mark.parametrize("section", ["agent", "agents.sales"])
@pytest.mark.parametrize(("key", "yaml"), WORDS.items(), ids=WORDS)
def test_words_with_a_placeholder_that_nothing_fills_are_refused(
    section: str, key: str, yaml: str
) -> None:
    text = f"agents: {{sales: {{{yaml}}}}}" if section != "agent" else f"agent: {{{yaml}}}"

    assert refused(text) == [
        f"holdline.yaml:1: {section}.{key} has {{name}}, which nothing fills; {CURE}"
    ]


def test_a_crm_fills_the_greeting_and_nothing_else() -> None:
    with_both = f"{OWN_CRM}agent: {{{WORDS['greeting']}, {WORDS['farewell']}}}"

    assert [line.split(" has ")[0] for line in refused(with_both)] == [
        "holdline.yaml:2: agent.farewell"
    ]
    assert read(f"{OWN_CRM}agent: {{{WORDS['greeting']}}}")


@pytest.mark.parametrize("words", ["{}", "{1}", "Say {please", "a set such as {1, 2}"])
def test_braces_without_a_name_are_no_placeholder(words: str) -> None:
    assert read(f"agent: {{greeting: '{words}'}}")
