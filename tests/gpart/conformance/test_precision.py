"""Types of numbers: the vector in float32 unless told otherwise, whatever the base is in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model

from tests.gpart.conformance.models import EACH_MODEL, Model, randomise, theta, tuner

HALF = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
EVERY = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
CAST = pytest.mark.parametrize("autocast_adapter_dtype", [True, False], ids=["float32", "as the base"])
LOW = pytest.mark.parametrize("low_cpu_mem_usage", [False, True], ids=["plain", "low_cpu_mem_usage"])


@EACH_MODEL
@EVERY
@CAST
@LOW
def test_the_vector_s_type(
    model: Model, dtype: torch.dtype, autocast_adapter_dtype: bool, low_cpu_mem_usage: bool, tmp_path: Path
) -> None:
    half = dtype in (torch.float16, torch.bfloat16)
    expected = torch.float32 if half and autocast_adapter_dtype else dtype
    options = {"autocast_adapter_dtype": autocast_adapter_dtype}
    adapted = get_peft_model(model.new(dtype), model.config(), **options)
    adapted.add_adapter("other", model.config(), **options)
    for name in ("default", "other"):
        randomise(adapted, name)
    assert [value.dtype for value in tuner(adapted).gpart_theta.values()] == [expected] * 2
    assert [value.requires_grad for value in tuner(adapted).gpart_theta.values()] == [True, False]
    adapted.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(model.new(dtype), str(tmp_path), low_cpu_mem_usage=low_cpu_mem_usage, **options)
    loaded.load_adapter(str(tmp_path / "other"), "other", low_cpu_mem_usage=low_cpu_mem_usage, **options)
    assert [value.dtype for value in tuner(loaded).gpart_theta.values()] == [expected] * 2
    assert [value.requires_grad for value in tuner(loaded).gpart_theta.values()] == [False, False]
    assert {p.dtype for name, p in loaded.named_parameters() if "gpart" not in name} == {dtype}
    assert torch.equal(model.output(loaded, dtype), model.output(adapted, dtype))
    assert theta(loaded.to(torch.float64)).dtype == torch.float64


@EACH_MODEL
@HALF
@CAST
def test_half_precision_runs_and_trains(model: Model, dtype: torch.dtype, autocast_adapter_dtype: bool) -> None:
    adapted = get_peft_model(model.new(dtype), model.config(), autocast_adapter_dtype=autocast_adapter_dtype)
    randomise(adapted)
    output = model.output(adapted, dtype)
    assert output.dtype == dtype
    exact = model.output(model.adapted()).detach()
    torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.1 * float(exact.abs().max()))
    output.float().square().sum().backward()
    assert theta(adapted).grad.dtype == theta(adapted).dtype
    assert theta(adapted).grad.isfinite().all()
    assert theta(adapted).grad.abs().max() > 0


@EACH_MODEL
def test_autocast_gives_what_it_gives_with_the_merged_weights(model: Model) -> None:
    adapted, merged = model.adapted(), model.adapted().merge_and_unload()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = model.output(adapted), model.output(merged)
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours, theirs)
    ours.float().square().sum().backward()
    assert theta(adapted).grad.dtype == torch.float32


@EACH_MODEL
@HALF
def test_the_base_s_type_is_kept_when_merged(model: Model, dtype: torch.dtype) -> None:
    adapted = model.adapted(dtype)
    adapted.merge_adapter()
    assert {p.dtype for name, p in adapted.named_parameters() if "gpart" not in name} == {dtype}
    adapted.unmerge_adapter()
    assert {p.dtype for p in adapted.merge_and_unload().parameters()} == {dtype}
