"""Makes a CUDA build of torchvision importable beside a CPU-only torch.

Package indexes pair the CPU wheel of torch with a torchvision compiled for CUDA. Its compiled operators cannot load
there, torchvision carries on without them and then fails on registering fake kernels for operators that nobody has
declared. transformers, peft and timm import torchvision wherever it is installed, so that they all fail with it.
Declaring the operators beforehand is enough: transforms work, only the compiled operators (nms, image decoding) do not.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Literal

import torch

_UNDECLARED_OPERATORS = ("nms", "qnms")
# torch forgets the declarations of a library that is garbage collected.
_libraries: list[torch.library.Library] = []


def ensure_torchvision() -> Literal["native", "repaired", "absent"]:
    """Import torchvision, declaring its missing operators if that is what it fails on.

    Call it before anything imports transformers, peft or timm.

    Returns:
        "native" if torchvision fits torch, "repaired" if its operators had to be declared, "absent" if it is not
        installed.

    Raises:
        RuntimeError: torchvision fails for another reason.
    """
    if importlib.util.find_spec("torchvision") is None:
        return "absent"
    if _libraries:
        return "repaired"
    try:
        importlib.import_module("torchvision")
        return "native"
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _UNDECLARED_OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
    importlib.import_module("torchvision")
    return "repaired"
