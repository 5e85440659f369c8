"""Which errors are worth another try."""

import botocore.exceptions as boto
import pytest

from core.errors import AudioRejected
from flows.pipeline.storage import StorageDenied, StorageRefused, is_transient


def answer(code: str, status: int) -> boto.ClientError:
    response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "GetObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error",
    [
        answer("SlowDown", 503),
        answer("InternalError", 500),
        answer("502", 502),
        answer("TooManyRequests", 429),
        answer("RequestTimeout", 400),
        answer("ConditionalRequestConflict", 409),
        boto.EndpointConnectionError(endpoint_url="http://s3"),
        boto.ConnectTimeoutError(endpoint_url="http://s3"),
        boto.ReadTimeoutError(endpoint_url="http://s3"),
        boto.ResponseStreamingError(error="reset"),
        boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        boto.FlexibleChecksumError(error_msg="differs"),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
def test_what_may_pass_by_itself_is_tried_again(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        answer("NoSuchKey", 404),
        answer("AccessDenied", 403),
        answer("PreconditionFailed", 412),
        answer("InvalidRequest", 400),
        boto.NoCredentialsError(),
        boto.SSLError(endpoint_url="https://s3", error=ValueError("certificate verify failed")),
        AudioRejected("gone", "it"),
        StorageRefused("no"),
        StorageDenied("no"),
        FileNotFoundError(),
        PermissionError(),
        ValueError(),
    ],
)
def test_what_would_fail_again_is_not_tried_again(error: Exception) -> None:
    assert not is_transient(error)
