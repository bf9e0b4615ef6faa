"""One method under measurement, in a process of its own: answers commands, a line of JSON each."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from pydantic import BaseModel

from experiments.bench.setting import Job

if TYPE_CHECKING:
    from experiments.bench.contender import Contender


def _kind(device: str) -> type[Contender]:
    """What is measured on a device. No more is imported: the authors' PEFT comes before all that imports PEFT."""
    if device == "meta":
        from experiments.bench.attachment import Attachment

        return Attachment
    from experiments.bench.training import Training

    return Training


def main() -> None:
    """Build what the first line describes, then answer commands."""
    answer = sys.stdout
    sys.stdout = sys.stderr  # whatever libraries print is no answer
    job = Job.model_validate_json(sys.stdin.readline())
    contender = _kind(job.device)(job)
    print(json.dumps(contender.init_seconds), file=answer, flush=True)
    for line in sys.stdin:
        print(_answered(contender, *json.loads(line)), file=answer, flush=True)


def _answered(contender: Contender, command: str, *arguments: int) -> str:
    result = getattr(contender, command)(*arguments)
    return result.model_dump_json(exclude_unset=True) if isinstance(result, BaseModel) else json.dumps(result)


if __name__ == "__main__":
    main()
