"""Numbers and regions that YAML would change are kept, or refused with the cure."""

import pytest

from tests.configuration.reading import read, refused

KEYS = {
    "Twilio": "transports:\n  twilio: {{enabled: false, number: {0}}}",
    "Telnyx": "transports:\n  telnyx: {{enabled: false, number: {0}}}",
    "Plivo": "transports:\n  plivo: {{enabled: false, number: {0}}}",
    "Exotel": "transports:\n  exotel: {{enabled: false, number: {0}}}",
    "an agent's": "agents:\n  sales: {{numbers: [{0}]}}",
    "a destination": "agent:\n  destinations: {{desk: {{number: {0}}}}}",
    "SIP": "transports:\n  livekit: {{enabled: false, sip: {{number: {0}}}}}",
    "more of SIP": "transports:\n  livekit: {{enabled: false, sip: {{numbers: [{0}]}}}}",
}
WRONG = {
    "octal": ("0301234567", '"0301234567"'),  # a Costa Rican number, as YAML 1.1 reads it
    "other digits": ("0891234567", '"0891234567"'),
    "two zeros": ("0049301234567", '"0049301234567"'),
    "a lost plus": ("4915112345678", "4915112345678"),
    "a minus": ("-4915112345678", "-4915112345678"),
}


TWILIO, *OTHERS = KEYS.values()


@pytest.mark.parametrize(
    ("text", "written", "shown"),
    [*((TWILIO, *wrong) for wrong in WRONG.values()), *((key, *WRONG["octal"]) for key in OTHERS)],
)
def test_a_number_that_yaml_changes_is_refused_in_its_line(
    text: str, written: str, shown: str
) -> None:
    (line,) = refused(text.format(written) + "\n")

    assert line.startswith("holdline.yaml:2: ")
    assert f"is {shown}; it must be a telephone number" in line
    assert '"+15550100", in quotes' in line or "+15550100, in quotes" in line


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+4930901820", "+4930901820"),  # an integer in YAML
        ('"+49 30 901820"', "+4930901820"),
        ('"74950000000"', "74950000000"),  # as the carrier writes it
        ('"030901820"', "030901820"),
        ("201", "201"),  # an extension
        ("0123", "0123"),
    ],
)
@pytest.mark.parametrize("text", [KEYS["an agent's"]])
def test_a_number_keeps_its_plus_and_its_zeros(text: str, written: str, number: str) -> None:
    assert read(text.format(written)).settings.agents["sales"].numbers == (number,)


@pytest.mark.parametrize("prefix", ["49", "049", '"49"'])
def test_a_prefix_without_its_plus_is_refused(prefix: str) -> None:
    (line,) = refused(f"campaigns:\n  spring: {{prefixes: [{prefix}]}}\n")

    assert line.startswith("holdline.yaml:2: campaigns.spring.prefixes[0] is ")
    assert 'such as "+49", in quotes' in line


@pytest.mark.parametrize(
    ("region", "cure"),
    [
        ("UK", "GB for the United Kingdom"),
        ("EL", "GR for Greece"),
        ("ZZ", "a country such as US or DE"),
        ("EU", "a country such as US or DE"),
        ("de", "a country such as US or DE"),
    ],
)
@pytest.mark.parametrize("text", ["server:\n  {}", "campaigns:\n  spring: {{{}}}"])
def test_a_region_that_has_no_numbers_is_refused(text: str, region: str, cure: str) -> None:
    (line,) = refused(text.format(f"region: {region}") + "\n")

    assert f'region is "{region}"; it must be {cure}' in line
    assert line.startswith("holdline.yaml:2: ")


@pytest.mark.parametrize("region", ["NO", "GB", "US", "RU", "MX"])
def test_a_region_is_kept(region: str) -> None:
    assert read(f"server: {{region: {region}}}").settings.server.region == region
