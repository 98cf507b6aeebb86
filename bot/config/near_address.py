"""Where a server is reached from the machine that it runs on."""

from typing import Final

ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def near_address(host: str, port: int | str) -> str:
    """Return the base of its URLs, such as `http://127.0.0.1:8080`."""
    near = "127.0.0.1" if host in ANYWHERE else host
    return f"http://[{near}]:{port}" if ":" in near else f"http://{near}:{port}"
