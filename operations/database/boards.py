"""The board of shared provider health at an address."""

from sqlalchemy.engine import make_url

from bot.config.share_address import PLACES
from operations.database.provider_board import ProviderBoard
from operations.database.sql_board import SqlBoard


def board_at(share: str, *, holder: str) -> ProviderBoard:
    """Return the board at a valid address; it connects on first use.

    Args:
        share: The address.
        holder: The name under which this process writes, unique for each process.
    """
    backend = PLACES[share.partition("://")[0]].backend
    if backend == "redis":
        from operations.database.redis_board import RedisBoard  # noqa: PLC0415 - its driver is an extra

        return RedisBoard(share, holder=holder)
    url = make_url(share)
    if backend == "sqlite":
        return SqlBoard(url.set(drivername="sqlite+aiosqlite"), holder=holder)
    url = url.set(drivername="postgresql+asyncpg")
    if "sslmode" in url.query:  # libpq's name for what asyncpg calls ssl
        ssl = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": ssl})
    return SqlBoard(url, holder=holder)
