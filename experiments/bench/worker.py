"""One method under measurement, in a process of its own: answers commands, a line of JSON each."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from experiments.bench.contender import Contender


def _kind(device: str) -> type[Contender]:
    """What is measured on a device. Nothing else is imported: the authors' code comes before all of this suite's."""
    if device == "meta":
        from experiments.bench.attachment import Attachment

        return Attachment
    from experiments.bench.training import Training

    return Training


def main() -> None:
    """Build what the first line describes, then answer commands."""
    answer = sys.stdout
    sys.stdout = sys.stderr  # whatever libraries print is no answer
    setting = json.loads(sys.stdin.readline())
    contender = _kind(setting["device"])(setting)
    print(json.dumps(contender.ready), file=answer, flush=True)
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(getattr(contender, command)(*arguments)), file=answer, flush=True)


if __name__ == "__main__":
    main()
