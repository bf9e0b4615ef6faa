"""The levels of determinism: which kernels run, and what the record says of operations without a deterministic one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.errors import RunFailed
from experiments.run import determinism
from schema.record import Record
from tests.experiments.runs import recorded


def put() -> None:
    """One of the operations that have no deterministic kernel on the CPU either."""
    torch.zeros(4).put_(torch.tensor([0, 1]), torch.ones(2))


def unpool() -> None:
    """Another one."""
    pooled, indices = nn.functional.max_pool1d(torch.randn(1, 1, 4), 2, return_indices=True)
    nn.functional.max_unpool1d(pooled, indices, 2)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    determinism.apply("warn")


def test_operations_are_collected_by_name_once_each_and_none_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    determinism.apply("warn")
    met: list[str] = []
    with determinism.collected(met):
        for operation in (put, unpool, put):
            operation()
        for kernel in ("Memory Efficient attention", "Flash Attention"):
            # as torch's attention_backward.cu says it, which needs CUDA
            warnings.warn(f"{kernel} defaults to a non-deterministic algorithm. To explicitly ...", stacklevel=1)
    assert met == ["Flash Attention", "Memory Efficient attention", "max_unpooling2d_forward_out", "put_"]
    assert capsys.readouterr() == ("", "")


def test_other_warnings_are_shown_as_ever() -> None:
    with pytest.warns(UserWarning, match="something else"), determinism.collected([]):
        warnings.warn("something else", stacklevel=1)


def test_strict_stops_at_the_operation_and_names_it() -> None:
    determinism.apply("strict")
    with pytest.raises(RuntimeError, match=r"^put_ does not have a deterministic implementation"):
        put()


def test_off_lets_every_operation_run_unseen() -> None:
    determinism.apply("off")
    met: list[str] = []
    with determinism.collected(met), warnings.catch_warnings():
        warnings.simplefilter("error")
        put()
    assert met == []


def run_with(operation: Callable[[], None], monkeypatch: pytest.MonkeyPatch, *overrides: str) -> Record:
    """The record of a run in whose forward passes there is one operation more."""
    forward = nn.Embedding.forward

    def further(self: nn.Embedding, indices: torch.Tensor) -> torch.Tensor:
        operation()
        return forward(self, indices)

    monkeypatch.setattr(nn.Embedding, "forward", further)
    return recorded(*overrides, "task=glue/sst2", "method=head")


@pytest.mark.parametrize(("level", "listed"), [("off", []), ("warn", ["put_"])])
def test_the_record_lists_what_was_met(
    level: str, listed: list[str], tiny: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    provenance = run_with(put, monkeypatch, *tiny, f"determinism={level}").provenance
    assert (provenance.determinism, provenance.nondeterministic) == (level, listed)
    assert "deterministic implementation" not in capsys.readouterr().err


def test_strict_records_an_error_that_names_the_operation(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunFailed, match=r"error \(RuntimeError: put_ does not have a deterministic implementation"):
        run_with(put, monkeypatch, *tiny, "determinism=strict")


def test_strict_accepts_what_the_suite_does_itself(tiny: list[str]) -> None:
    result = recorded(*tiny, "task=glue/sst2", "method=gpart", "determinism=strict", "diagnostics=all")
    assert (result.outcome, result.provenance.nondeterministic) == ("ok", [])
