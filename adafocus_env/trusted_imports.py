"""Which import paths of a user's own networks may be imported: importing runs code.

A saved recognizer names its networks, and may come from anybody. So an import path in it is
imported only if the user has named the same one: on the command line, in the environment variable
`ADAFOCUS_TRUST`, or by `trust_import`.
"""

from __future__ import annotations

import os

TRUST_VARIABLE = "ADAFOCUS_TRUST"

_trusted: set[str] = set()


def trust_import(*names: str) -> None:
    """Allow `package.module:Class` to be imported where a recognizer names it."""
    _trusted.update(names)


def is_trusted(name: str) -> bool:
    """Whether the user has named this import path."""
    named = os.environ.get(TRUST_VARIABLE, "").split(",")
    return name in _trusted or name in (item.strip() for item in named)
