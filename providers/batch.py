"""Sends one request to a batch endpoint and turns every error into a failure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import urlencode, urlsplit, urlunsplit

import aiohttp
import numpy as np

from fallbacks.classification import classify_error, classify_http, classify_symptom
from fallbacks.failure import Finding, Kind, Scope, ServiceError, error_of, failed
from fallbacks.retry_after import may_ask_again, retry_after_s
from fallbacks.symptoms import Symptom
from fallbacks.word_times import is_cut_short
from providers.probing import STATUS_MEANINGS
from providers.provider import RungSpec
from runtime.http import parse_json, request

MAX_BATCH_BYTES: Final = 256 << 20  # of an answer; chosen: an hour of audio at 32 kHz
REFUSAL_BYTES: Final = 64 << 10  # of an error's explanation
PIECE_BYTES: Final = 64 << 10
SCHEMES: Final = {"wss": "https", "ws": "http"}
INPUTS: Final[Mapping[str, str]] = {"stt": "recording", "tts": "text"}

Query: TypeAlias = Mapping[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """The request to send.

    Attributes:
        url: The URL without its query.
        query: The query of the URL.
        headers: Contain the key, so they are never shown.
        body: Sent unchanged.
        within_s: For the whole request; the rung's own timeout is for connecting.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    within_s: float
    query: Query = field(default_factory=dict[str, str | int])


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswer:
    """An answer with status 200."""

    content_type: str
    body: bytes


def http_base(url: str) -> str:
    """Return a ws(s) URL as http(s), without query and trailing slash."""
    parts = urlsplit(url)
    scheme = SCHEMES.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


async def post(batch: BatchRequest, rung: RungSpec) -> BatchAnswer:
    """Send a request and return its answer.

    Raises:
        ServiceError: The provider refused, could not be reached, or sent no complete answer of
            at most `MAX_BATCH_BYTES` in time. The text names the host, but no header and no text of
            the provider, which may contain the key.
    """
    url = f"{batch.url}?{urlencode(batch.query)}" if batch.query else batch.url
    timeout = aiohttp.ClientTimeout(total=batch.within_s, sock_connect=rung.timeout_s)
    body = bytearray()
    try:
        async with request(
            "POST",
            url,
            may_repeat=True,  # it changes nothing
            data=batch.body,
            headers=dict(batch.headers),
            allow_redirects=False,
            timeout=timeout,
        ) as answer:
            if answer.status != 200:
                raise await _error_of_refusal(answer, rung)
            async for piece in answer.content.iter_chunked(PIECE_BYTES):
                body += piece
                if len(body) > MAX_BATCH_BYTES:
                    raise rung_error(Symptom.GARBAGE, rung, f"more than {MAX_BATCH_BYTES >> 20} MB")
            return BatchAnswer(content_type=answer.content_type, body=bytes(body))
    except TimeoutError as error:
        symptom = Symptom.GAP if body else Symptom.NO_ANSWER
        raise rung_error(symptom, rung, f"no complete answer in {batch.within_s:.0f} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        found = Kind.CUT if body else classify_error(error)
        raise rung_error(found, rung, type(error).__name__) from error


def rung_error(found: Symptom | Finding | Kind, rung: RungSpec, text: str) -> ServiceError:
    """Return the exception for a rung's failure; `text` is shown, so it must contain no secret."""
    cause = classify_symptom(found) if isinstance(found, Symptom) else found
    host = urlsplit(rung.url).netloc
    reason = f"{host}: {text}" if host else text
    return error_of(failed(cause, rung.stage, provider=rung.name, reason=reason))


async def _error_of_refusal(answer: aiohttp.ClientResponse, rung: RungSpec) -> ServiceError:
    """Return the exception for a refused request; its text has the status, not the provider's."""
    text = (await answer.content.read(REFUSAL_BYTES)).decode(errors="replace")
    try:
        body: object = parse_json(text)
    except ValueError:
        body = text
    found = classify_http(rung.symptoms, answer.status, body)
    reason = f"answered {answer.status}{STATUS_MEANINGS.get(answer.status, '')}"
    if found.scope is Scope.PAYLOAD:
        reason = f"answered {answer.status}: it does not accept this {INPUTS[rung.stage]}"
    return error_of(
        failed(
            found,
            rung.stage,
            provider=rung.name,
            reason=f"{urlsplit(rung.url).netloc}: {reason}",
            retry_after_s=retry_after_s(answer.headers),
            same_rung=may_ask_again(answer.headers),
        )
    )


AUDIBLE_LEVEL: Final = 164  # of 32768, about -46 dBFS
NO_SOUND: Final = ("text/", "application/json")  # content types of pages and of explanations
LETTER_S: Final = 0.1  # per letter, for synthesis and transfer; spoken, a letter takes 0.07 s


def patience_s(rung: RungSpec, text: str) -> float:
    """Return how long a rung may take to synthesise a whole text, in seconds."""
    return rung.timeout_s + LETTER_S * len(text)


def checked_samples(answer: BatchAnswer, rung: RungSpec, text: str) -> bytes:
    """Return an answer's samples, if they can be the requested speech.

    Args:
        answer: Its body is linear, 16-bit, little-endian, mono, at the rung's rate.
        rung: The rung that answered.
        text: The text that was to be spoken.

    Raises:
        ServiceError: The body is not audio, is empty, ends with half a sample, is silent, or is too
            short for the text.
    """
    pcm = answer.body
    if answer.content_type.startswith(NO_SOUND):
        raise rung_error(Symptom.GARBAGE, rung, "the answer is not audio")
    if len(pcm) % 2:  # a sample has 2 bytes
        raise rung_error(Symptom.ODD_AUDIO, rung, "half a sample")
    if not pcm:
        raise rung_error(Symptom.NO_AUDIO, rung, "no sound")
    loud = np.flatnonzero(np.abs(np.frombuffer(pcm, "<i2").astype(np.int32)) > AUDIBLE_LEVEL)
    if not loud.size:
        raise rung_error(Symptom.ZERO_AUDIO, rung, "silence")
    if is_cut_short(text, audible_s=float(loud[-1] - loud[0]) / rung.sample_rate_hz):
        raise rung_error(Kind.CUT, rung, "far too short for its text")
    return pcm
