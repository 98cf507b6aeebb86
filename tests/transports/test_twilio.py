"""A call over Media Streams, with a caller at the far end of a real socket."""


import numpy as np

from faultlab.carrier import Carrier
from tests.transports.twilio_house import RATE_HZ, TOKEN, house, tone


async def test_caller_and_agent_hear_each_other() -> None:
    async with house() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        await caller.say(tone(0.4))
        await call.say(tone(0.5, 300))
        heard = await caller.listen(quiet_s=0.2)
        loud = np.frombuffer(bytes(call.ears.audio), dtype="<i2")

        assert np.count_nonzero(np.abs(heard.astype(int)) > 200) > 0.45 * RATE_HZ
        assert np.count_nonzero(np.abs(loud.astype(int)) > 200) > 0.35 * RATE_HZ
        assert caller.complaints == []
