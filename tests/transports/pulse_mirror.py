"""Gives back on the loudspeaker what the microphone hears: what a sound card costs, and no call.

`python -m tests.transports.pulse_mirror` runs until it is told to stop.
"""

import asyncio
import signal

from transports.local.sound_card import Playback, SoundCard


async def mirror() -> None:
    card, playback, asked = SoundCard(), Playback(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asked.set)
    loudspeaker = card.loudspeaker(playback, asked.set)
    microphone = card.microphone(playback.write, asked.set)
    await loudspeaker.open()
    await microphone.open()
    await asked.wait()
    await microphone.close()
    await loudspeaker.close()


if __name__ == "__main__":
    asyncio.run(mirror())
