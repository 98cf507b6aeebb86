"""The socket that a server listens on."""

import socket
from typing import Final

from bot.exits import UsageError

BACKLOG: Final = 128


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket, so that a taken port is one line and not a traceback.

    Raises:
        UsageError: The address is taken, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)  # at once: of two servers started together the second must fail
    except OSError as taken:
        listener.close()
        raise UsageError(
            f"server.port is {port}, and {host}:{port} cannot be used ({taken.strerror}); "
            "stop what listens there or choose another port with --port"
        ) from taken
    listener.set_inheritable(True)
    return listener
