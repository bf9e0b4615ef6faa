"""What a case led to is judged by what a refusal must be."""

from __future__ import annotations

import pytest

from experiments.fuzz.case import Case, Expected, Observed, Outcome, judged

LINE = "error: seed=-1: not accepted; accepted: an integer from 0 to 4294967295\n"
RECORDED = ("outputs", "outputs/record.json")


def case(expected: Expected = "refused", *, may_fail: bool = False) -> Case:
    return Case("keys", ("seed=-1",), expected, may_fail=may_fail)


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (Observed(2, stderr=LINE), Outcome.REFUSED),
        (Observed(2, stderr=f"note: x\n{LINE}{LINE}"), Outcome.REFUSED),
        (Observed(2, stderr=f"predicting:  50%|##   | 1/2\n{LINE}"), Outcome.REFUSED),
        (Observed(2, stderr="error: task.inputs: missing; accepted: a list of texts\n"), Outcome.REFUSED),
        (Observed(2, stderr=LINE, written=("outputs",)), Outcome.WROTE),
        (Observed(2), Outcome.UNCLEAR),
        (Observed(2, stderr=f"Error executing job with overrides: []\n{LINE}"), Outcome.UNCLEAR),
        (Observed(2, stderr="error: seed=a\nb: not accepted; accepted: an integer\n"), Outcome.UNCLEAR),
        (Observed(2, stderr="error: seed=-1 is wrong\n"), Outcome.UNCLEAR),
        (Observed(2, stderr="error: wrong; accepted: another\n"), Outcome.UNCLEAR),
        (Observed(0), Outcome.ACCEPTED),
        (Observed(0, outcomes=("ok",), written=RECORDED), Outcome.ACCEPTED),
        (Observed(1, outcomes=("error",), written=RECORDED), Outcome.FAILED),
        (Observed(1, stderr=f"Traceback (most recent call last):\n{LINE}"), Outcome.TRACEBACK),
        (Observed(-11), Outcome.DIED),
        (Observed(None), Outcome.HUNG),
    ],
)
def test_of_what_must_be_refused_a_clear_refusal_alone_is_right(seen: Observed, outcome: Outcome) -> None:
    assert judged(case(), seen) is outcome
    assert outcome.is_fault is (outcome is not Outcome.REFUSED)


@pytest.mark.parametrize(
    ("expected", "seen", "outcome"),
    [
        ("done", Observed(0, outcomes=("ok",)), Outcome.DONE),
        ("done", Observed(2, stderr=LINE), Outcome.REFUSED_WRONGLY),
        ("done", Observed(1, stderr=LINE), Outcome.UNCLEAR),
        ("either", Observed(2, stderr=LINE), Outcome.REFUSED),
        ("either", Observed(0), Outcome.DONE),
        ("either", Observed(1, outcomes=("diverged",)), Outcome.UNDONE),
        ("either", Observed(1, outcomes=("broken_round_trip",)), Outcome.FAILED),
    ],
)
def test_of_what_may_be_done(expected: Expected, seen: Observed, outcome: Outcome) -> None:
    assert judged(case(expected), seen) is outcome


def test_a_command_that_goes_on_without_a_damaged_file_says_so_by_its_status() -> None:
    assert judged(case(may_fail=True), Observed(1, stderr=LINE)) is Outcome.NAMED
    assert judged(case(may_fail=True), Observed(0)) is Outcome.ACCEPTED


def test_a_case_is_told_as_it_is_typed() -> None:
    assert case().command == "python run.py seed=-1"
    told = Case("commands", ("status", "a b"), "refused", "nothing there", program="experiments").command
    assert told == "python -m experiments status 'a b'   # nothing there"
