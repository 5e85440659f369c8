"""Measures of methods are recorded once per library version, pair and method, and others stay beside them."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.denoising_measures import PairMeasure, get_measures, save_measures
from db.generated import get_audio, get_audio_codes, save_audio
from db.libraries import LibraryVersion
from tests.db.rows import audio, make_run, sha256

BY_FILTER = {
    "task": "denoise",
    "text": None,
    "content_sha256": sha256("shot"),
    "semantic": None,
    "acoustic1": None,
    "acoustic2": None,
    "method": "deepfilter",
    "denoiser_fingerprint": "f1",
}


def test_a_measure_is_recorded_once_and_another_models_stays_beside_it(
    session: Session, library: LibraryVersion
) -> None:
    run, first = make_run(session), PairMeasure(sha256("shot"), "deepfilter", "f1", None, -1.5)
    other = replace(first, fingerprint="f2", stoi=0.9)
    assert save_measures(session, run, library.id, [first]) == 1
    assert save_measures(session, run, library.id, [replace(first, si_sdr=3.0), other]) == 1
    assert get_measures(session, library.id) == [first, other]
    assert get_measures(session, library.id + 1) == []


def test_audio_of_a_denoiser_has_neither_llm_nor_codes(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    filtered = audio("shot", library, codec_id, None, **BY_FILTER)
    save_audio(session, make_run(session), [filtered])
    assert get_audio(session, [filtered.work_key])[filtered.work_key].method == "deepfilter"
    assert get_audio_codes(session, [filtered.work_key]) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "in-context"},
        {"denoiser_fingerprint": None},
        {"semantic": [0, 2], "acoustic1": [1, 1, 0, 7], "acoustic2": [7] * 8},
        {"task": "speech"},
    ],
)
def test_a_method_with_what_belongs_to_another_is_refused(
    session: Session, codec_id: int, library: LibraryVersion, changes: dict[str, object]
) -> None:
    wrong = audio("shot", library, codec_id, None, **(BY_FILTER | changes))
    with pytest.raises(IntegrityError, match="ck_generated_audio_method"):
        save_audio(session, make_run(session), [wrong])
