"""Few-shot labeling with the demonstrations most similar to the query, instead of the same for every clip.

A library may be far larger than a prompt: of each label the demonstrations nearest by pooled latent
(core.in_context.latents) are shown, in the library's order, so that queries with the same selection share one
prompt. Each other selection is another prefix for the model to read; that is the price.
"""

from collections.abc import Sequence
from dataclasses import replace

from core.in_context.baselines import Baselines
from core.in_context.labelers import FewShotLabeler, Prediction
from core.in_context.latents import NearestLatent
from core.in_context.prompt_hashes import nearest_shots_hash
from core.llama.model import FrozenLlama
from core.prompts.demonstrations import LabeledClip, select_demonstrations
from core.prompts.few_shot import FewShotPrompt, FewShotSettings
from core.prompts.model_slots import read_model_prompt
from core.prompts.template import check_budget
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary


class NearestShotsLabeler:
    """Labels each query with the `shots` demonstrations of each label nearest to it.

    The baselines are those of the whole library. Raises PromptError when a demonstration or a query has no
    pooled latent or a label has fewer than `shots` demonstrations, PromptTooLong when some selection might
    not fit.
    """

    def __init__(
        self,
        llama: FrozenLlama,
        vocabulary: Vocabulary,
        labels: Sequence[str],
        library: Sequence[LabeledClip],
        settings: FewShotSettings,
        shots: int,
    ) -> None:
        whole = FewShotPrompt(vocabulary, labels, library, settings, read_model_prompt(llama.directory))
        self.longest_prompt = whole.longest_with(shots)
        check_budget(self.longest_prompt, llama.context_length)
        self._model = llama, vocabulary
        self._labels = whole.labels
        self._library = library
        self._settings = settings
        self._shots = shots
        self._nearest = NearestLatent(self._labels, library)
        self._baselines = Baselines(self._labels, library)
        # what fails for every query fails now
        self._labeler(select_demonstrations(library, self._labels, shots))
        self.prompt_hash = nearest_shots_hash(whole, library, shots)

    def label(self, queries: Sequence[ClipCodes]) -> list[Prediction]:
        """Return a prediction for each query, in order; queries with the same selection are batched."""
        choices = [self._nearest.nearest(query, self._shots) for query in queries]
        answers: dict[int, Prediction] = {}
        for choice in dict.fromkeys(choices):
            numbers = [number for number, one in enumerate(choices) if one == choice]
            labeler = self._labeler([self._library[at] for at in choice])
            predictions = labeler.label([queries[number] for number in numbers])
            answers.update(zip(numbers, predictions, strict=True))
        guesses = self._baselines.guesses(queries, self._baselines.nearest.probabilities(queries))
        return [replace(answers[number], baselines=guess) for number, guess in enumerate(guesses)]

    def prompt_for(self, query: ClipCodes) -> FewShotPrompt:
        """Return the prompt of a query."""
        choice = self._nearest.nearest(query, self._shots)
        return self._labeler([self._library[at] for at in choice]).prompt

    def _labeler(self, demonstrations: Sequence[LabeledClip]) -> FewShotLabeler:
        return FewShotLabeler(*self._model, self._labels, demonstrations, self._settings)
