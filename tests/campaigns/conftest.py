"""The servers that store campaigns."""

from tests.share_servers import postgres

__all__ = ["postgres"]
