"""Places lent to several processes: never more than there are, and where they are needed."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bot.workers.lease_rules import LeaseMessage, Leases


def two(limit: int) -> Leases:
    leases = Leases(limit)
    leases.join("a")
    leases.join("b")
    return leases


def test_unneeded_places_are_lent_evenly() -> None:
    lent = two(5).divide()

    assert {name: each.places for name, each in lent.items()} == {"a": 3, "b": 2}


def test_a_process_short_of_places_gets_returned_ones() -> None:
    leases = two(4)
    first = leases.divide()
    leases.note_use("b", number=first["b"].number, inside=2, wanted=4)
    leases.note_use("a", number=first["a"].number, inside=0, wanted=0)

    asked_back = leases.divide()

    assert asked_back == {"a": LeaseMessage(places=0, number=2)}
    leases.note_use("a", number=2, inside=0, wanted=0)
    assert leases.divide() == {"b": LeaseMessage(places=4, number=2)}


def test_a_place_in_use_is_not_lent_again() -> None:
    leases = two(2)
    first = leases.divide()
    leases.note_use("a", number=first["a"].number, inside=1, wanted=1)
    leases.limit = 1
    leases.divide()

    assert leases.held() == 2  # until one of them reports that it was left


def test_a_lost_process_holds_nothing() -> None:
    leases = two(2)
    leases.divide()
    leases.leave("a")

    assert leases.divide() == {"b": LeaseMessage(places=2, number=2)}


class LeasesMachine(RuleBasedStateMachine):
    """Processes that take places as told, over lines with queued messages."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases(3)
        self.names = ["a", "b", "c"]
        self.lease = dict.fromkeys(self.names, 0)
        self.number = dict.fromkeys(self.names, 0)
        self.inside = dict.fromkeys(self.names, 0)
        self.down: dict[str, list[LeaseMessage]] = {name: [] for name in self.names}
        self.up: dict[str, list[tuple[int, int, int]]] = {name: [] for name in self.names}
        for name in self.names:
            self.leases.join(name)

    names_of = st.sampled_from(["a", "b", "c"])

    @rule()
    def places_are_divided(self) -> None:
        for name, lent in self.leases.divide().items():
            self.down[name].append(lent)

    @rule(name=names_of)
    def a_message_comes_down(self, name: str) -> None:
        if self.down[name]:
            lent = self.down[name].pop(0)
            self.lease[name], self.number[name] = lent.places, lent.number

    @rule(name=names_of)
    def a_message_comes_up(self, name: str) -> None:
        if self.up[name]:
            number, inside, wanted = self.up[name].pop(0)
            self.leases.note_use(name, number=number, inside=inside, wanted=wanted)

    @rule(name=names_of, waiting=st.integers(0, 3))
    def a_process_reports(self, name: str, waiting: int) -> None:
        inside = self.inside[name]
        self.up[name].append((self.number[name], inside, inside + waiting))

    @rule(name=names_of)
    def work_comes(self, name: str) -> None:
        if self.inside[name] < self.lease[name]:
            self.inside[name] += 1

    @rule(name=names_of)
    def work_leaves(self, name: str) -> None:
        self.inside[name] = max(0, self.inside[name] - 1)

    @invariant()
    def the_limit_is_never_broken(self) -> None:
        assert sum(self.inside.values()) <= self.leases.limit


TestLeasesMachine = LeasesMachine.TestCase
