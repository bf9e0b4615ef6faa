"""Makes a CUDA build of torchvision importable beside a CPU-only torch, whichever library asks for it first.

`gpart` repairs the same fault when it is imported (`gpart.ensure_torchvision`). The suite cannot rely on that order:
transformers, peft and timm import torchvision wherever it is installed, and importing gpart costs the seconds of torch,
which a refused command line should not pay. A finder on `sys.meta_path` costs nothing until torchvision is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_OPERATORS = ("nms", "qnms")
# torch forgets the declarations of a library that is garbage collected.
_libraries: list[torch.library.Library] = []


class _Repairing(Loader):
    """Executes torchvision, declaring its operators where they are what it fails on."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As torchvision's own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the package; a second time where its compiled operators do not load beside this torch."""
        try:
            self._loader.exec_module(module)
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            for name in [name for name in sys.modules if name.startswith("torchvision.")]:
                del sys.modules[name]
            _declare_operators()
            self._loader.exec_module(module)


def _declare_operators() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in _OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)


class _Finder(MetaPathFinder):
    """Gives torchvision the repairing loader, and leaves everything else to others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of torchvision, as the path has it; None for any other module."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "torchvision" else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Repairing(spec.loader)
        return spec


def install() -> None:
    """Put the finder before all others, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
