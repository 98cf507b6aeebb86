"""Late answers of the store, and stalls of our own loop."""

import asyncio
from typing import Any

import pytest

from bot.workers.shared_values import FIRST_ANSWER_S, STORE_ANSWER_S, RedisLink, StoreAwayError

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("quiet_log")]


@pytest.mark.parametrize(
    ("answers_s", "stalls", "is_away"),
    [
        (STORE_ANSWER_S - 0.02, {}, False),
        (STORE_ANSWER_S + 0.02, {}, True),
        (0.1, {0.01: 0.26}, False),
        (0.3, {0.24: 1.0}, False),
        (0.4, {0.06: 0.2, 0.3: 0.2}, False),
        (9.0, {0.01: 1.0}, True),
        (9.0, {at_s / 10: 0.1 for at_s in range(30)}, True),
    ],
)
async def test_our_own_stall_is_not_blamed_on_the_store(
    answers_s: float, stalls: dict[float, float], *, is_away: bool
) -> None:
    loop: Any = asyncio.get_running_loop()
    link, began_s = RedisLink("redis://127.0.0.1:1/0"), loop.time()
    stalling = [
        loop.call_later(at_s, lambda for_s=for_s: setattr(loop.clock, "now", loop.time() + for_s))
        for at_s, for_s in stalls.items()
    ]
    try:
        assert await link.try_again(lambda: asyncio.sleep(answers_s, "yes")) == "yes"
    except StoreAwayError:
        assert loop.time() - began_s <= FIRST_ANSWER_S + 1.0
    for timer in stalling:
        timer.cancel()

    assert link.is_away == is_away
