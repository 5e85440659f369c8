import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import CheckpointMismatch, PromptError, PromptTooLong, UnknownLabel
from core.in_context.labelers import FewShotLabeler, Labeler, NearestNeighborLabeler, Prediction
from core.llama.model import FrozenLlama
from core.llama.shared_prefix import SharedPrefix
from core.presets import preset_directory
from core.prompts.demonstrations import LabeledClip
from core.prompts.few_shot import FewShotSettings
from core.prompts.label_trie import label_trie
from core.prompts.template import Instruction, LabeledWindow, PromptTemplate, Query
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import TextTokenizer, Vocabulary
from core.tokens.window import cut_window, loudest_window, loudest_windows
from tests.core.label_answer import LabelAnswer
from tests.core.made_clips import clip_of

LABELS = ("rain", "dog", "dog bark")


def clip(seed: int) -> ClipCodes:
    generator = np.random.default_rng(seed)
    blocks = int(generator.integers(1, 30))
    layers = (
        generator.integers(0, size, count * blocks).astype(np.int16)
        for size, count in ((80, 2), (420, 4), (420, 8))
    )
    return clip_of(layers, generator.integers(-900, 0, 2 * blocks).astype(np.int16))


LIBRARY = [LabeledClip(clip(seed), LABELS[seed % 3]) for seed in range(6)]


def few_shot(llama: FrozenLlama, vocabulary: Vocabulary, **options: Any) -> FewShotLabeler:
    return FewShotLabeler(llama, vocabulary, LABELS, LIBRARY, FewShotSettings(**options))


@pytest.fixture(scope="module", params=["few-shot", "paper", "nearest"])
def labeler(request: pytest.FixtureRequest, llama: FrozenLlama, vocabulary: Vocabulary) -> Labeler:
    if request.param == "nearest":
        return NearestNeighborLabeler(LABELS, LIBRARY)
    return few_shot(llama, vocabulary, mode="paper" if request.param == "paper" else "service")


@settings(max_examples=15)
@given(seeds=st.lists(st.integers(100, 10**6), max_size=5))
def test_every_query_gets_one_answer_in_order_the_same_alone(labeler: Labeler, seeds: list[int]) -> None:
    queries = [clip(seed) for seed in seeds]
    predictions = labeler.label(queries)
    assert len(predictions) == len(queries)
    for query, prediction in zip(queries, predictions, strict=True):
        alone = labeler.label([query])[0]
        assert alone.label == prediction.label
        assert alone.probabilities == pytest.approx(prediction.probabilities, abs=1e-5)


@settings(max_examples=15)
@given(seed=st.integers(100, 10**6))
def test_an_answer_is_a_distribution_over_the_labels_with_its_margin(labeler: Labeler, seed: int) -> None:
    answer = labeler.label([clip(seed)])[0]
    assert list(answer.probabilities) == sorted(LABELS)
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    others = [p for label, p in answer.probabilities.items() if label != answer.label]
    assert answer.margin == pytest.approx(answer.probabilities[answer.label] - max(others))


@settings(max_examples=15)
@given(seed=st.integers(100, 10**6))
def test_an_answer_carries_what_the_baselines_say(labeler: Labeler, seed: int) -> None:
    nearest = NearestNeighborLabeler(LABELS, LIBRARY).label([clip(seed)])[0]
    assert labeler.label([clip(seed)])[0].baselines == {
        "chance": {"label": "dog", "probability": pytest.approx(1 / 3)},
        "majority": {"label": "dog", "probability": pytest.approx(1 / 3)},
        "nearest": {"label": nearest.label, "probability": nearest.probabilities[nearest.label]},
    }


@pytest.mark.parametrize("layers", ["semantic", "semantic+acoustic"])
def test_probabilities_are_those_of_the_plain_definition(
    llama: FrozenLlama, vocabulary: Vocabulary, layers: Any
) -> None:
    template, width = PromptTemplate(vocabulary, layers), 4
    shots = [
        LabeledWindow(cut_window(one.codes, loudest_window(one.codes.levels, width), width), one.label)
        for one in LIBRARY
    ]
    prefix = template.prefix_ids(Instruction(LABELS), shots)
    query = next(clip(seed) for seed in range(100, 200) if len(clip(seed).semantic) == 36)
    starts = loudest_windows(query.levels, width, 3)
    windows = [template.query_ids(Query(cut_window(query, start, width))) for start in starts]
    label_ids = {label: template.label_ids(label) for label in sorted(LABELS)}
    trie = label_trie(label_ids, template.following_id)
    expected = llama.score(llama.prefill(prefix), windows, trie).mean(dim=0).softmax(dim=0)
    answer = few_shot(llama, vocabulary, layers=layers, window=width).label([query])[0]
    assert list(answer.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
    assert answer.label == trie.labels[int(expected.argmax())]


def test_threads_that_ask_at_once_have_the_prefix_read_once(
    llama: FrozenLlama, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[list[int]] = []
    prefill = llama.prefill

    def noted(prefix_ids: list[int]) -> SharedPrefix:
        read.append(prefix_ids)
        time.sleep(0.05)
        return prefill(prefix_ids)

    monkeypatch.setattr(llama, "prefill", noted)
    labeler, clips = few_shot(llama, vocabulary), [[clip(seed)] for seed in range(100, 104)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(labeler.label, clips))
    assert read == [labeler.prompt.prefix_ids]
    assert together == [labeler.label(one) for one in clips]


def test_paper_mode_says_what_greedy_generation_says(llama: FrozenLlama, vocabulary: Vocabulary) -> None:
    labeler = few_shot(llama, vocabulary, mode="paper", max_windows=1)
    clips = [clip(seed) for seed in range(100, 110)]
    said = [LabelAnswer(labeler.prompt.trie) for _ in clips]
    queries = [labeler.prompt.query_ids(one)[0] for one in clips]
    llama.generate(
        llama.prefill(labeler.prompt.prefix_ids), queries, said, [lambda row: int(row.argmax())] * 10
    )
    for answer, prediction in zip(said, labeler.label(clips), strict=True):
        assert answer.said == [*vocabulary.tokenizer.encode(prediction.label), vocabulary.tokenizer.eos_id]


def test_a_margin_is_negative_where_greedy_misses_the_most_probable_label(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    answers = few_shot(llama, vocabulary, mode="paper").label([clip(seed) for seed in range(100, 200)])
    best = [max(answer.probabilities, key=answer.probabilities.__getitem__) for answer in answers]
    missed = [answer.label != label for answer, label in zip(answers, best, strict=True)]
    assert [answer.margin < 0 for answer in answers] == missed
    assert 0 < sum(missed) < 100


def test_nearest_says_the_label_of_a_demonstration_shown_again() -> None:
    answers = NearestNeighborLabeler(LABELS, LIBRARY).label([one.codes for one in LIBRARY])
    assert [answer.label for answer in answers] == [one.label for one in LIBRARY]


def test_of_equally_near_labels_the_first_is_said_with_no_margin() -> None:
    same = [LabeledClip(clip(1), label) for label in LABELS]
    answer = NearestNeighborLabeler(LABELS, same).label([clip(2)])[0]
    assert (answer.label, answer.margin) == ("dog", 0.0)


def test_the_hash_of_nearest_changes_with_its_demonstrations() -> None:
    base = NearestNeighborLabeler(LABELS, LIBRARY).prompt_hash
    assert NearestNeighborLabeler(LABELS[::-1], LIBRARY).prompt_hash == base
    assert NearestNeighborLabeler(LABELS, [*LIBRARY, LIBRARY[0]]).prompt_hash != base
    relabeled = [LabeledClip(LIBRARY[0].codes, "dog"), *LIBRARY[1:]]
    assert NearestNeighborLabeler(LABELS, relabeled).prompt_hash != base


@pytest.mark.parametrize(
    ("labels", "error"),
    [(("dog",), PromptError), ((*LABELS, "bird"), PromptError), (("dog", "rain"), UnknownLabel)],
)
def test_labels_that_do_not_fit_are_refused_by_both(
    llama: FrozenLlama, vocabulary: Vocabulary, labels: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        NearestNeighborLabeler(labels, LIBRARY)
    with pytest.raises(error):
        FewShotLabeler(llama, vocabulary, labels, LIBRARY, FewShotSettings())


def test_a_prompt_over_the_context_is_refused_before_anything_runs(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    with pytest.raises(PromptTooLong) as error:
        few_shot(llama, vocabulary, layers="semantic+acoustic", repeats=3)
    assert error.value.limit == 512


def test_a_tokenizer_that_the_model_does_not_know_is_refused(
    llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    other = TextTokenizer(preset_directory("mini-llama") / "tokenizer.model")
    with pytest.raises(CheckpointMismatch, match="3072 pieces"):
        few_shot(llama, Vocabulary((), other))


def test_predictions_are_frozen() -> None:
    prediction = Prediction("dog", {"dog": 1.0}, 1.0, {})
    with pytest.raises(FrozenInstanceError):
        prediction.label = "cat"  # type: ignore[misc]


def test_several_orders_average_their_log_probabilities(llama: FrozenLlama, vocabulary: Vocabulary) -> None:
    labeler = few_shot(llama, vocabulary, orders=3, max_windows=1)
    (row,) = labeler.prompt.query_ids(clip(100))
    scores = [
        llama.score(llama.prefill(order.prefix_ids), [row], order.trie)[0] for order in labeler.prompt.orders
    ]
    expected = torch.stack(scores).mean(dim=0).softmax(dim=0)
    answer = labeler.label([clip(100)])[0]
    assert list(answer.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)


def test_a_model_with_slots_answers_with_the_labels_that_people_wrote(
    llama_path: Path, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    folder = shutil.copytree(llama_path, tmp_path / "llama")
    said = [word for word in vocabulary.words if len(vocabulary.tokenizer.encode(word)) == 1][:4]
    (folder / "prompt.json").write_text(json.dumps({"slots": said}))
    odd = {"rain": "подождь 🌧", "dog": "Hund", "dog bark": "b"}
    library = [LabeledClip(one.codes, odd[one.label]) for one in LIBRARY]
    labeler = FewShotLabeler(
        FrozenLlama.from_directory(folder),
        vocabulary,
        list(odd.values()),
        library,
        FewShotSettings(mode="paper", orders=2),
    )
    answer = labeler.label([clip(100)])[0]
    assert answer.label in odd.values()
    assert set(answer.probabilities) == set(odd.values())
