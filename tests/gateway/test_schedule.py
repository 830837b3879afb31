"""The schedule of a half-duplex line: one at a time, every slot once, and a bad meter costs the
others nothing but a time-out.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.schedule import FIRST_RETRY_MS, Schedule, ScheduledPoll

HOUR = 3_600_000


def turn(device: str, every: int = HOUR) -> ScheduledPoll:
    made = ScheduledPoll(device=device, every_ms=every, slow_every_ms=6 * HOUR)
    Schedule.recall(made, None, 0)
    return made


def test_the_healthy_go_before_the_failing() -> None:
    schedule = Schedule([turn("a"), turn("b")])
    first = schedule.next(10)
    assert first is not None and first.device == "a"
    schedule.failed(first, 20)
    second = schedule.next(21 + FIRST_RETRY_MS)
    assert second is not None and second.device == "b"
    schedule.answered(second, 22 + FIRST_RETRY_MS, slow=False)
    third = schedule.next(23 + FIRST_RETRY_MS)
    assert third is first


def test_pauses_grow_and_end_at_the_interval() -> None:
    schedule, bad = Schedule([]), turn("a", every=60_000)
    pauses = []
    for n in range(8):
        schedule.failed(bad, n)
        pauses.append(bad.not_before_ms - n)
    assert pauses == [5000, 10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000]


def test_a_slot_that_was_answered_is_not_asked_again_after_a_restart() -> None:
    schedule, before = Schedule([]), turn("a")
    memory = schedule.answered(before, 5 * HOUR + 100, slow=True)
    after = turn("a")
    Schedule.recall(after, memory["poll/a"], 5 * HOUR + 200)
    assert after.due_ms() == 6 * HOUR and not after.slow(5 * HOUR + 200)


def test_slots_that_passed_are_not_made_up_for() -> None:
    late = turn("a")
    Schedule.recall(late, "2 0", 9 * HOUR + 5)
    assert late.due_ms() <= 9 * HOUR + 5
    Schedule([late]).answered(late, 9 * HOUR + 6, slow=False)
    assert late.due_ms() == 10 * HOUR


def test_a_clock_that_was_set_back_does_not_silence_a_line() -> None:
    odd = turn("a")
    Schedule.recall(odd, "900 900", 5 * HOUR)
    assert odd.due_ms() <= 6 * HOUR


@settings(max_examples=60, deadline=None)
@given(
    bad=st.sets(st.integers(0, 9), max_size=3),
    answer_ms=st.integers(50, 1500),
    timeout_ms=st.integers(500, 3000),
    every_min=st.sampled_from([5, 15, 60]),
)
def test_one_bad_meter_never_costs_the_others_their_slot(
    bad: set[int], answer_ms: int, timeout_ms: int, every_min: int
) -> None:
    """Ten meters on a line over six intervals: every healthy one is read exactly once a slot, and
    soon after it begins.
    """
    every = every_min * 60_000
    schedule = Schedule([turn(f"m{n}", every) for n in range(10)])
    now, read, asked = 0, [], 0
    while now < 6 * every:
        due = schedule.next(now)
        if due is None:
            now += max(1, schedule.wait_ms(now))
            continue
        asked += 1
        if int(due.device[1:]) in bad:
            now += timeout_ms
            schedule.failed(due, now)
        else:
            begun = now
            now += answer_ms
            schedule.answered(due, begun, slow=False)
            read.append((due.device, begun // every, begun % every))
    for n in set(range(10)) - bad:
        slots = [slot for device, slot, _ in read if device == f"m{n}"]
        assert slots == list(range(6))
    # A healthy one waits for the nine others and at most one time-out that was under way; only in
    # the first slot, when nobody knows yet who is bad, for each of these.
    for slot in range(6):
        latest = max((late for _, of, late in read if of == slot), default=0)
        assert latest <= 9 * answer_ms + timeout_ms * (len(bad) if slot == 0 else 1)
    # And the bad ones are not hammered: the pauses double.
    assert asked - len(read) <= len(bad) * (6 * 9 + 8)
