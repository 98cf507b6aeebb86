"""The servers in which campaigns are kept."""

from tests.share_servers import postgres

__all__ = ["postgres"]
