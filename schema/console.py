"""What every command line does alike with its output: any encoding will do, and one that fails ends it cleanly."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable

from schema.folder import Fault

_SIGNS = {"±": "+-", "θ": "theta", "ᵀ": "^T", "Δ": "D", "λ": "lambda", "≥": ">=", "≤": "<=", "²": "^2"}
_ERRORS = "signs"
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""All that `str.splitlines` takes for one."""

BUG = (
    "this is a bug: nothing above says what to do otherwise; report it with all lines from Traceback on, the version "
    "(git rev-parse HEAD) and the command: python {command}"
)
"""The last line of what was not foreseen."""


def run(command: Callable[[], int]) -> int:
    """Run a command, whose exit status is given back.

    It is 1 where nobody or nothing takes its output, and where it raises what it did not foresee.
    """
    _accept_any_encoding()
    try:
        status = command()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads the output has gone (`| head`): no error, but the command did not end
        _discard_output()
        return 1
    except OSError as error:
        if not output_fails():
            return bug()
        _discard_output()
        complain([f"standard output: cannot be written ({error.strerror}); accepted: an output that takes it"])
        return 1
    except Exception:
        return bug()


def bug() -> int:
    """Show the exception at hand as what it is, none that a command refuses its input with; the exit status for it."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        traceback.print_exc()
        print(BUG.format(command=shlex.join(sys.orig_argv[1:])), file=sys.stderr, flush=True)
    return 1


def complain(lines: Iterable[str]) -> None:
    """One line on standard error for each thing that is wrong."""
    with contextlib.suppress(OSError):
        for line in lines:
            print(f"error: {_in_one(line)}", file=sys.stderr, flush=True)


def _in_one(text: str) -> str:
    """A text in one line: what a value holds of line ends is shown as it would be typed."""
    return text.translate({ord(end): end.encode("unicode_escape").decode() for end in _LINE_ENDS if end in text})


def refusal(error: OSError) -> str:
    """What the disk refuses, in a line."""
    place = error.filename2 or error.filename or "a file"
    return f"{place}: {error.strerror}; accepted: a place that can be read, or written to"


def name_faults(faults: Iterable[Fault]) -> int:
    """Name the files that were set aside; the exit status says whether there are any."""
    lines = [str(fault) for fault in faults]
    complain(lines)
    return 1 if lines else 0


def _accept_any_encoding() -> None:
    """Write signs that an encoding lacks in letters that it has, here and in child processes."""
    codecs.register_error(_ERRORS, _in_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)
    encoding = os.environ.get("PYTHONIOENCODING", "").partition(":")[0]
    os.environ["PYTHONIOENCODING"] = f"{encoding}:backslashreplace"


def _in_letters(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_SIGNS.get(c, c.encode("ascii", "backslashreplace").decode()) for c in lacking), error.end


def output_fails() -> bool:
    """Whether the output takes nothing more, not even an empty line: an error of writing does not say to where."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except OSError:
        return True
    return False


def _discard_output() -> None:
    # What is still buffered would fail once more as the interpreter ends (signal, "Note on SIGPIPE").
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
