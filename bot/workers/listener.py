"""The socket that a server listens on, and the reports that it is ready."""

import os
import socket
from collections.abc import Sequence
from typing import Final

from loguru import logger

from bot.config.carriers import CARRIERS
from bot.config.environment import service_manager, take_handed_sockets
from bot.config.settings import Settings
from bot.exits import UsageError
from bot.health.operator_control import addresses

BACKLOG: Final = 128
HANDED: Final = 3  # the first file descriptor that systemd passes on (sd_listen_fds(3))


def listening_socket(host: str, port: int) -> socket.socket:
    """Return the socket that systemd opened for us, or one that we bind.

    systemd keeps its socket open while the server is replaced; meanwhile, connections wait in the
    kernel's queue.

    Raises:
        UsageError: systemd's socket is unusable, or the address is in use or not this machine's.
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
    """Return a listening socket.

    Raises:
        UsageError: The address is in use or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)  # now, so that of two servers started together the second fails
    except OSError as taken:
        listener.close()
        raise UsageError(
            f"server.port is {port}, and {host}:{port} cannot be used ({taken.strerror}); "
            "stop the program there, or choose another port (--port, or `make demo PORT=8081`)"
        ) from taken
    listener.set_inheritable(True)
    return listener


def ready_line(settings: Settings, *, port: int, refused: Sequence[str] = ()) -> str:
    """Return what `holdline serve` prints when it is ready: address, transports, next steps.

    Args:
        settings: The configuration.
        port: The listening port; the configured one may be 0.
        refused: A sentence for each provider that failed at startup; each gets a line.
    """
    server, transports = settings.server, settings.transports
    address = addresses(server.model_copy(update={"port": port}))[0]
    todo: dict[str, str] = {}
    if transports.webrtc.enabled:
        sign_in = ", sign in with HOLDLINE_TOKEN" if server.token else ""
        todo["webrtc"] = f"open {address}/{sign_in} and press Call"
    if transports.twilio.enabled:
        webhook = f"{server.public_url}/twilio/voice"
        todo["twilio"] = f"set your Twilio number's voice webhook to {webhook}"
    for name, carrier in CARRIERS.items():
        if getattr(transports, name).enabled:
            todo[name] = carrier.entry.format(url=server.public_url)
    names = ", ".join(todo) or "no transport"
    cure = "enable one under transports in the configuration, otherwise no calls can arrive"
    line = f"Holdline is ready at {address} ({names}): {'; '.join(todo.values()) or cure}."
    return "\n".join((line, *(f"Attention: {sentence}." for sentence in dict.fromkeys(refused))))


READY: Final = "READY=1"
ABSTRACT: Final = "@"  # systemd's spelling of the NUL before an abstract socket's name


def notify_ready() -> None:
    """Tell the service manager that we are ready, if it has asked to be told (sd_notify(3))."""
    place = service_manager()
    if not place:
        return
    address = f"\0{place[1:]}" if place.startswith(ABSTRACT) else place
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.settimeout(0)
            notifier.sendto(READY.encode(), address)
    except OSError as gone:
        logger.warning("systemd could not be notified that the server is ready: {}", gone)
