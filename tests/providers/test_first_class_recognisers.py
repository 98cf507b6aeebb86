"""Soniox and AssemblyAI over the adapter, against their simulators."""

from typing import Any, ClassVar

import pytest

from providers.catalog import provider
from tests.kit.bench import rung_spec
from tests.providers.stt_conformance import SimulatedStt

pytestmark = pytest.mark.virtual_time


class TestSoniox(SimulatedStt):
    kind: ClassVar[str] = "soniox"
    model: ClassVar[str] = "stt-rt-v5"


class TestAssemblyAI(SimulatedStt):
    kind: ClassVar[str] = "assemblyai"
    model: ClassVar[str] = "universal-3-6-pro"


@pytest.mark.parametrize(
    ("language", "asked"), [("de", ["de"]), ("pt-BR", ["pt"]), ("multi", None), ("", None)]
)
@pytest.mark.parametrize(
    ("kind", "setting"), [("soniox", "language_hints"), ("assemblyai", "language_codes")]
)
def test_the_rungs_language_is_asked_for(
    kind: str, setting: str, language: str, asked: list[str] | None
) -> None:
    service: Any = provider("stt", kind).build(rung_spec("stt", kind, "ws://x", language=language))
    given = getattr(service.settings, setting)

    assert (given and [str(item)[:2] for item in given]) == asked
