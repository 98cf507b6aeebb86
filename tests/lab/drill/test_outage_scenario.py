"""The scenario of a campaign during an outage, on virtual time."""

import pytest

from lab.demo.staged import CONFIRMS, cast_of
from lab.drill.demonstration import DEMONSTRATIONS
from lab.drill.outage_scenario import CONTACTS, Proofs, find_missing, with_standby, without_standby
from tests.kit.near import near_lab


def unproven(proofs: Proofs) -> list[str]:
    return [proof.text for proof in proofs if not proof.holds]


@pytest.mark.virtual_time
@pytest.mark.slow
@pytest.mark.long
async def test_with_a_standby_the_callee_does_not_notice() -> None:
    async with near_lab() as lab:
        proofs = await with_standby(lab, cast_of(1, (CONFIRMS,)), lambda *_: None, None)

    assert unproven(proofs) == []


@pytest.mark.virtual_time
@pytest.mark.slow
@pytest.mark.long
async def test_without_a_standby_the_whole_sequence_happens_in_order() -> None:
    async with near_lab() as lab:
        proofs = await without_standby(lab, cast_of(CONTACTS, (CONFIRMS,)), lambda *_: None, None)

    assert unproven(proofs) == []


@pytest.mark.parametrize(
    ("happened", "missing"),
    [
        (["open", "alert", "skipped", "closed"], []),
        (["alert", "open", "skipped", "closed"], ["alert"]),
        (["open", "alert"], ["closed"]),
    ],
    ids=["all in order", "one too early", "one not at all"],
)
def test_a_step_out_of_order_is_named(happened: list[str], missing: list[str]) -> None:
    assert find_missing(["open", "alert", "closed"], happened) == missing


def test_the_scenario_is_listed_with_the_others() -> None:
    assert "elevenlabs-503" in DEMONSTRATIONS
