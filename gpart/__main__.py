"""Runs a tool that has its own main in a process that knows GPart: `python -m gpart MODULE_OR_SCRIPT ARGS`."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from pathlib import Path

USAGE = """\
usage: python -m gpart MODULE ARGS
       python -m gpart SCRIPT.py ARGS

Registers GPart with PEFT and then does what `python -m MODULE ARGS` or `python SCRIPT.py ARGS` does, so that tools
which load adapters by themselves know it:

    python -m gpart lm_eval --model hf --model_args pretrained=BASE,peft=FOLDER --tasks gsm8k
    torchrun --nproc-per-node 2 -m gpart train.py"""


def main() -> None:
    """Run what the command line names as `__main__`, with the arguments behind it."""
    target, *arguments = sys.argv[1:] or ["--help"]
    if target in ("-h", "--help"):
        print(USAGE)
        return
    script = Path(target).name != target or target.endswith(".py")
    wrong = _script_fault(target) if script else _module_fault(target)
    if wrong:
        sys.exit(_refused(wrong))
    sys.argv[:] = [target, *arguments]
    if not script:
        runpy.run_module(target, run_name="__main__", alter_sys=True)
        return
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(target).resolve().parent)
    runpy.run_path(target, run_name="__main__")


def _refused(wrong: str) -> int:
    print(f"error: {wrong}; accepted: a module that `python -m` runs, or the path of a script", file=sys.stderr)
    return 2


def _script_fault(path: str) -> str | None:
    return None if Path(path).exists() else f"script={path}: there is no such file"


def _module_fault(name: str) -> str | None:
    """What keeps a module from being run, None if nothing does.

    Raises:
        ImportError: if a package that it lies in cannot be imported for a reason of its own.
    """
    if not name or name.startswith(("-", ".")):
        return f"module={name}: this is no name of a module"
    spec = _found(name)
    if spec is None:
        return f"module={name}: there is no such module here"
    if spec.submodule_search_locations is not None and _found(f"{name}.__main__") is None:
        return f"module={name}: this package has no __main__ to run"
    return None


def _found(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        return None


if __name__ == "__main__":
    main()
