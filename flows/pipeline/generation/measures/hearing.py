"""What a judge hears in generated speech, kept beside the other measures of each answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db.generated import StoredAudio, add_metrics
from db.runs import RunClaim
from flows.pipeline.generation.generate import TextQuestion, TextToAudio, in_batches
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import run_session

if TYPE_CHECKING:
    from torch import Tensor

    from core.evaluation.whisper import Whisper
    from core.tokens.clip_codes import AudioCodes

HEARD, WRONG, JUDGE = "heard", "word_error_rate", "heard_by"
"""Names of the measures: what was heard, the share of words that are wrong, and by whom."""


@dataclass(frozen=True)
class Hearing:
    """The answers of a request, and who hears them."""

    speech: TextToAudio
    whisper: Whisper

    def unheard(self, questions: Iterable[TextQuestion]) -> list[Sequence[TextQuestion]]:
        """Return batches of the questions with a standing answer that this judge has not heard."""
        answers = self.speech.audio(questions)
        return in_batches([q for q, one in answers.items() if one.metrics.get(JUDGE) != self.whisper.name])

    def hear_batch(self, batch: Sequence[TextQuestion], run: RunClaim) -> Counts:
        """Write what is heard in each answer into its row; safe to repeat."""
        codes = self.speech.codes(batch)
        answers = self.speech.audio(batch)
        heard = {audio.work_key: self._measures(q, audio, codes[q]) for q, audio in answers.items()}
        with run_session(self.speech.runtime, run) as session:
            add_metrics(session, heard)
        return Counts(heard=len(heard))

    def _measures(self, question: TextQuestion, audio: StoredAudio, codes: AudioCodes) -> dict[str, Any]:
        from core.evaluation.word_errors import word_error_rate, words

        heard = self.whisper.transcript(self._at_judge_rate(self.speech.decode_again(audio, codes)))
        measures = {HEARD: heard, JUDGE: self.whisper.name}
        # a text of signs alone has no words to get wrong
        return measures | ({WRONG: word_error_rate([question.text], [heard])} if words(question.text) else {})

    def _at_judge_rate(self, waveform: Tensor) -> Tensor:
        import numpy as np
        import torch

        from core.audio.resampling import resample_blocks
        from core.evaluation.whisper import SAMPLE_RATE

        rate = self.speech.runtime.codec.config.sample_rate
        return torch.from_numpy(np.concatenate(list(resample_blocks([waveform.numpy()], rate, SAMPLE_RATE))))
