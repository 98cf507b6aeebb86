"""Transfer destinations in the configuration; a mistake is one clear line."""

import pytest
from pydantic import ValidationError

from configuration.agent import AgentSettings, DestinationSettings


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+1 (555) 0123", "+15550123"),
        (201, "201"),
        ("sip:front.desk-1@192.0.2.7:5060", "sip:front.desk-1@192.0.2.7:5060"),
    ],
    ids=["as people write it", "an extension", "a SIP address"],
)
def test_a_number_or_a_sip_address_can_be_reached(written: object, number: str) -> None:
    assert DestinationSettings.model_validate({"number": written}).number == number


@pytest.mark.parametrize(
    "number", ["", "call me", "sip:", "sip:a b@c", "sip:a@b;x=<y>", True, 15550123]
)
def test_an_undiallable_destination_is_refused(number: object) -> None:
    with pytest.raises(ValidationError):
        DestinationSettings.model_validate({"number": number})


def test_a_keypad_key_may_be_a_yaml_number_or_a_string() -> None:
    agent = AgentSettings.model_validate(
        {
            "destinations": {"billing": {"number": "+15550123"}},
            "keys": {0: "person", "9": "callback"},
        }
    )

    assert agent.keys == {"0": "person", "9": "callback"}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"0": "person"}, "`keys.0` is `person`, but `destinations` is empty"),
        ({"1": "sales"}, "`keys.1` is 'sales', which is not one of: person, callback"),
    ],
)
def test_a_key_without_a_destination_is_reported_with_the_valid_ones(
    keys: dict[str, str], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        AgentSettings.model_validate({"keys": keys})
