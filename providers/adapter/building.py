"""Builds the service of a rung: Pipecat's class with the adapter's own part in front of it.

On a rung, a service takes no decisions of its own: its SDK's client does not retry, its requests
follow no redirect, and it does not reconnect by itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partialmethod
from typing import Any, Final, cast

import aiohttp

from providers.adapter.service_class import UnusableServiceError, arguments, describe, load_class
from providers.provider import RungSpec
from runtime.exits import error_text
from runtime.hosts import proxy_for
from runtime.http import kept_session

OWN: Final[Mapping[str, Any]] = {  # arguments of Pipecat's classes
    "reconnect_on_error": False,
    "max_consecutive_zero_audio_contexts": 0,  # the ladder counts them, not Pipecat
    "vad_force_turn_endpoint": True,  # otherwise it ends turns itself, and finishes on no request
}
FIXED: Final = frozenset({"name", *OWN})
"""Arguments that a rung cannot state."""


class LateSession:
    """Stands for an `aiohttp.ClientSession`, which can be made only on a running loop.

    It uses the session that all requests of the process share, or else one of its own, which
    `close` ends.
    """

    def __init__(self) -> None:
        self._own: aiohttp.ClientSession | None = None

    def request(self, method: str, url: Any, **asked: Any) -> Any:
        """Send a request, without redirects and through the proxy of its URL."""
        asked.setdefault("allow_redirects", False)
        asked.setdefault("proxy", proxy_for(str(url)))
        return self._shared_or_own_session.request(method, url, **asked)

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")
    put = partialmethod(request, "PUT")
    delete = partialmethod(request, "DELETE")

    def ws_connect(self, url: Any, **asked: Any) -> Any:
        """Open a websocket through the proxy of its URL."""
        asked.setdefault("proxy", proxy_for(str(url)))
        return self._shared_or_own_session.ws_connect(url, **asked)

    async def close(self) -> None:
        """Close its own session, if it has one."""
        if self._own is not None:
            await self._own.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared_or_own_session, name)

    @property
    def _shared_or_own_session(self) -> aiohttp.ClientSession:
        """Return the process's session, or else one of our own, which is opened if necessary."""
        kept = kept_session()
        if kept is not None:
            return kept
        if self._own is None or self._own.closed:
            self._own = aiohttp.ClientSession()
        return self._own


def build_service(rung: RungSpec, part: type, **own: Any) -> Any:
    """Return the service of a rung as an instance of `part` and of Pipecat's class.

    Args:
        rung: The rung.
        part: The adapter's own part, whose constructor takes `rung` and passes on its keywords.
        own: Further arguments, used if the service's constructor takes them.

    Raises:
        UnusableServiceError: There is no such service, or its constructor would end the process.
        TypeError: The service does not take these arguments.
        ValueError: The service rejects a value.
    """
    cls = load_class(rung.service, rung.stage)
    try:
        return _construct_without_retries(cls, rung, part, own)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:  # a `SystemExit` of one rung must not end all calls
        what = f"{type(error).__name__}: {error_text(error)}"
        raise UnusableServiceError(f"its constructor raised {what}") from error


def _construct_without_retries(
    cls: type, rung: RungSpec, part: type, own: Mapping[str, Any]
) -> Any:
    """Construct the service with the arguments that it takes, and turn off its retries."""
    described = describe(cls)
    given, session = arguments(described, rung), LateSession()
    fixed = {"name": rung.name, described.places["session"]: session, **OWN, **own}
    given |= {name: value for name, value in fixed.items() if name in described.parameters}
    service = _class_with_part(part, cls)(rung=rung, **given)
    service.late_session = session
    _turn_off_retries(service, rung, sets_url=not described.places["url"])
    return service


class SessionOwner:
    """Stands before the part of every service, and closes its session."""

    late_session: LateSession

    async def cleanup(self) -> None:
        """Release the service, then its session; may be repeated."""
        try:
            await cast("Any", super()).cleanup()
        finally:
            await self.late_session.close()


class Bare:
    """The adapter's part of a service that is built only as a check."""

    def __init__(self, *, rung: RungSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        del rung


def why_rate_is_rejected(rung: RungSpec) -> str:
    """Return what a constructor says about a rate; empty if the service can be built with it.

    It is the rate that is wrong only if the service can be built without one.
    """
    try:
        build_service(rung, Bare)
    except Exception as error:  # noqa: BLE001 - a vendor's or the owner's constructor
        try:
            build_service(replace(rung, rate_hz=0, sample_rate_hz=0), Bare)
        except Exception:  # noqa: BLE001 - something else is wrong, which the start reports
            return ""
        return error_text(error)
    return ""


@cache
def _class_with_part(part: type, cls: type) -> Any:
    """Return Pipecat's class with the adapter's part in front of it; the same one each time."""
    behind = getattr(part, "behind", None)  # a part may also stand between a class and its base
    bases = (SessionOwner, part, cls, *((behind,) if behind else ()))
    return type(f"Rung{cls.__name__}", bases, {})


def _turn_off_retries(service: Any, rung: RungSpec, *, sets_url: bool) -> None:
    """Make an SDK's client ask once, within the rung's time-out, and with its URL if `sets_url`.

    OpenAI's, Anthropic's and Groq's retry twice by default.
    """
    client: Any = getattr(service, "_client", None)
    if not hasattr(client, "with_options"):
        return
    options: dict[str, Any] = {"max_retries": 0, "timeout": rung.timeout_s}
    if sets_url and rung.url:
        options["base_url"] = rung.url
    service._client = client.with_options(**options)  # noqa: SLF001 - Pipecat has no parameter for it
