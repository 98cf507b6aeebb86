"""Says which of the values that were read no text of ours may show."""

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from bot.config.environment import Environment
from bot.config.errors import is_secret
from bot.config.settings import Settings

LONG: Final = 16  # characters of a part of a webhook's path that is nobody's word (chosen)


def named_secrets(variables: Environment) -> Iterator[str]:
    """Yield the value of each variable whose name says that it is a secret, of ours or not."""
    for name, value in variables.values.items():
        if is_secret((name,)):
            yield value.strip()


def configured_secrets(settings: Settings) -> Iterator[str]:
    """Yield each secret of a configuration, and the passwords in its addresses."""
    yield from _secrets_in(settings)
    for address in (settings.storage.url, settings.resilience.share):
        yield from _passwords_of(address)
    for address in (settings.alerts.webhook.url, settings.transfer.webhook_url):
        yield from _passwords_of(address or "")
        yield from (each for each in urlsplit(address or "").path.split("/") if len(each) >= LONG)


def _secrets_in(value: Any) -> Iterator[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secrets_in(getattr(value, name))
        case dict():
            for each in value.values():
                yield from _secrets_in(each)
        case list() | tuple():
            for each in value:
                yield from _secrets_in(each)
        case _:
            pass


def _passwords_of(address: str) -> Iterator[str]:
    login = address.partition("://")[2].rpartition("@")[0]
    password = login.partition(":")[2]
    if password:
        yield password
        yield unquote(password)
