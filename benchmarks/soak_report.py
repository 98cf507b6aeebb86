"""The report of a soak with faults, from its records; pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from benchmarks.figures import NEVER_S, Slope, percentile, slope

Record: TypeAlias = dict[str, Any]
Points: TypeAlias = list[tuple[float, float]]

SPARED: Final = "a"  # no fault ends a process of this machine
AFTER_S: Final = 15.0  # a fault may affect turns until so long after its end (chosen)
WARM_UP_SHARE: Final = 0.15  # of the time: caches fill
YOUNG_S: Final = 600.0  # a new process warms up, too
MEASURES: Final = {"memory_mb": 1.0, "descriptors": 0.0, "threads": 0.0}  # more in an hour
FIRST_WORD_S: Final = 0.010  # how much later the first word may be at the end of the run
GROWTH_RATIO: Final = 1.25  # of what a call adds to the disk, in the second half (chosen)


def is_in_fault(record: Record, faults: Iterable[Record]) -> bool:
    """Return whether any part of a turn or a call lies in a fault or the time after it."""
    return any(
        record["began_s"] < fault["until_s"] + AFTER_S and record["end_s"] > fault["at_s"]
        for fault in faults
    )


def verdict(found: Slope, hours: float, allowed: float) -> str:
    """Return whether a measure grows by more than allowed, with the 95 % interval.

    It is met if the whole interval is within the limit; with a limit of 0, if the interval does
    not exclude 0. It is missed if the whole interval is above the limit.
    """
    grows, give_or_take = (60 * hours * item for item in (found.a_minute, found.give_or_take))
    word = "met" if not allowed or grows + give_or_take <= allowed else "cannot tell"
    word = "MISSED" if grows - give_or_take > allowed else word
    return f"{grows:+.3f} ± {give_or_take:.3f} (limit {allowed:g}): {word}"


def common_slope(processes: Iterable[Points]) -> Slope | None:
    """Return the one slope of several processes, each with a level of its own.

    Each minute of a process counts once, because values a few seconds apart are not independent.
    The processes' points are moved so that their means coincide. `None` if there are too few.
    """
    moved: Points = []
    for points in processes:
        minutes: dict[int, Points] = defaultdict(list)
        for at_s, value in points:
            minutes[int(at_s // 60)].append((at_s, value))
        means = [_mean_point(minute) for minute in minutes.values()]
        if len(means) > 2:
            at, level = _mean_point(means)
            moved += [(at_s - at, value - level) for at_s, value in means]
    return slope(moved) if len(moved) > 4 else None


def _mean_point(points: Points) -> tuple[float, float]:
    at, level = (sum(item) / len(points) for item in zip(*points, strict=True))
    return at, level


def lines(records: Sequence[Record]) -> Iterator[str]:
    """Yield the report."""
    kinds: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        kinds[record["what"]].append(record)
    over_s = max((record["at_s"] for record in records), default=0.0)
    faults = kinds["fault"]
    loads = [size["load"] for size in kinds["size"] if "load" in size]
    busy = f", load p50 {percentile(loads, 0.5):.1f}" if loads else ""
    yield f"{over_s / 60:.1f} minutes, {len(faults)} faults, {len(kinds['call'])} calls{busy}"
    for name, count in sorted(Counter(fault["name"] for fault in faults).items()):
        yield f"  {count:3} {name}"
    yield from (f"a fault that went wrong, MISSED: {fault}" for fault in faults if fault["wrong"])
    moved = sum(call["streams"] > 1 for call in kinds["call"])
    yield f"calls that went on in another stream: {moved}"
    for in_fault in (False, True):
        ends = [call | {"began_s": call["end_s"]} for call in kinds["call"] if call["error"]]
        early = [call for call in ends if is_in_fault(call, faults) == in_fault]
        turns = [turn for turn in kinds["turn"] if is_in_fault(turn, faults) == in_fault]
        yield from _heard_lines(early, turns, in_fault=in_fault)
        if not in_fault:
            yield from _first_words(turns, over_s)
    yield from _process_lines(kinds["process"], over_s)
    yield from _growth_lines(kinds["size"])


def _heard_lines(
    early: Sequence[Record], turns: Sequence[Record], *, in_fault: bool
) -> Iterator[str]:
    place = "in faults" if in_fault else "outside faults"
    not_whole = [turn for turn in turns if not turn["whole"]]
    early_word, turns_word = (
        "" if in_fault else ": MISSED" if items else ": met" for items in (early, not_whole)
    )
    yield f"calls that ended early or were refused, {place}: {len(early)}{early_word}"
    errors = Counter(call["error"].splitlines()[0][:90] for call in early)
    yield from (f"  {count:3} {error}" for error, count in errors.most_common())
    yield f"turns {place}: {len(turns)}, not whole {len(not_whole)}{turns_word}"
    firsts = [turn["first_word_s"] for turn in turns]
    if firsts:
        p50, p95 = (percentile(firsts, share) for share in (0.5, 0.95))
        yield f"  first word p50 {p50:.2f} s, p95 {p95:.2f} s"
    if not in_fault:
        yield from (f"  {turn['summary']}" for turn in not_whole)


def _first_words(turns: Sequence[Record], over_s: float) -> Iterator[str]:
    heard = [(turn["at_s"], turn["first_word_s"]) for turn in turns]
    points = [it for it in heard if it[0] > WARM_UP_SHARE * over_s and it[1] < NEVER_S]
    if len(points) > 2:
        found = verdict(slope(points), over_s / 3600, FIRST_WORD_S)
        yield f"first word over the run, s: {found}"


def _process_lines(samples: Sequence[Record], over_s: float) -> Iterator[str]:
    """Yield the slopes of the processes of each machine and role."""
    roles: dict[str, dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        roles[f"machine {sample['machine']}, {sample['role']}"][sample["pid"]].append(sample)
    for name, lives in sorted(roles.items()):
        died = name.startswith(f"machine {SPARED},") and len(lives) > 1
        word = ", MISSED: one ended without a fault" if died else ""
        yield f"{name}: {len(lives)} process{'es' if len(lives) > 1 else ''}{word}; in an hour"
        warm = [
            [it for it in life if it["at_s"] >= max(WARM_UP_SHARE * over_s, _young_until(life))]
            for life in lives.values()
        ]
        for measure, allowed in MEASURES.items():
            found = common_slope([(it["at_s"], it[measure]) for it in life] for life in warm)
            text = verdict(found, 1.0, allowed) if found else "too few measurements"
            last = max((life[-1] for life in lives.values()), key=lambda it: it["at_s"])
            yield f"  {measure}, last {last[measure]:.0f}: {text}"


def _young_until(life: Sequence[Record]) -> float:
    return float(life[0]["at_s"]) + YOUNG_S


def _growth_lines(sizes: Sequence[Record]) -> Iterator[str]:
    """Yield what each call adds to the logs and the database, in both halves of the run."""
    if len(sizes) < 3:
        return
    first, middle, last = sizes[0], sizes[len(sizes) // 2], sizes[-1]
    for key in ("logs_mb", "database_mb"):
        early, late = (
            1000 * (until[key] - since[key]) / max(1, until["calls"] - since["calls"])
            for since, until in ((first, middle), (middle, last))
        )
        word = "met" if late <= GROWTH_RATIO * early else "MISSED"
        yield f"{key}, last {last[key]:.1f}: {early:.1f}, then {late:.1f} kB a call: {word}"
