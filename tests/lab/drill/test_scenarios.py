"""The five demonstrations: each proves its claim, or says that it does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import get_args

import pytest

from calls.events import Event
from fallbacks.events import FallbackEvent
from lab.drill import bench
from lab.drill.bench import FIRST, STANDBY
from lab.drill.demonstration import MEANINGS, demonstrate
from lab.drill.scenarios import SCENARIOS, perform
from lab.process import LabOptions, RunningLab, _build_lab
from tests.kit.near import running
from tests.lab.simulators.near_ears import bring_near


@pytest.fixture
def in_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the lab run in this process, and so on virtual time."""

    @asynccontextmanager
    async def lab_here(options: LabOptions) -> AsyncIterator[RunningLab]:
        async with bring_near(_build_lab({}, options)) as lab:
            yield running(lab)

    monkeypatch.setattr(bench, "lab_process", lab_here)


@pytest.mark.virtual_time
@pytest.mark.slow
@pytest.mark.usefixtures("in_here")
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_proves_its_claim(name: str) -> None:
    told: list[tuple[float, Event | str]] = []

    proofs = await perform(SCENARIOS[name], lambda at_s, what: told.append((at_s, what)))

    assert [proof.text for proof in proofs if not proof.holds] == []
    assert len(proofs) >= 3
    assert [at_s for at_s, _ in told] == sorted(at_s for at_s, _ in told)


@pytest.mark.virtual_time
@pytest.mark.slow
@pytest.mark.usefixtures("in_here")
async def test_an_unproven_claim_is_reported_and_shown_by_the_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with_a_standby = replace(SCENARIOS["breaker"], rungs=(FIRST, STANDBY))

    code = await demonstrate("breaker", with_a_standby)

    assert code == 1
    assert "NOT PROVED: 5 later questions" in capsys.readouterr().out


def test_every_event_of_a_ladder_has_its_meaning() -> None:
    assert set(get_args(FallbackEvent)) - set(MEANINGS) == set()
