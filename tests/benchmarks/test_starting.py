"""Every benchmark starts: what it imports from the product and from the tests exists."""

import importlib
import pkgutil

import pytest

import benchmarks


@pytest.mark.parametrize("name", [item.name for item in pkgutil.iter_modules(benchmarks.__path__)])
def test_a_benchmark_can_be_imported(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
