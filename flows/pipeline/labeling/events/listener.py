"""Which labeler hears events, and by which embedding model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.errors import PromptError
from core.in_context.choosing.labelers import CLASS_MEAN, LOGISTIC, ZERO_SHOT
from flows.pipeline.runtime.resources import KnownEmbedding, Runtime

Way = Literal["class mean", "logistic", "zero-shot"]
WAYS: Mapping[str, Way] = {CLASS_MEAN: "class mean", LOGISTIC: "logistic", ZERO_SHOT: "zero-shot"}


@dataclass(frozen=True)
class EventListener:
    """A labeler of windows. `window` and `hop` in seconds, `dimensions` of the embedding."""

    way: Way
    embedding: str
    model: KnownEmbedding
    window: float
    hop: float
    dimensions: int

    @property
    def labeler(self) -> str:
        """The name of the labeler, as answers have it."""
        return f"{self.way} {self.embedding}"

    @property
    def window_models(self) -> list[int]:
        """The models whose windows are compared; a tagger's classes are stored with every clip."""
        return [] if self.way == ZERO_SHOT else [self.model.id]

    @property
    def classes(self) -> Sequence[str]:
        """The names that the tagger scores."""
        return self.model.classes


def listener_of(runtime: Runtime, method: str) -> EventListener:
    """Return who hears events where this labeler answers: itself, if it compares one installed embedding.

    Else the class mean of the first tagger, or of the first embedding. Raises PromptError without any.
    """
    installed = {one.name: one for one in runtime.embedding_models.values()}
    if not installed:
        raise PromptError(
            "events need the windows of an embedding model, and WORDWAVE_EMBEDDINGS names none: see "
            "wordwave models convert-embedding, or ask without --events"
        )
    known = {f"{way} {name}": (way, name) for way in WAYS for name in installed}
    taggers = [name for name, one in installed.items() if one.classes]
    way, name = known.get(method, (CLASS_MEAN, [*taggers, *installed][0]))
    one = installed[name]
    window, hop = one.window / one.sample_rate, one.hop / one.sample_rate
    return EventListener(WAYS[way], name, runtime.known_embeddings[name], window, hop, one.dimensions)
