"""The errors of core.

CoreError
├── AudioRejected     a clip that cannot be used; has the reason code of its quarantine row
├── MissingPackage    an optional package that is not installed
├── CodecError
│   ├── CheckpointMismatch   model files that do not fit together or are not what they claim
│   └── BadCodes             codes with the wrong layer count, length or range
└── PromptError
    ├── PromptTooLong        more token ids than the model's context
    └── UnknownLabel         a label unknown to the tokenizer or the label set

All of them are deterministic: the same input gives the same error, so they are never retried.
"""

from typing import Literal

ReasonCode = Literal[
    "too_large",
    "unsupported",
    "unreadable",
    "truncated",
    "empty",
    "too_short",
    "too_long",
    "bad_rate",
    "bad_channels",
    "bomb",
    "not_finite",
    "silent",
    "unread",
    "too_loud",
    "cancelling",
    "denied",
    "failed",
    "timeout",
    "transfer",
    "gone",
    "prompt_too_long",
    "forgotten",
]


class CoreError(Exception):
    """Base class of all errors that core raises on purpose."""


class AudioRejected(CoreError):
    """A clip that cannot be used. `reason` is stable and machine-readable, the message is for people."""

    def __init__(self, reason: ReasonCode, message: str) -> None:
        super().__init__(reason, message)  # as they came, so that it can be pickled
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class MissingPackage(CoreError):
    """An optional package that is not installed."""

    def __init__(self, purpose: str, package: str, extra: str) -> None:
        super().__init__(
            f"{purpose} need the package {package}, which is not installed: install wordwave[{extra}]"
        )


class CodecError(CoreError):
    """Base class of the codec's errors."""


class CheckpointMismatch(CodecError):
    """Model files that do not fit together."""


class BadCodes(CodecError):
    """Codes with the wrong layer count, length or range."""


class PromptError(CoreError):
    """Base class of the errors of prompts."""


class PromptTooLong(PromptError):
    """A prompt that needs more token ids than the context."""

    def __init__(
        self,
        needed: int,
        limit: int,
        advice: str = "use fewer demonstrations, fewer repeats or a shorter window",
    ) -> None:
        super().__init__(f"the prompt needs {needed} token ids, the context holds {limit}: {advice}")
        self.needed = needed
        self.limit = limit


class UnknownLabel(PromptError):
    """A label outside the label set, or one that has no token ids."""
