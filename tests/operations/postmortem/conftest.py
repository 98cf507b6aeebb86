"""The servers through which processes share what they know."""

from tests.share_servers import postgres

__all__ = ["postgres"]
