"""No credential is stored or shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.pipeline.configuration.credentials import mask_url, refuse_credentials

CREDENTIALS = [
    "s3://bucket/AKIAIOSFODNN7EXAMPLE/a",
    "ASIAIOSFODNN7EXAMPLE",
    "postgresql://user:pass@host/db",
    "https://token@host/folder",
    "https://bucket.s3.amazonaws.com/a.wav?X-Amz-Signature=0123",
    "https://bucket.s3.amazonaws.com/a.wav?a=b&X-Amz-Security-Token=0123",
]


@pytest.mark.parametrize("text", CREDENTIALS)
def test_what_looks_like_a_credential_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="credential") as error:
        refuse_credentials(text)
    assert text not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/a:b@c/d",
        "/home/me@work/AKIA",
        "file:///a@b",
        "s3://bucket/X-Amz-Signature",
        "s3://akia/x",
    ],
)
def test_names_that_only_resemble_one_are_kept(text: str) -> None:
    assert refuse_credentials(text) == text


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:pass@host:5432/db", "postgresql://user:***@host:5432/db"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("postgresql+psycopg2://host/db?password=pass", "postgresql+psycopg2://host/db"),
        ("postgresql:///db?host=/run", "postgresql:///db"),
        ("host=h password=pass", "***"),
        ("postgresql://u:p@h:port/db", "***"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@given(st.text(st.characters(codec="ascii"), max_size=8))
def test_no_part_of_a_password_is_shown_however_it_is_written(middle: str) -> None:
    shown = mask_url(f"postgresql://user:first{middle}last@host/db")
    assert "first" not in shown
    assert "last" not in shown
