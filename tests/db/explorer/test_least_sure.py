"""The quick view of current answers is the definition of current answers, whatever happened before."""

from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.explorer.clips import ClipFilter, Scope, list_answered
from db.libraries import LibraryVersion
from db.predictions import save_predictions
from db.promotions import ModelSet, promote
from db.retractions import retract_run
from tests.db.rows import FOLDER, make_library, make_llm, make_run, make_tokenized_clips, prediction, sha256

CLIPS = ("a.wav", "b.wav", "c.wav")
Step = tuple[str, str, int, bool, float]
STEP = st.tuples(
    st.sampled_from(("answer", "answer", "answer", "undo", "promote")),
    st.sampled_from(CLIPS),
    st.integers(0, 2),
    st.booleans(),
    st.floats(0, 1),
)
CURRENT = text(
    """
    SELECT l.uri, l.library, l.label, l.margin, l.status = 'uncertain' FROM analytics.labels l
    WHERE l.missing_since IS NULL ORDER BY 2, 4, 1
    """
)
QUICK = text("SELECT uri, library, label, margin, is_uncertain FROM analytics.least_sure ORDER BY 2, 4, 1")


class History:
    """Three library versions of two names, with and without an LLM, and what is done with them."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.codec = make_tokenized_clips(session, *CLIPS)
        self.llm = make_llm(session)
        names = (("animals", "shot"), ("animals", "another"), ("pets", "shot"))
        self.libraries: list[LibraryVersion] = [
            make_library(session, self.codec, name, shot) for name, shot in names
        ]
        self.runs: list[UUID] = []

    def do(self, number: int, step: Step) -> None:
        what, clip, version, by_llm, margin = step
        library, llm = self.libraries[version], self.llm if by_llm else None
        if what == "promote":
            promote(self.session, "label", ModelSet(library.id, self.codec, llm))
        elif what == "undo" and self.runs:
            run = self.runs.pop(len(clip) % len(self.runs))
            retract_run(self.session, run, make_run(self.session, "undo"))
        elif what == "answer":
            run = make_run(self.session, number=number)
            changes = {"work_key": sha256(f"{number}"), "margin": margin, "min_margin": 0.4}
            save_predictions(
                self.session, run, [prediction(clip, library, self.codec, llm, "cat", **changes)]
            )
            # all of a test is one transaction, with one time
            self.session.execute(
                text("UPDATE predictions SET created_at = now() + :n * interval '1 s' WHERE run_id = :run"),
                {"n": number, "run": run},
            )
            self.runs.append(run)


@given(steps=st.lists(STEP, max_size=10))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_after_any_history_both_views_agree(session: Session, steps: list[Step]) -> None:
    with session.begin_nested() as undone:
        history = History(session)
        for number, step in enumerate(steps):
            history.do(number, step)
        assert session.execute(QUICK).all() == session.execute(CURRENT).all()
        undone.rollback()


def test_a_list_is_the_same_in_pages(session: Session) -> None:
    history = History(session)
    for number, clip in enumerate(CLIPS):
        history.do(number, ("answer", clip, 0, False, 0.25))
    scope, paged, after = Scope(FOLDER, "animals"), [], None
    while rows := list_answered(session, scope, ClipFilter(), after, 1):
        paged += rows
        after = rows[-1].margin, rows[-1].answer
    assert [row.uri for row in paged] == [f"{FOLDER}/{clip}" for clip in CLIPS]
    assert {row.status for row in paged} == {"uncertain"}
