"""The parser of every command line but that of `run.py`: what is wrong is one line, as everywhere."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from schema.console import complain

_CHOICE = re.compile(
    r"argument (?P<name>.+?): invalid choice: '?(?P<value>.*?)'? \(choose from (?P<accepted>.*)\)", re.S
)
_TYPE = re.compile(r"argument (?P<name>.+?): invalid (?P<type>\w+) value: '(?P<value>.*)'", re.S)
_KINDS = {"int": "an integer", "float": "a number"}


class Parser(argparse.ArgumentParser):
    """Complains in one line, with key, value and what is accepted; its commands' parsers do as well."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and leave with exit status 2."""
        complain([_in_words(message, self.prog)])
        self.exit(2)


def _in_words(message: str, program: str) -> str:
    """What argparse says, in the form of every other refusal."""
    if found := _CHOICE.fullmatch(message):
        return f"{found['name']}={found['value']}: unknown; accepted: {found['accepted'].replace(chr(39), '')}"
    if found := _TYPE.fullmatch(message):
        return f"{found['name']}={found['value']}: not accepted; accepted: {_KINDS.get(found['type'], found['type'])}"
    said = message.removeprefix("argument ")
    if "accepted: " in said:  # by the type of an option, which begins with the value
        return said.replace(": ", "=", 1)
    return f"{said}; accepted: what `{program} --help` lists"
