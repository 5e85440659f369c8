"""Classification of storage errors for retries."""

import botocore.exceptions as boto

_CODES = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "RequestLimitExceeded",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "OperationAborted",
        "ConditionalRequestConflict",
    }
)
_CONNECTION = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
    ConnectionError,
    TimeoutError,
)


def is_transient(error: BaseException) -> bool:
    """Return whether an error may go away by itself.

    True for throttling, 5xx, broken connections and damaged transfers; False for 403, 404, refusals and bad
    audio.
    """
    if isinstance(error, boto.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or error.response.get("Error", {}).get("Code", "") in _CODES
    # A certificate that does not verify will not verify a minute later.
    return isinstance(error, _CONNECTION) and not isinstance(error, boto.SSLError)
