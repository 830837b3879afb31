"""Whose token it was is packed into two bits of a hash."""

from domain.people import PersonKind


def test_there_are_four_and_they_fit_two_bits() -> None:
    assert sorted(PersonKind) == [0, 1, 2, 3] and all(0 <= who < 4 for who in PersonKind)
