"""The simulated request limit refills as OpenAI's does."""

import aiohttp
import pytest

from lab.simulators.lab import Lab, Spec
from lab.simulators.openai.simulator import RequestRate
from tests.kit.clock import HandClock

pytestmark = pytest.mark.virtual_time

ASKED = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_used_request_comes_back_evenly() -> None:
    clock = HandClock()
    rate = RequestRate(60, clock=clock)
    assert all(rate.take() for _ in range(60))
    assert not rate.take()
    assert rate.next_in_s == pytest.approx(1.0)

    clock.now += 1.0

    assert rate.take()
    assert not rate.take()


@pytest.mark.parametrize(
    ("used", "remaining", "reset"), [(1, "4999", "12ms"), (500, "4500", "6s"), (5000, "0", "1m0s")]
)
def test_the_headers_have_the_remaining_requests_and_the_time_until_full(
    used: int, remaining: str, reset: str
) -> None:
    rate = RequestRate(5000, clock=HandClock())
    for _ in range(used):
        rate.take()

    assert rate.headers() == {
        "x-ratelimit-limit-requests": "5000",
        "x-ratelimit-remaining-requests": remaining,
        "x-ratelimit-reset-requests": reset,
    }


async def test_a_request_over_the_limit_is_refused_with_the_time_to_wait() -> None:
    spec = Spec(name="openai", kind="openai", options={"per_minute": 1})
    async with Lab([spec], speed=50.0) as lab, aiohttp.ClientSession() as session:
        it = lab.instance("openai")
        headers = {"Authorization": f"Bearer {it.api_key}"}
        answers = []
        for _ in range(2):
            async with session.post(
                f"{it.url}/chat/completions", json=ASKED, headers=headers
            ) as answer:
                answers.append((answer.status, answer.headers.get("retry-after")))

    assert answers[0] == (200, None)
    assert answers[1][0] == 429
    assert 50 < float(answers[1][1] or 0) <= 60
