"""The database servers and models that tests of operations share with those of the bot."""

from tests.bot.conftest import models_once
from tests.kit.databases import postgres_url, url
from tests.kit.log_file import log_file
from tests.share_servers import postgres, redis_server

__all__ = ["log_file", "models_once", "postgres", "postgres_url", "redis_server", "url"]
