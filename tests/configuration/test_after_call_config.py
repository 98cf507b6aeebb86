"""Work after calls is on if a receiver is configured; a mistake in it is one line."""

import pytest

from operations.after_call.configured_work import asks_a_model, works_after_calls
from tests.configuration.reading import read, refused

NOTHING = "server: {port: 8080}\n"
REGISTER = "crm: {kind: own}\n"
CAMPAIGN = "campaigns: {spring: {results: [date_found, no_interest]}}\n"


@pytest.mark.parametrize(
    ("text", "asks", "works"),
    [
        (NOTHING, False, False),
        (REGISTER, True, True),
        (CAMPAIGN, True, True),
        (NOTHING + "after_call: {enabled: true}\n", True, True),
        (CAMPAIGN + "after_call: {enabled: false}\n", False, False),
        (
            CAMPAIGN + "after_call: {enabled: false}\ncallbacks: {campaign: spring}\n",
            False,
            True,
        ),
    ],
    ids=["no receiver", "a register", "a campaign", "said so", "said no", "callbacks alone"],
)
def test_a_model_is_asked_if_a_receiver_is_configured(
    text: str, *, asks: bool, works: bool
) -> None:
    settings = read(text).settings

    assert (asks_a_model(settings), works_after_calls(settings)) == (asks, works)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            CAMPAIGN + "callbacks: {campaign: autumn}\n",
            'callbacks.campaign is "autumn", which is not one of `campaigns`: spring',
        ),
        ("callbacks: {campaign: spring}\n", "which is not one of `campaigns`: none"),
        ("after_call: {models: {nobody: gpt}}\n", "after_call.models.nobody is not a rung"),
        ("after_call: {results: [Sold!]}\n", "after_call.results[0]"),
        ("after_call: {within_s: 0}\n", "after_call.within_s is 0"),
        ("after_call: {at_once: 0}\n", "after_call.at_once is 0"),
        ("campaigns: {spring: {results: [Yes]}}\n", "campaigns.spring.results[0]"),
    ],
)
def test_a_mistake_is_one_line_with_its_key(text: str, line: str) -> None:
    (told,) = refused(text)

    assert line in told
