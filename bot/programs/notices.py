"""Reports readiness to systemd: `Type=notify` of deploy/holdline.service."""

import socket
from typing import Final

from loguru import logger

from bot.config.environment import service_manager

READY: Final = "READY=1"
ABSTRACT: Final = "@"  # systemd's spelling of the NUL before an abstract socket's name


def tell_ready() -> None:
    """Report readiness to the service manager that started us, if it asked (sd_notify(3))."""
    place = service_manager()
    if not place:
        return
    address = f"\0{place[1:]}" if place.startswith(ABSTRACT) else place
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.settimeout(0)
            line.sendto(READY.encode(), address)
    except OSError as gone:
        logger.warning("systemd was not told that we are ready: {}", gone)
