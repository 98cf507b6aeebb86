"""Memory stays bounded in a long call."""

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from loguru import logger

from tests.bot.call.long_call import held_bytes, long_call, slope

pytestmark = pytest.mark.virtual_time

SAID = {  # and what the lab's receptionist answers
    "Yes.": "Very well. How can I help you?",
    "Thank you very much.": "You are welcome. Is there anything else I can do for you?",
}
EVERY_TURNS = 4  # always after the same words: the length of an answer is worth half a megabyte
OBJECTS = 0.5  # tracked by the garbage collector, a turn; a kept event is one, a turn has 25


@pytest.fixture
def nothing_written() -> Iterator[None]:
    """Disable logging, and unfreeze the objects of the process."""
    logger.disable("")
    yield
    logger.enable("")
    gc.unfreeze()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("turns", "warm_turns", "bytes_a_turn"),
    [
        # Until some 120 turns were made the windows of what is recent are filling up (measured: 0.5
        # to 0.9 objects a turn in turns 80 to 160, 0.3 in turns 120 to 240), and glibc takes pages
        # for what is hardly more (820 bytes a turn in turns 80 to 200, 450 in turns 128 to 240).
        pytest.param(200, 120, 2000.0, id="200 turns", marks=pytest.mark.long),
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
