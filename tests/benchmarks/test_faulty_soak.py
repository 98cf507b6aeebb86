"""The order of a soak's faults."""

import itertools

from benchmarks.faulty_soak import KINDS, deal


def test_faults_of_providers_ours_and_the_store_take_turns() -> None:
    dealt = list(itertools.islice(deal(1), 60))

    assert all(name in KINDS[at % 3] for at, name in enumerate(dealt))


def test_each_kinds_faults_all_come_before_one_comes_again() -> None:
    dealt = list(itertools.islice(deal(1), 54))

    for at, kind in enumerate(KINDS):
        own = dealt[at::3]
        packs = [own[begin : begin + len(kind)] for begin in range(0, len(own), len(kind))]
        assert all(sorted(pack) == sorted(kind) for pack in packs if len(pack) == len(kind))


def test_the_seed_decides_the_order() -> None:
    first, again, other = (list(itertools.islice(deal(seed), 30)) for seed in (1, 1, 2))

    assert first == again
    assert first != other
