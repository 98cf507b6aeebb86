"""The other party of a call."""

from typing import Literal

import pytest

from transports.leg import LegFacts

OURS, THEIRS, WITHHELD = "+15550100", "+15550199", "+266696687"


@pytest.mark.parametrize(
    ("direction", "caller", "called", "number"),
    [
        ("inbound", THEIRS, OURS, THEIRS),
        ("outbound", OURS, THEIRS, THEIRS),
        ("outbound", THEIRS, "", THEIRS),
        ("inbound", WITHHELD, OURS, ""),
        ("inbound", "client:anna2024001", OURS, ""),
        ("inbound", "", "", ""),
    ],
)
def test_the_other_partys_number_is_one_that_can_be_called(
    direction: Literal["inbound", "outbound"], caller: str, called: str, number: str
) -> None:
    facts = LegFacts(
        transport="x", sample_rate_hz=8000, caller=caller, called=called, direction=direction
    )

    assert facts.other_party == number
