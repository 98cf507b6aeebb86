"""Holdline in Pipecat's own runner: `python bot.py -t webrtc`, `-t twilio`, `-t livekit`, or `mic`.

The runner calls `bot` for each call. `import bot` finds the package beside this file, not the file.
"""

from bot import bot
from bot.hosting import main

__all__ = ["bot"]

if __name__ == "__main__":
    main()
