"""What Uvicorn is told so that no stranger can have more of us than a caller needs."""

from functools import partial
from typing import Any

from bot.server.connection import IDLE_S, MOST_HEAD_BYTES, BoundedConnection, Crowd
from transports.media_stream.messages import MAX_MESSAGE_BYTES


def bounds() -> dict[str, Any]:
    """Return its options, with a crowd of their own."""
    return {
        "http": partial(BoundedConnection, crowd=Crowd()),  # called, never asked
        "h11_max_incomplete_event_size": MOST_HEAD_BYTES,
        "timeout_keep_alive": IDLE_S,
        "ws_max_size": MAX_MESSAGE_BYTES,
        "ws_per_message_deflate": False,  # 6 kB on the wire would be megabytes to read
        "server_header": False,
    }
