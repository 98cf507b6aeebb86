"""Plays the microphone's sound on the loudspeaker: a sound card's own delay, without a call.

`python -m tests.transports.local.pulse_mirror` runs until it is stopped.
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
