"""A refusal is classified correctly, however odd its headers are."""

# pyright: reportArgumentType=false

import asyncio

import httpx
import openai
import pytest

from fallbacks.failure import Failure, Kind
from providers.catalog import provider
from providers.openai import sdk_failure_of
from providers.provider import ProbeFailedError, Stage
from tests.kit.bench import rung_spec, running
from tests.providers.test_one_address import listening
from tests.providers.test_tapped_voice import Ear

DATE = "Mon, 26 Oct 2026 07:33:20 GMT"


@pytest.mark.parametrize("date", ["2026-10-26T07:33:20Z", "", f"{DATE}, {DATE}"])
def test_a_model_refused_with_an_odd_date_is_rate_limited(date: str) -> None:
    answer = httpx.Response(
        429,
        headers={"Date": date, "Retry-After": "7"},
        request=httpx.Request("POST", "http://127.0.0.1/chat/completions"),
    )
    refused = openai.RateLimitError("slow down", response=answer, body=None)

    failure = sdk_failure_of(refused, "it", flowing=False)

    assert (failure.kind, failure.retry_after_s) == (Kind.RATE_LIMITED, 7.0)


@pytest.mark.parametrize("kind", ["cartesia", "elevenlabs"])
@pytest.mark.parametrize("dates", [("2026-10-26T07:33:20Z",), (DATE, DATE)], ids=["odd", "twice"])
async def test_a_voice_refused_with_an_odd_date_has_its_reason(
    kind: str, dates: tuple[str, ...]
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heads = "".join(f"Date: {date}\r\n" for date in dates)
        writer.write(
            f"HTTP/1.1 429 Too Many\r\n{heads}Retry-After: 7\r\nContent-Length: 0\r\n\r\n".encode()
        )
        writer.close()

    async with listening(refuse) as port:
        rung = rung_spec("tts", kind, f"ws://127.0.0.1:{port}", api_key="sk-of-ours")
        ear, service = Ear(), provider("tts", kind).build(rung)
        service.listen(ear)  # type: ignore[attr-defined]
        async with running(service, rate_hz=8000) as bench:
            await bench.worker.cancel()

    failure = next(told for told in ear.told if isinstance(told, Failure))
    assert (failure.kind, failure.retry_after_s) == (Kind.RATE_LIMITED, 7.0)


@pytest.mark.parametrize(
    ("kind", "stage", "head", "body", "said"),
    [
        ("deepgram", "stt", "dg-error: Use keyterm, not sk-of-ours", "", "Use keyterm, not ..."),
        ("deepgram", "stt", "X-Y: z", '{"err_msg": "Use keyterm"}', "Use keyterm"),
        ("cartesia", "tts", "X-Y: z", '{"message": "No such voice."}', "No such voice."),
        ("elevenlabs", "tts", "X-Y: z", '{"detail": {"message": "Odd\\nmodel"}}', "Odd model"),
    ],
)
async def test_a_refused_probe_has_the_providers_text_without_our_key(
    kind: str, stage: Stage, head: str, body: str, said: str
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = len(body.encode())
        answer = f"HTTP/1.1 400 Bad\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"
        writer.write(answer.encode())
        writer.close()

    async with listening(refuse) as port:
        rung = rung_spec(stage, kind, f"ws://127.0.0.1:{port}", api_key="sk-of-ours")
        with pytest.raises(ProbeFailedError) as refused:
            await provider(stage, kind).probe_for_real(rung, timeout_s=5.0)

    failure = refused.value.failure(rung)
    assert failure.kind is Kind.BAD_REQUEST
    assert failure.reason == f"127.0.0.1:{port}: answered 400 {said}"


def test_a_refused_parameter_is_named() -> None:
    answer = httpx.Response(400, request=httpx.Request("POST", "http://127.0.0.1"))
    body = {"type": "invalid_request_error", "code": "unsupported_parameter", "param": "max_tokens"}
    refused = openai.BadRequestError("no", response=answer, body=body)

    failure = sdk_failure_of(refused, "it", flowing=False)

    assert failure.reason == "400 invalid_request_error unsupported_parameter max_tokens"
