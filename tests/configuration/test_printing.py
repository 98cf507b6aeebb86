import pytest

from configuration.printing import changed_keys
from tests.configuration.reading import read


@pytest.mark.parametrize(
    ("variables", "changed"),
    [
        ({}, ()),
        ({"HOLDLINE__AGENT__GREETING": "Good morning."}, ("agent.greeting",)),
        ({"HOLDLINE__STAGES__LLM__0__MODEL": "another"}, ("stages.llm[0].model",)),
        ({"OPENAI_API_KEY": "another"}, ("stages.llm[0].api_key",)),
    ],
    ids=["nothing", "a text", "a rung", "a secret"],
)
def test_changed_keys_are_named_without_their_values(
    variables: dict[str, str], changed: tuple[str, ...]
) -> None:
    assert changed_keys(read().settings, read(**variables).settings) == changed
