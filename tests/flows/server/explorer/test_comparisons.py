"""The page of champion and challenger: what moves label by label, to listen to, and nothing that runs."""

from uuid import uuid4

from flows.pipeline.reviews.choosing import queue_library
from flows.pipeline.runtime.resources import Runtime
from tests.flows.server.explorer.comparing import HOSTILE_LABEL, keep_contest, keep_lesson
from tests.flows.server.explorer.conftest import Explored
from tests.flows.server.explorer.test_pages import ATTRIBUTES_THAT_RUN, read


def test_a_comparison_counts_labels_and_has_examples_to_listen_to(explored: Explored) -> None:
    page = read(explored, keep_contest(explored))
    for text in ("50.0 %", "12 expected of the 24 clips", "random reviews", "60.0 %", "90.0 %", "1:30 min"):
        assert text in page.text
    assert "wordwave library promote sounds@2" in page.text
    clip = explored.clip("tone-0.wav")
    assert f"{clip}/sound" in page.links
    assert f"{clip}?library=sounds" in page.links
    assert "is gone" in page.text


def test_hostile_names_and_labels_of_a_comparison_are_text(explored: Explored) -> None:
    address = keep_contest(explored)
    page = read(explored, address)
    assert HOSTILE_LABEL in page.text
    assert [of["src"] for tag, of in page.tags if tag == "script"] == ["/static/listen.js"]
    for tag, of in page.tags:
        assert not [name for name in of if ATTRIBUTES_THAT_RUN.match(name)], tag
    assert "<script>alert" not in explored.client.get(address).text


def test_the_morning_page_says_what_the_answers_were_worth_with_links(explored: Explored) -> None:
    runtime = Runtime(explored.settings)
    queue_library(runtime, "sounds", 10)
    runtime.close()
    address = keep_lesson(explored)
    page = read(explored, "/reviews?library=sounds")
    words = " ".join(page.text.split())
    assert "Your 10 answers would move about 12 labels" in words
    assert "Accuracy on 21 random reviews 81.0 % to 85.7 % [65.4 %, 95.0 %]" in words
    assert "2 demonstrations look mislabeled: tone-0.wav" in words
    assert address in page.links
    assert len([link for link in page.links if link.startswith("/clips/")]) == 2
    moved = read(explored, address)
    assert "sounds@2, which learned from reviews" in moved.text


def test_a_lesson_from_before_there_were_comparisons_has_no_link(explored: Explored) -> None:
    runtime = Runtime(explored.settings)
    queue_library(runtime, "sounds", 10)
    runtime.close()
    address = keep_lesson(explored, is_compared=False)
    page = read(explored, "/reviews?library=sounds")
    assert "Your 10 answers would move about 12 labels" in " ".join(page.text.split())
    assert address not in page.links
    read(explored, address, 404)


def test_what_was_never_compared_is_not_found(explored: Explored) -> None:
    read(explored, f"/comparisons/{uuid4()}", 404)
    read(explored, "/comparisons/1", 404)
    read(explored, f"/comparisons/{explored.night.rpartition('/')[2]}", 404)
