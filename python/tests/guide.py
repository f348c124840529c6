"""The coordination guide, whose code the tests run as it is written.

The guide is somebody else's and no part of this repository. ``COTENANT_GUIDE`` names a copy of it, as text; without
one, what needs it is skipped. ``guide.json`` says of each of its Python blocks where it stands, its digest, and
what its code must print.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import unittest
from pathlib import Path
from typing import Any, Dict, List

PATH = os.environ.get("COTENANT_GUIDE")

needed = unittest.skipUnless(PATH, "COTENANT_GUIDE names no copy of the coordination guide")


def blocks() -> List[Dict[str, Any]]:
    """Its blocks in their order, each with its code."""
    assert PATH is not None
    listed: List[Dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text())
    text = Path(PATH).read_text(encoding="utf-8")
    codes = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(codes) == len(listed), f"{PATH} has {len(codes)} blocks, not {len(listed)}"
    for block, code in zip(listed, codes):
        assert hashlib.sha256(code.encode()).hexdigest() == block["sha256"], block["name"]
        block["code"] = code
    return listed


def code_of(name: str) -> str:
    """The code of a block."""
    return next(str(block["code"]) for block in blocks() if block["name"] == name)


def functions(code: str) -> List[str]:
    """The functions that a block defines, as they are written."""
    found = [node for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    return [ast.get_source_segment(code, node) or "" for node in found]
