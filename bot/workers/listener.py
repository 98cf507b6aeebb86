"""The socket that a server listens on."""

import os
import socket
from typing import Final

from bot.config.environment import take_handed_sockets
from bot.exits import UsageError

BACKLOG: Final = 128
HANDED: Final = 3  # the first file descriptor that systemd gives (sd_listen_fds(3))


def listening_socket(host: str, port: int) -> socket.socket:
    """Return the socket that systemd opened for us, or one that we bind.

    systemd keeps its socket open while the server is replaced: callers wait in the kernel's queue.

    Raises:
        UsageError: systemd's socket is unusable, or the address is taken or not this machine's.
    """
    handed = take_handed_sockets()
    if not handed:
        return bind_socket(host, port)
    for extra in range(HANDED + 1, HANDED + handed):
        os.close(extra)
    try:
        listener = socket.socket(fileno=HANDED)
        listens = bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        address = listener.getsockname()
    except OSError as none:
        raise UsageError(
            f"file descriptor {HANDED} is not a socket ({none.strerror}); LISTEN_FDS says it is"
        ) from none
    if handed > 1 or not listens or not isinstance(address, tuple) or address[1] != port:
        listener.close()
        raise UsageError(
            f"server.port is {port}, and systemd gives {handed} socket(s), the first at "
            f"{address!r}; holdline.socket needs exactly one line, ListenStream={host}:{port}"
        )
    return listener


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a bound socket; a taken port is an error of one line.

    Raises:
        UsageError: The address is taken or not this machine's.
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
            "stop the program there, or choose another port (--port, or `make demo PORT=8081`)"
        ) from taken
    listener.set_inheritable(True)
    return listener
