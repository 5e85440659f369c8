"""Words, near copies and motifs are counted once, whatever was counted before, and back when codes go."""

from collections import Counter
from collections.abc import Iterator, Sequence
from random import Random

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, text

from db.engine import session_scope
from db.predictions import save_predictions
from db.word_counts import add_near_copies
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.count_words import count_words
from flows.pipeline.runtime.resources import Runtime
from tests.db.rows import FOLDER, make_codec, make_library, make_run, prediction, sha256
from tests.fixtures_postgres import Database
from tests.migrations.test_functions import store

COUNTS = "SELECT code, contents, occurrences FROM analytics.word_counts WHERE contents > 0 ORDER BY code"


@pytest.fixture
def runtime(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    home = tmp_path_factory.mktemp("home")
    runtime = Runtime(Settings(home=home, database_url=database.url("writer")))
    yield runtime
    runtime.close()


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    engine = create_engine(database.url("owner"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def counted(owner: Connection, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in owner.execute(text(query))]


def naive_counts(sequences: Sequence[Sequence[int]]) -> list[tuple[int, int, int]]:
    contents = Counter(code for codes in sequences for code in set(codes))
    occurrences = Counter(code for codes in sequences for code in codes)
    return [(code, contents[code], occurrences[code]) for code in sorted(contents)]


def test_new_codes_are_in_their_places_in_the_index_after_it(
    engine: Engine, runtime: Runtime, owner: Connection
) -> None:
    store(engine, [[0, 1, 2], [2, 1, 0]])
    count_words(runtime)
    assert counted(owner, "SELECT gin_clean_pending_list('ix_token_sequences_marks')") == [(0,)]


def test_counts_are_those_of_all_contents_after_each_batch_a_repeat_and_a_deletion(
    engine: Engine, runtime: Runtime, owner: Connection
) -> None:
    random = Random(0)
    sequences = [random.choices(range(4), k=random.randint(1, 9)) for _ in range(30)]
    store(engine, sequences[:10])
    count_words(runtime)
    assert counted(owner, COUNTS) == naive_counts(sequences[:10])
    store(engine, sequences)
    for _ in range(2):
        count_words(runtime)
        assert counted(owner, COUNTS) == naive_counts(sequences)
    gone = [sha256(f"{number}.wav") for number in range(5)]
    owner.execute(text("DELETE FROM token_sequences WHERE content_sha256 = ANY(:gone)"), {"gone": gone})
    assert counted(owner, COUNTS) == naive_counts(sequences[5:])
    assert counted(owner, "SELECT count(*) FROM near_copy_keys") == [(25,)]


def test_batches_follow_each_other_until_all_contents_are_counted_once(
    engine: Engine, runtime: Runtime, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.pipeline.maintenance.count_words.BATCH", 3)
    random = Random(1)
    sequences = [random.choices(range(4), k=5) for _ in range(10)]
    store(engine, sequences[:5])
    count_words(runtime)
    store(engine, sequences)  # new contents lie between those that are counted
    count_words(runtime)
    assert counted(owner, COUNTS) == naive_counts(sequences)
    assert counted(owner, "SELECT count(*) FROM near_copy_keys") == [(10,)]


def test_near_copies_are_listed_from_both_sides_and_others_are_not(
    engine: Engine, runtime: Runtime, owner: Connection
) -> None:
    original = [7 * place for place in range(60)]
    copy = [*original[:40], 9_999, *original[41:]]
    store(engine, [original, copy, [code + 1 for code in original]])
    count_words(runtime)
    pairs = "SELECT uri, other_uri, overlap FROM analytics.near_duplicates ORDER BY uri"
    one, two = f"{FOLDER}/0.wav", f"{FOLDER}/1.wav"
    assert counted(owner, pairs) == [(one, two, 57 / 61), (two, one, 57 / 61)]


def test_a_copy_is_found_among_many_contents_that_only_share_a_key(engine: Engine, owner: Connection) -> None:
    original = list(range(20))
    unlike = [[100 * (number + 1) + place for place in range(20)] for number in range(12)]
    places = sorted(range(14), key=lambda number: sha256(f"{number}.wav"))  # rows lie in this order
    by_place = dict(zip(places, [*unlike, original, original], strict=True))
    store(engine, [by_place[number] for number in range(14)])
    with session_scope(engine) as session:
        keys = {sha256(f"{number}.wav"): [1] for number in range(14)}
        assert add_near_copies(session, make_codec(session), keys, least=0.8, most=2) == 1
    assert counted(owner, "SELECT overlap FROM near_copies") == [(1.0,)]


def test_labels_are_told_apart_in_the_libraries_that_have_both(engine: Engine, owner: Connection) -> None:
    columns = "label, library, task, codec_id, codes, contents, of_contents, elsewhere, of_elsewhere"
    with session_scope(engine) as session:
        codec_id = make_codec(session)
    for label, library, code in (
        ("cat", "both", 0),
        ("dog", "both", 1),
        *(("cat", "cats", code) for code in range(4)),
    ):
        owner.execute(
            text(
                f"INSERT INTO label_motifs ({columns})"
                " VALUES (:label, :library, 'label', :codec_id, ARRAY[:code], 3, 4, 0, 4)"
            ),
            {"label": label, "library": library, "codec_id": codec_id, "code": code},
        )
    apart = "SELECT DISTINCT library FROM analytics.label_difference('cat', 'dog', most => 2)"
    assert counted(owner, apart) == [("both",)]


def test_motifs_are_what_a_label_has_more_often_than_the_others(
    engine: Engine, runtime: Runtime, owner: Connection
) -> None:
    store(engine, [[0, 1, 2, 3], [3, 0, 1, 2], [3, 2, 1, 0], [2, 2, 3, 0]])
    with session_scope(engine) as session:
        codec_id = make_codec(session)
        library, run_id = make_library(session, codec_id), make_run(session)
        labels = dict(zip(("0.wav", "1.wav", "2.wav", "3.wav"), ("dog", "dog", "cat", "cat"), strict=True))
        save_predictions(
            session,
            run_id,
            [prediction(name, library, codec_id, None, label) for name, label in labels.items()],
        )
    count_words(runtime)
    columns = "words, contents, of_contents, elsewhere, of_elsewhere"
    assert counted(owner, f"SELECT {columns} FROM analytics.motifs('dog', most => 3)") == [
        (words, 2, 2, 0, 2) for words in ("dog cat", "dog cat rain", "cat rain")
    ]
    apart = "SELECT words, contents_a, contents_b, difference FROM analytics.label_difference('cat', 'dog')"
    told = {words: (a, b, difference) for words, a, b, difference in counted(owner, apart)}
    assert told["dog cat rain"] == (0, 2, -1.0)
    assert told["cat"] == (1, 2, -0.5)
    table = "SELECT label, codes, contents, elsewhere FROM label_motifs ORDER BY label, codes"
    before = counted(owner, table)
    count_words(runtime)
    assert counted(owner, table) == before
