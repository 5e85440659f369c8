from collections.abc import Sequence

import numpy as np

from core.in_context.baselines import FloatArray
from core.in_context.choosing import Installed
from core.in_context.choosing.zero_shot import WordOverlap, ZeroShotLabeler, words
from tests.core.made_libraries import CLASSES, make_clip

QUERIES = [make_clip(label, 0) for label in range(3)]


def test_labels_are_found_among_the_classes_of_a_tagger_without_a_demonstration() -> None:
    labeler = ZeroShotLabeler(("church_bells", "dogs", "raining"), "tagger", CLASSES, Installed())
    probabilities = labeler.probabilities(QUERIES)
    assert probabilities.argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_a_library_gives_synonyms_for_labels_of_its_own() -> None:
    installed = Installed(synonyms={"Hund": ["dog"], "Regen": ["rain"], "Glocke": ["bell"]})
    labeler = ZeroShotLabeler(("Glocke", "Hund", "Regen"), "tagger", CLASSES, installed)
    assert labeler.probabilities(QUERIES).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_sentence_encoder_replaces_the_overlap_of_words() -> None:
    class Reversed:
        def similarities(self, texts: Sequence[str], others: Sequence[str]) -> FloatArray:
            return np.eye(len(texts))[::-1]

    labeler = ZeroShotLabeler(("a", "b", "c"), "tagger", CLASSES, Installed(texts=Reversed()))
    assert labeler.probabilities(QUERIES).argmax(axis=1).tolist() == [2, 1, 0]


def test_labels_without_a_word_of_any_class_are_equally_likely() -> None:
    labeler = ZeroShotLabeler(("x1", "x2"), "tagger", CLASSES, Installed())
    np.testing.assert_allclose(labeler.probabilities(QUERIES), 0.5)


def test_one_of_several_names_of_a_class_is_enough_and_rare_words_weigh_more() -> None:
    overlap = WordOverlap({})
    classes = ("Vehicle horn, car horn, honking", "Car", "Train horn")
    ((horn, car, train),) = overlap.similarities(["car_horn"], classes)
    assert horn == 1
    assert min(car, train) > 0
    assert words("Crying babies") == words("cry, babie")
