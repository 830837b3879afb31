"""What every channel shares: a text is cut to bytes without breaking a character."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from notices.channels.contract import DeliveryFailed, clip

TEXT = st.text(alphabet="ab烟雾 é😀", max_size=60)


@given(TEXT, st.integers(min_value=4, max_value=200))
def test_a_text_is_cut_to_whole_characters_and_shows_it(text: str, most_bytes: int) -> None:
    cut = clip(text, most_bytes)
    assert len(cut.encode()) <= most_bytes
    if len(text.encode()) <= most_bytes:
        assert cut == text
    else:
        assert cut.endswith("…") and text.startswith(cut.removesuffix("…"))


def test_a_failure_by_default_concerns_this_message_alone() -> None:
    failed = DeliveryFailed("no")
    assert (failed.hold, failed.gone, failed.recipient_gone) == (None, False, False)
    away = DeliveryFailed("later", hold=timedelta(minutes=1), gone=True, recipient_gone=True)
    assert (away.hold, away.gone, away.recipient_gone) == (timedelta(minutes=1), True, True)
