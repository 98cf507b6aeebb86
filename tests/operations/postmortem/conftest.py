"""The servers through which processes share state."""

from tests.share_servers import postgres

__all__ = ["postgres"]
