"""Where a server is reached from the machine that it runs on."""

from typing import Final

from bot.config.settings import ServerSettings

ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def near_address(server: ServerSettings) -> str:
    """Return the base of its URLs, such as `http://127.0.0.1:8080`."""
    host = "127.0.0.1" if server.host in ANYWHERE else server.host
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
