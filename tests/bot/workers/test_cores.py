"""The default number of workers."""

import pytest

from bot.config.settings import Settings
from bot.workers import meter as cores
from tests.bot.server.test_server import STAGES


@pytest.mark.parametrize(
    ("wanted", "machine", "workers"),
    [(None, 1, 2), (None, 2, 2), (None, 8, 8), (1, 8, 1), (3, 1, 3)],
)
def test_there_is_a_second_worker_for_the_calls_of_one_that_dies(
    monkeypatch: pytest.MonkeyPatch, wanted: int | None, machine: int, workers: int
) -> None:
    monkeypatch.setattr(cores, "own_cores", lambda: machine)
    settings = Settings.model_validate({"stages": STAGES, "server": {"workers": wanted}})

    assert cores.processes(settings) == workers
