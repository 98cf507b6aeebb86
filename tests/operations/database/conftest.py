"""The servers through which processes share state."""

from tests.share_servers import postgres, redis_server

__all__ = ["postgres", "redis_server"]
