"""Memory stays bounded in a long call."""

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from operations.telemetry import live
from tests.bot.call.long_call import held_bytes, long_call, slope

pytestmark = pytest.mark.virtual_time

SAID = {  # and what the lab's receptionist answers
    "Yes.": "Very well. How can I help you?",
    "Thank you very much.": "You are welcome. Is there anything else I can do for you?",
}
EVERY_TURNS = 4  # always after the same words: the length of an answer is worth half a megabyte
OBJECTS = 0.5  # tracked by the garbage collector, a turn; a kept event is one, a turn has 25
WINDOW_S = 120.0  # some twenty turns; the console's own is not full before turn 180


@pytest.fixture
def nothing_written(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Disable logging, shorten the console's window, and unfreeze the objects of the process."""
    monkeypatch.setattr(live, "WINDOW_S", WINDOW_S)
    logger.disable("")
    yield
    logger.enable("")
    gc.unfreeze()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("turns", "warm_turns", "bytes_a_turn"),
    [
        pytest.param(160, 60, 2000.0, id="160 turns", marks=pytest.mark.long),
        pytest.param(2000, 400, 1000.0, id="2000 turns", marks=pytest.mark.hours),
    ],
)
@pytest.mark.usefixtures("nothing_written")
async def test_the_memory_of_a_call_does_not_grow_with_its_turns(
    turns: int, warm_turns: int, bytes_a_turn: float, tmp_path: Path
) -> None:
    held: list[tuple[int, int]] = []
    objects: list[tuple[int, int]] = []
    async with long_call(tmp_path) as call:
        for turn, said in zip(range(1, turns + 1), itertools.cycle(SAID), strict=False):
            assert await call.turn(said) == SAID[said], turn
            if turn >= warm_turns and turn % EVERY_TURNS == 0:
                held.append((turn, held_bytes()))
                objects.append((turn, len(gc.get_objects())))

    print(f"{slope(held):.0f} bytes, {slope(objects):.2f} objects a turn")  # noqa: T201 - for `-s`
    assert slope(held) < bytes_a_turn, str(held)
    assert slope(objects) < OBJECTS, str(objects)
