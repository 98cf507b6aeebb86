"""Whether a proxy in front may open the console to others: without a token nothing closes it."""

from urllib.parse import urlsplit

from bot.config.checks import is_loopback
from bot.config.errors import shown
from bot.config.settings import ServerSettings


def why_exposed(server: ServerSettings) -> str:
    """Say, behind the name of HOLDLINE_TOKEN, why it should be set; empty: it is, or need not be.

    A proxy that says for whom it asks is refused (`bot/server/origin.py`); not each of them does.
    """
    if server.token or is_loopback(urlsplit(server.public_url).hostname or ""):
        return ""
    return (
        f"is not set, and server.public_url is {shown(server.public_url)}: a proxy in front may "
        "open the console and the API to everybody; set it in the environment or .env"
    )
