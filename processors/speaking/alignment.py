"""Finds the words of a text in its sound, with the same text spoken by another voice as reference.

Both sounds are turned into features, 80 a second. The position in the reference is followed through
the sound as a hidden state: at each step it stays, or goes on by one to three steps (dynamic time
warping, with all paths weighed instead of only the best one). The reference is tried at several
paces at once. So the result has a probability for each word, also for a sound that was cut off.
Of each pause only the beginning and the end are compared, so pauses may have any length.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from fallbacks.word_times import sayable, usual_s
from runtime.pcm import AUDIBLE

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Indices: TypeAlias = npt.NDArray[np.intp]

# All numbers were chosen with voices and sentences other than those of `benchmarks/alignment.py`.
STEP_S: Final = 0.0125
WINDOW_S: Final = 0.025
BANDS: Final = 24
CEPSTRA: Final = 13
LOW_HZ, HIGH_HZ = 100.0, 3800.0  # what every telephone line carries
PACES: Final = (0.7, 0.85, 1.0, 1.2, 1.45)  # lengths of the reference, as shares of its own
SHARPNESS: Final = 0.375  # of the likelihood: successive steps are alike, so each proves little
FLOOR: Final = 1e-4  # of the loudest power: quieter bands count as silent
QUIETEST: Final = AUDIBLE / 32768  # without a louder sample, nothing is spoken
VOICED: Final = 1e-2  # of the loudest power: steps from which a voice's mean is taken
SILENT: Final = 2e-3  # of the loudest power: pauses
PRIOR_STEPS: Final = 32.0  # the reference's mean counts like so many steps of the sound
PAUSE_STEPS: Final = 4  # of a pause in the reference; the rest of it is left out
SOUND_PAUSE_STEPS: Final = 16  # the same for a pause in the sound, which the reference may not have
ENERGY_WEIGHT, CHANGE_WEIGHT = 0.8, 2.0
# The probabilities of staying, and of going on by two and by three steps: in speech, in a pause.
STAYS: Final = (0.25, 0.7)
SKIPS: Final = (0.21, 0.17)
LEAPS: Final = (0.04, 0.03)
AHEAD, AHEAD_STEPS = 1.3, 30  # how far the position may be ahead of the sound
START_STEPS: Final = 4  # the sound begins at one of these
ALIVE: Final = 1e-9  # less probable positions are left out
LOOK_AHEAD: Final = 80  # steps after a moment that tell more about it
BLOCK: Final = 40  # steps whose likelihoods are computed at once
NEVER: Final = 10**9  # the step of the end of a word that the sound cannot reach
RATE_HZ: Final = 8000
FFT: Final = 256
EDGE_S: Final = 0.04  # silence around the reference
SURE: Final = 0.9  # least probability of a word that need not be spoken again
LIKELY: Final = 0.5  # least probability of a word that was probably heard
MISSING: Final = 0.01  # at the end of a text, less probable words are missing, if the voice had
NEEDED: Final = 0.6  # less than this share of the time for them: it may read them in its own way


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The text as spoken by another voice.

    Attributes:
        samples: Mono, 16 bits.
        rate_hz: Their rate.
        starts_s: When each word begins, in seconds.
    """

    samples: npt.NDArray[np.int16]
    rate_hz: int
    starts_s: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedWord:
    """A word, its place in the sound, and the probability that the sound reaches its end.

    A word that the sound does not reach begins and ends at the end of the sound.
    """

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class _Paced:
    """The reference at all paces: features, transitions, and the last step of each word."""

    features: Floats  # (pace, step, feature)
    moves: Floats  # their probabilities: (by how many steps, pace, step)
    ends: Indices  # (pace, word)


def words_spoken(words: Sequence[AlignedWord], *, least: float = SURE) -> int:
    """Return how many words are spoken to their end; in doubt fewer, so that none is lost."""
    unsure = (index for index, word in enumerate(words) if word.confidence < least)
    return next(unsure, len(words))


def lacks_end(words: Sequence[AlignedWord], length_s: float) -> bool:
    """Return whether a voice that says it is done surely had no time to speak the last words."""
    found = words_spoken(words, least=MISSING)
    end_s = words[found - 1].end_s if found else 0.0
    usual = [
        usual_s(sayable(word.text) for word in part) for part in (words[:found], words[found:])
    ]
    return length_s - end_s < NEEDED * usual[1] * (end_s / usual[0] if found else 1.0)


def align(
    words: Sequence[str],
    reference: Reference,
    pcm: bytes,
    rate_hz: int,
    *,
    share: float = 1.0,
    until_s: float | None = None,
) -> list[AlignedWord]:
    """Return the place of each word in the sound of a voice, which may end in the middle of it.

    Args:
        words: The words of the text.
        reference: The same text in another voice.
        pcm: The sound: 16-bit little-endian mono.
        rate_hz: Its rate.
        share: How much of a word must be spoken before it counts as over.
        until_s: Which words are over is asked for this moment; `None` for the end of the sound.
    """
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    duration_s = len(samples) / rate_hz
    if not words or duration_s < WINDOW_S or float(np.abs(samples).max()) < QUIETEST:
        return [AlignedWord(text=w, start_s=0.0, end_s=0.0, confidence=0.0) for w in words]
    power = _band_powers(samples, rate_hz)
    kept, _ = _without_pauses(_silent_steps(power), np.zeros(1, np.intp), steps=SOUND_PAUSE_STEPS)
    paced, prior = _at_all_paces(reference, steps=len(kept), share=share)
    sound, _ = _features_and_voice(power, prior)
    asked = len(kept) if until_s is None else int(np.searchsorted(kept * STEP_S, until_s))
    # (step, word): the probability that the word is over
    reached = _word_end_probabilities(sound[kept], paced, asked=max(1, asked))
    kept = kept[:asked]
    places = np.append(kept * STEP_S, duration_s if until_s is None else until_s)
    crossed = np.where(reached[-1] >= LIKELY, np.argmax(reached >= LIKELY, axis=0), len(kept))
    ends_s = np.maximum.accumulate(np.minimum(places[crossed], duration_s))
    starts_s = np.append(0.0, ends_s[:-1])
    return [
        AlignedWord(text=word, start_s=float(start), end_s=float(end), confidence=float(sure))
        for word, start, end, sure in zip(words, starts_s, ends_s, reached[-1], strict=True)
    ]


def _mel_of(frequency: float) -> float:
    """Return a frequency in Hz on the mel scale."""
    return 2595.0 * float(np.log10(1.0 + frequency / 700.0))


@functools.cache
def _mel_filters() -> Floats:
    """Return triangular filters on the mel scale: (frequency, band)."""
    mels = np.linspace(_mel_of(LOW_HZ), _mel_of(HIGH_HZ), BANDS + 2)
    corners = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    frequencies = np.arange(FFT // 2 + 1)[:, None] * RATE_HZ / FFT
    rising = (frequencies - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies) / (corners[2:] - corners[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _band_powers(samples: Floats, rate_hz: int) -> Floats:
    """Return the power in each band: (step, band). Samples are floats from -1 to 1."""
    if rate_hz != RATE_HZ:
        samples = soxr.resample(samples, rate_hz, RATE_HZ, quality="LQ")
    width, hop = round(WINDOW_S * RATE_HZ), round(STEP_S * RATE_HZ)
    steps = max(1, len(samples) // hop)
    padded = np.pad(samples, (width // 2, width))
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)[: steps * hop : hop]
    spectra = np.fft.rfft(windows * np.hanning(width).astype(np.float32), FFT)
    return (np.square(spectra.real) + np.square(spectra.imag)) @ _mel_filters()


_COSINES: Final = np.cos(
    np.pi / BANDS * (np.arange(BANDS) + 0.5)[:, None] * np.arange(CEPSTRA)
).astype(np.float32) * np.sqrt(2.0 / BANDS).astype(np.float32)
_LIFTER: Final = (1.0 + 3.0 * np.sin(np.pi * np.arange(CEPSTRA) / 22.0)).astype(np.float32)


def _features_and_voice(power: Floats, prior: Floats | None = None) -> tuple[Floats, Floats]:
    """Return cepstra and their changes, without the voice's own mean and range; and these two.

    The shapes are (step, feature) and (2, cepstrum). The first coefficient is replaced by the
    energy. The mean of a short sound is not reliable, so the `prior` of the reference counts, too.
    """
    peak = _loud_power(power)
    loud = np.log(power.sum(axis=1) / peak + FLOOR)
    cepstra = np.log(power / peak + FLOOR) @ _COSINES
    cepstra[:, 0] = loud
    voiced = loud > np.log(VOICED)
    chosen = cepstra[voiced] if voiced.sum() >= 3 else cepstra
    usual = np.stack([chosen.mean(axis=0), chosen.std(axis=0)])
    if prior is not None:
        share = len(chosen) / (len(chosen) + PRIOR_STEPS)
        usual = share * usual + (1.0 - share) * prior
    centred = (cepstra - usual[0]) * _LIFTER
    scaled = centred / ((usual[1] * _LIFTER)[1:].mean() + 1e-3)
    scaled[:, 0] = centred[:, 0] * ENERGY_WEIGHT
    edged = np.pad(scaled, ((2, 2), (0, 0)), mode="edge")
    change = (2.0 * (edged[4:] - edged[:-4]) + edged[3:-1] - edged[1:-3]) / 10.0
    return np.hstack([scaled, change * CHANGE_WEIGHT]).astype(np.float32), usual


def _loud_power(power: Floats) -> float:
    """Return the power of the loud steps (95th percentile); never zero."""
    return float(np.percentile(power.sum(axis=1), 95)) + 1e-9


def _silent_steps(power: Floats) -> npt.NDArray[np.bool_]:
    """Return for each step whether it is silent, compared with the loud ones."""
    return power.sum(axis=1) < SILENT * _loud_power(power)


def _at_all_paces(reference: Reference, *, steps: int, share: float) -> tuple[_Paced, Floats]:
    """Return the reference stretched to each pace, with its transitions, and its voice's mean.

    Args:
        reference: The text in another voice.
        steps: The length of the sound to be aligned.
        share: How much of a word must be spoken before it counts as over.
    """
    features, silent, ends, usual = _steps_of(reference, steps=steps, share=share)
    length = min(round(len(features) * PACES[-1]), round(AHEAD * steps) + AHEAD_STEPS)
    stretched = np.zeros((len(PACES), length, features.shape[1]), np.float32)
    pauses = np.zeros((len(PACES), length), np.intp)
    inside = np.zeros((len(PACES), length), np.float32)
    for row, pace in enumerate(PACES):
        places = np.arange(min(length, round(len(features) * pace))) / pace
        left = np.minimum(places.astype(np.intp), len(features) - 2)
        part = np.minimum(places - left, 1.0).astype(np.float32)[:, None]
        stretched[row, : len(left)] = features[left] * (1 - part) + features[left + 1] * part
        pauses[row, : len(left)] = silent[left]
        inside[row, : len(left)] = 1.0
    stay, skip, leap = (np.array(p, np.float32)[pauses] * inside for p in (STAYS, SKIPS, LEAPS))
    moves = np.stack([stay, inside - stay - skip - leap, skip, leap])
    paces = np.array(PACES)[:, None]
    last = np.round(len(features) * paces).astype(np.intp) - 1  # stands for the end of the text
    reached = np.minimum(np.ceil(ends * paces).astype(np.intp), last)
    return _Paced(stretched, moves, np.where(ends == NEVER, NEVER, reached)), usual


def _steps_of(
    reference: Reference, *, steps: int, share: float
) -> tuple[Floats, npt.NDArray[np.bool_], Indices, Floats]:
    """Return the reference without pauses, up to where a sound of `steps` can reach.

    These are its features; whether they are silent; where words end; and the mean of its voice.
    """
    edge = np.zeros(round(EDGE_S * reference.rate_hz), np.float32)
    useful = round((AHEAD * steps + AHEAD_STEPS) / PACES[0] * STEP_S * reference.rate_hz)
    samples = reference.samples[:useful].astype(np.float32) / 32768
    power = _band_powers(np.concatenate([edge, samples, edge]), reference.rate_hz)
    features, usual = _features_and_voice(power)
    silent = _silent_steps(power)
    over_s = [*reference.starts_s[1:], len(reference.samples) / reference.rate_hz]
    moments_s = share * np.array(over_s) + (1.0 - share) * np.array(reference.starts_s)
    ends = np.round((moments_s + EDGE_S) / STEP_S).astype(np.intp)
    beyond = ends > len(silent)
    kept, ends = _without_pauses(silent, np.minimum(ends, len(silent)), steps=PAUSE_STEPS)
    return features[kept], silent[kept], np.where(beyond, NEVER, ends), usual


def _without_pauses(
    silent: npt.NDArray[np.bool_], ends: Indices, *, steps: int
) -> tuple[Indices, Indices]:
    """Return the steps to keep, with only short pauses, and where words end among them.

    Args:
        silent: For each step, whether it is silent.
        ends: For each word, the step after its last one.
        steps: The length to which pauses are cut.
    """
    places = np.arange(len(silent))
    before = np.maximum.accumulate(np.where(silent, -1, places))
    after = np.minimum.accumulate(np.where(silent, len(silent), places)[::-1])[::-1]
    half = steps // 2
    keep = ~silent | (places - before <= half) | (after - places <= half)
    new = np.append(0, np.cumsum(keep))
    return np.flatnonzero(keep), new[before[np.maximum(ends - 1, 0)] + 1]


def _word_end_probabilities(sound: Floats, paced: _Paced, *, asked: int) -> Floats:
    """Return for each step of the sound the probability that it is beyond the end of each word.

    The shape is (step, word). Only the first `asked` steps are followed; what comes after them
    decides about the last one.
    """
    paces, length, _ = paced.features.shape
    sound, after = sound[:asked], sound[asked : asked + LOOK_AHEAD]
    reached = np.zeros((len(sound), paced.ends.shape[1]), np.float32)
    state = np.zeros((paces, length), np.float32)  # of the first step, before its likelihoods
    state[:, :START_STEPS] = 1.0
    for first in range(0, len(sound), BLOCK):
        near = _reachable_places(state, steps=BLOCK)
        likely = _step_likelihoods(sound[first : first + BLOCK], paced.features[:, near])
        moves = _moves_near(paced, near)
        parts = np.empty_like(moves)  # allocated once for many steps
        sums = [(parts[0, by:], parts[by, :-by]) for by in range(1, len(parts))]
        now, states = state[:, near].ravel(), np.empty_like(likely)
        for step, fits in enumerate(likely):
            if first + step:
                np.multiply(moves, now, out=parts)
                for moved, part in sums:
                    np.add(moved, part, out=moved)
                now = parts[0]
            now = np.multiply(now, fits, out=states[step])
            now /= now.sum() + 1e-30
        states = states.reshape(len(states), paces, -1)
        reached[first : first + BLOCK] = _share_beyond(states, paced, near)
        state = np.zeros_like(state)
        state[:, near] = now.reshape(paces, -1)
    if len(after):
        reached[-1] = _with_hindsight(state, after, paced)
    return reached


def _with_hindsight(state: Floats, after: Floats, paced: _Paced) -> Floats:
    """Return the probability that a position is beyond each word's end, given what comes after."""
    near = _reachable_places(state, steps=len(after))
    likely = _step_likelihoods(after, paced.features[:, near])
    moves = _moves_near(paced, near)
    fits = np.ones(likely.shape[1], np.float32)
    for step in range(len(after) - 1, -1, -1):
        next_fits = fits * likely[step]
        fits = next_fits * moves[0]
        for by, move in enumerate(moves[1:], 1):
            fits[:-by] += move[:-by] * next_fits[by:]
        fits /= fits.max() + 1e-30
    known = state[:, near] * fits.reshape(len(state), -1)
    return _share_beyond(known[None] / (known.sum() + 1e-30), paced, near)[0]


# Below, a position is a pace and a place in one dimension: many small operations are quicker on
# one dimension than on two.


def _reachable_places(state: Floats, *, steps: int) -> slice:
    """Return the places that a position may reach within these steps."""
    alive = np.flatnonzero((state > ALIVE).any(axis=0))
    return slice(int(alive[0]), min(state.shape[1], int(alive[-1]) + 1 + 2 * steps))


def _moves_near(paced: _Paced, near: slice) -> Floats:
    """Return the probabilities of moves, without those out of these places: (steps, position)."""
    moves = paced.moves[:, :, near].copy()
    for by in range(1, len(moves)):
        moves[by, :, -by:] = 0.0
    return moves.reshape(len(moves), -1)


def _share_beyond(states: Floats, paced: _Paced, near: slice) -> Floats:
    """Return the probability that the position is beyond each word's end: (step, word).

    The shape of `states` is (step, pace, place).
    """
    before = np.pad(np.cumsum(states, axis=2), ((0, 0), (0, 0), (1, 0)))
    places = np.clip(paced.ends, near.start, near.stop) - near.start
    return 1.0 - before[:, np.arange(len(places))[:, None], places].sum(axis=1)


def _step_likelihoods(sound: Floats, reference: Floats) -> Floats:
    """Return how alike each step of the sound and each place of the reference are.

    The shape is (step, position); 1 is the best match of a step.
    """
    paces, places, _ = reference.shape
    # One product for each pace: BLAS would divide a larger one among threads.
    products = np.empty((len(sound), paces, places), np.float32)
    np.matmul(sound, reference.transpose(0, 2, 1), out=products.swapaxes(0, 1))
    squares = np.square(sound).sum(axis=1)[:, None] + np.square(reference).sum(axis=2).ravel()
    apart = squares - 2.0 * products.reshape(len(sound), -1)
    np.sqrt(np.maximum(apart, 0.0, out=apart), out=apart)
    apart -= apart.min(axis=1, keepdims=True)
    apart *= -SHARPNESS
    return np.exp(apart, out=apart)
