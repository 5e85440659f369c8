"""The filter of each architecture, run as the kernel would run it: it allows exactly what it lists."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.confinement import seccomp
from core.confinement.seccomp import _ALLOWED, _AT_EMPTY_PATH, _NEWFSTATAT

ARCHITECTURES = seccomp._ARCHITECTURES
NUMBERS = st.integers(0, 2**32 - 1)


def verdict(name: str, number: int, architecture: int | None = None, fourth: int = 0) -> int:
    """Return what the filter of an architecture says of a call with these numbers."""
    audit, column = ARCHITECTURES[name]
    program = list(struct.iter_unpack("=HBBI", seccomp._instructions(audit, column)))
    data = struct.pack(
        "=IIQ6Q", number, audit if architecture is None else architecture, 0, 0, 0, 0, fourth, 0, 0
    )
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        if code == seccomp._RETURN:
            return int(value)
        if code == seccomp._LOAD:
            [loaded] = struct.unpack_from("=I", data, value)
        else:
            at += if_true if loaded == value else if_false


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_listed_call_is_allowed(name: str) -> None:
    _, column = ARCHITECTURES[name]
    numbers = [call[column] for call in _ALLOWED.values()]
    assert {verdict(name, number) for number in numbers if number is not None} == {seccomp._ALLOW}


@pytest.mark.parametrize("name", ARCHITECTURES)
@given(number=NUMBERS)
def test_every_other_call_is_refused(name: str, number: int) -> None:
    _, column = ARCHITECTURES[name]
    listed = {call[column] for call in _ALLOWED.values()}
    if number not in listed:
        assert verdict(name, number) == seccomp._REFUSE


@pytest.mark.parametrize("name", ARCHITECTURES)
@given(number=NUMBERS, other=NUMBERS)
def test_numbers_of_another_architecture_are_refused(name: str, number: int, other: int) -> None:
    if other != ARCHITECTURES[name][0]:
        assert verdict(name, number, other) == seccomp._REFUSE


@pytest.mark.parametrize("name", ARCHITECTURES)
@given(flags=NUMBERS)
def test_a_file_is_looked_at_only_where_it_is_open(name: str, flags: int) -> None:
    allowed = verdict(name, _NEWFSTATAT[ARCHITECTURES[name][1]], fourth=flags) == seccomp._ALLOW
    assert allowed == (flags == _AT_EMPTY_PATH)
