"""Records the sent part of an utterance: its sound and its words."""

from lab.simulators.admission import Admission
from lab.simulators.instance import Instance
from lab.simulators.kept_audio import Take
from lab.simulators.record import SpokenWord
from lab.simulators.voices.pieces import AudioPiece


def keep_sound(piece: AudioPiece, instance: Instance, admission: Admission) -> None:
    """Keep the sound, for judging what was heard of it."""
    if piece.speech is None:
        return
    take = Take(
        instance=instance.name,
        request=admission.request.number,
        at_s=instance.gate.now_s(),
        rate_hz=piece.speech.rate_hz,
    )
    instance.record.audio.add(take, piece.samples, start_s=piece.start_s)


def note_words(piece: AudioPiece, instance: Instance, admission: Admission) -> None:
    """Record the words that this piece completes."""
    if piece.speech is None:
        return
    base_s = piece.start_s - piece.first / piece.speech.rate_hz
    for word in piece.speech.words:
        end = max(piece.speech.index(word.end_s), 1)
        if piece.first < end <= piece.last:
            instance.record.spoke(
                SpokenWord(
                    instance=instance.name,
                    request=admission.request.number,
                    text=word.text,
                    start_s=base_s + word.start_s,
                    end_s=base_s + word.end_s,
                    sent_at_s=instance.gate.now_s(),
                )
            )
