"""The servers and models that tests of operations share with those of the program."""

from tests.bot.conftest import models_once
from tests.share_servers import postgres, redis_server

__all__ = ["models_once", "postgres", "redis_server"]
