"""The databases that store campaigns."""

from tests.kit.databases import postgres_url, url
from tests.share_servers import postgres

__all__ = ["postgres", "postgres_url", "url"]
