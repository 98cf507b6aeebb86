"""The socket that a server listens on, and the reports that it is ready."""

import os
import socket
from collections.abc import Sequence
from typing import Final

from loguru import logger

from bot.health.operator_control import server_addresses
from configuration.carriers import CARRIERS
from configuration.environment import service_manager, take_handed_sockets
from configuration.settings import Settings
from runtime.exits import UsageError

BACKLOG: Final = 128
SYSTEMD_FD: Final = 3  # the first file descriptor that systemd passes on (sd_listen_fds(3))


def listening_socket(host: str, port: int) -> socket.socket:
    """Return the socket that systemd opened for us, or one that we bind.

    systemd keeps its socket open while the server is replaced; meanwhile, connections wait in the
    kernel's queue. A further call binds one: systemd's variables are removed.

    Raises:
        UsageError: systemd's socket is unusable, or the address is in use or not this machine's.
    """
    sockets = take_handed_sockets()
    if not sockets:
        return bind_socket(host, port)
    for extra in range(SYSTEMD_FD + 1, SYSTEMD_FD + sockets):
        os.close(extra)
    try:
        listener = socket.socket(fileno=SYSTEMD_FD)
        listens = bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        address = listener.getsockname()
    except OSError as none:
        raise UsageError(
            f"file descriptor {SYSTEMD_FD} is not a socket ({none.strerror}); LISTEN_FDS says it is"
        ) from none
    if sockets > 1 or not listens or not isinstance(address, tuple) or address[1] != port:
        listener.close()
        raise UsageError(
            f"server.port is {port}, and systemd gives {sockets} socket(s), the first at "
            f"{address!r}; holdline.socket needs exactly one line, ListenStream={host}:{port}"
        )
    return listener


def bind_socket(host: str, port: int, *, key: str = "server.port") -> socket.socket:
    """Return a listening socket, which is inheritable.

    Args:
        host: The address.
        port: The port.
        key: The setting that has the port, for the error.

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
            f"{key} is {port}, and {host}:{port} cannot be used ({taken.strerror}); "
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
    address = server_addresses(server.model_copy(update={"port": port}))[0]
    next_steps: dict[str, str] = {}  # by transport
    if transports.webrtc.enabled:
        sign_in = ", sign in with HOLDLINE_TOKEN" if server.token else ""
        next_steps["webrtc"] = f"open {address}/{sign_in} and press Call"
    if transports.twilio.enabled:
        webhook = f"{server.public_url}/twilio/voice"
        next_steps["twilio"] = f"set your Twilio number's voice webhook to {webhook}"
    for name, carrier in CARRIERS.items():
        if getattr(transports, name).enabled:
            next_steps[name] = carrier.entry.format(url=server.public_url)
    names = ", ".join(next_steps) or "no transport"
    steps = "; ".join(next_steps.values()) or (
        "enable one under transports in the configuration, otherwise no calls can arrive"
    )
    line = f"Holdline is ready at {address} ({names}): {steps}."
    return "\n".join((line, *(f"Attention: {sentence}." for sentence in dict.fromkeys(refused))))


READY: Final = "READY=1"
ALIVE: Final = "WATCHDOG=1"  # within `WatchdogSec`, or systemd restarts the service
ABSTRACT: Final = "@"  # systemd's spelling of the NUL before an abstract socket's name


def notify(state: str) -> None:
    """Send `READY` or `ALIVE` to the service manager, if there is one (sd_notify(3)).

    Never waits; a failure is only logged.
    """
    name = service_manager()
    if not name:
        return
    address = f"\0{name[1:]}" if name.startswith(ABSTRACT) else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            notifier.settimeout(0)
            notifier.sendto(state.encode(), address)
    except OSError as gone:
        logger.warning("systemd could not be notified ({}): {}", state, gone)
