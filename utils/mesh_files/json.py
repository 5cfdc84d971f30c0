"""JSON with a long list in it, written entry by entry."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_json_list(path: Path, head: Mapping[str, Any], name: str, entries: Iterable[Any]) -> None:
    """Write an object with the entries of ``head`` and, last, the list ``name``; one line for each of its entries.

    Raises ``ValueError`` for a number that JSON has no word for (NaN, infinity), and where ``head`` has ``name`` already.
    """
    if name in head:
        raise ValueError(f"{name!r} is the list's own name")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("{\n")
        for key, value in head.items():
            file.write(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False, ensure_ascii=False)},\n")
        file.write(f"{json.dumps(name)}: [")
        for index, entry in enumerate(entries):
            file.write(",\n" if index else "\n")
            file.write(json.dumps(entry, allow_nan=False, ensure_ascii=False))
        file.write("\n]\n}\n")
