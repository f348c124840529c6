"""What the documents show runs as it is shown."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import List

from .place import Place

ROOT = Path(__file__).parents[2]
#: What the examples take for granted.
BEFORE = """
from cotenant import *

sign_on(session_id="claude_1")
store_data("project:migrations", "pending", [{"id": "001", "status": "pending"}])
"""


def examples(document: str) -> List[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


class Documents(Place):
    def runs(self, document: str) -> int:
        count = 0
        for example in examples(document):
            with self.subTest(document, example=example):
                if "async with" in example:
                    compile(example, document, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                else:
                    (self.top / "src" / "parser").mkdir(parents=True, exist_ok=True)
                    self.prints(BEFORE + example)
                    count += 1
        return count

    def test_the_patterns_run(self) -> None:
        self.assertGreaterEqual(self.runs("docs/patterns.md"), 5)

    def test_the_package_s_page_runs(self) -> None:
        self.assertEqual(self.runs("python/README.md"), 2)
