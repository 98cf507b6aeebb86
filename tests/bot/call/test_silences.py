"""The agent is never silent for more than two seconds while it works on an answer."""

import asyncio
from pathlib import Path

import pytest

from lab.callers import caller_says
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.faults import Fault, Stall
from lab.simulators.schedule import Window
from tests.bot.judged_call import listening

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

MAX_S = 2.0
QUESTION = "Where are you?"
STALL = Stall(after_words=7)


def silences(call: Carrier, *, since_s: float) -> list[float]:
    """Return the silences between sounds, and the one before the first."""
    rate_hz = call.rate_hz
    bursts = [burst for burst in call.ear.bursts if burst.end / rate_hz > since_s]
    ends = [since_s, *(burst.end / rate_hz for burst in bursts[:-1])]
    return [round(burst.start / rate_hz - end, 3) for end, burst in zip(ends, bursts, strict=True)]


@pytest.mark.parametrize(
    "faults",
    [
        {"cartesia": STALL, "elevenlabs": STALL},
        {"openai": STALL, "openai-b": STALL, "cartesia": STALL},
    ],
    ids=["voice and standby", "model, standby and voice"],
)
async def test_no_silence_in_an_answer_is_longer_than_two_seconds(
    tmp_path: Path, faults: dict[str, Fault]
) -> None:
    changes = {"agent": {"greeting": "Hello."}}
    async with listening(tmp_path, changes, None) as beside, beside.call as call:
        await call.listen(quiet_s=1.0, within_s=20)
        for name, fault in faults.items():
            beside.lab.instances[name].set_faults([Window(fault=fault)])
        asked_s = await call.say(caller_says(QUESTION))
        await asyncio.sleep(12)

    assert max(silences(call, since_s=asked_s)) < MAX_S
