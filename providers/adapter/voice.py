"""Any of Pipecat's voices as a rung: how it is built, shared and probed, and whole texts.

The parts in `voice_parts.py` stand before Pipecat's class. A voice that loads a model, or has an
SDK's client, is constructed once; the calls' voices share the model or the client.
"""

import copy
import functools
from dataclasses import replace
from typing import Any

from loguru import logger
from pipecat.services.tts_service import TTSService, WebsocketTTSService

from providers.adapter.building import LateSession, build_service
from providers.adapter.lone_voice import probe_voice, speak_alone
from providers.adapter.service_class import load_class
from providers.adapter.voice_parts import SocketPart, VoicePart
from providers.batch import BatchAnswer, checked_samples, patience_s
from providers.provider import RungSpec, SharedService
from providers.sockets import forbid_redirects


class Construction(TTSService):
    """Stands behind a class, and keeps what its constructor gave to Pipecat's."""

    def __init__(self, **kwargs: Any) -> None:
        self.constructed = kwargs
        super().__init__(**kwargs)


class SharedPart(VoicePart):
    """The part of a voice whose constructor runs once, because it loads a model or a client."""

    behind = Construction


class LoadedVoice:
    """A voice that was constructed once; calls get copies that share its model or client."""

    def __init__(self, service: Any) -> None:
        self._service = service

    def copy(self, rung: RungSpec) -> Any:
        """Return the voice of one call, with its own rate and a copy of the first one's settings.

        The model or client is shared; other attributes are taken over, and the session is its own.
        """
        given = dict(self._service.constructed)
        given["settings"] = copy.deepcopy(given.get("settings"))
        if given.get("sample_rate"):
            given["sample_rate"] = rung.rate_hz or rung.sample_rate_hz
        service: Any = object.__new__(type(self._service))
        Construction.__init__(service, **given)
        session = LateSession()  # closed with the copy
        for name, value in vars(self._service).items():
            own = session if isinstance(value, LateSession) else value
            vars(service).setdefault(name, own)
        service.take_rung(rung)
        return service

    async def close(self) -> None:
        """Close the SDK's client, if there is one."""
        client: Any = getattr(self._service, "_client", None)
        if hasattr(client, "with_options"):
            await client.close()


def _own_rate(rung: RungSpec) -> RungSpec:
    """Return a rung with the rate that its service is asked for."""
    return replace(rung, rate_hz=rung.rate_hz or rung.facts.rate_hz(rung.sample_rate_hz))


def _build_with_part(rung: RungSpec, part: type[VoicePart]) -> Any:
    """Build the service with our part in front of its class; its client follows no redirect."""
    forbid_redirects()
    service = build_service(rung, part, append_trailing_space=True)
    web: Any = getattr(getattr(service, "_client", None), "_client", None)
    if hasattr(web, "follow_redirects"):
        web.follow_redirects = False
    return service


def build(rung: RungSpec) -> Any:
    """Return the service that speaks to this rung.

    Raises what `build_service` raises.
    """
    rung = _own_rate(rung)
    if isinstance(rung.shared, LoadedVoice):
        return rung.shared.copy(rung)
    is_socket = issubclass(load_class(rung.service, "tts"), WebsocketTTSService)
    return _build_with_part(rung, SocketPart if is_socket else VoicePart)


def share(rung: RungSpec) -> SharedService | None:
    """Return a voice whose model or client all calls share; `None` if it has neither.

    `None`, too, for a voice with a websocket, and for a constructor that raises, which is logged.
    """
    cls = load_class(rung.service, "tts")
    if issubclass(cls, WebsocketTTSService):
        return None
    try:
        service = _build_with_part(_own_rate(rung), SharedPart)
    except Exception as error:  # noqa: BLE001 - a call reports it when it builds the service
        logger.warning("{}: its constructor raised {}", rung.name, type(error).__name__)
        return None
    has_client = hasattr(getattr(service, "_client", None), "with_options")
    return LoadedVoice(service) if rung.facts.is_local or has_client else None


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Speak two words.

    Raises:
        ProbeFailedError: The service failed, or no audible sound came in time.
    """
    await probe_voice(rung, functools.partial(build, rung), timeout_s=timeout_s)


async def synthesise(rung: RungSpec, text: str) -> bytes:
    """Return a text as linear 16-bit samples at the rung's rate.

    Raises:
        ServiceError: The service failed; holds the failure.
    """
    make = functools.partial(build, rung)
    pcm = await speak_alone(rung, make, text, within_s=patience_s(rung, text))
    return checked_samples(BatchAnswer(content_type="audio/pcm", body=pcm), rung, text)
