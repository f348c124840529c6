"""A place for one test: a directory, a repository and an environment of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from typing import Any, Dict, List, Optional

import cotenant

PACKAGE = Path(cotenant.__file__).resolve().parent.parent
#: How long a test waits for what must happen; long, for a machine that is busy.
PATIENCE = 120.0


def binary() -> str:
    """The program under test."""
    found = os.environ.get("COTENANT_BIN") or shutil.which("cotenant")
    assert found, "name the program under test in COTENANT_BIN"
    return str(Path(found).resolve())


class Place(unittest.TestCase):
    """A test with a scratch repository, in which nobody is signed on."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        # Links on the way, as /tmp may be, would show up in paths.
        self.scratch = Path(scratch.name).resolve()
        self.top = self.scratch / "top"
        self.top.mkdir()
        (self.scratch / "home").mkdir()
        self.environment: Dict[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.scratch / "home"),
            "COTENANT_BIN": binary(),
            "PYTHONPATH": str(PACKAGE),
            "PYTHONWARNINGS": "error",
            "GIT_CONFIG_NOSYSTEM": "1",
            # Whoever runs the tests, there are people in them.
            "COTENANT_HUMAN": "1",
        }
        subprocess.run(
            ["git", "init", "-q", "-b", "main"], cwd=self.top, env=self.environment, check=True
        )

    def options(self) -> Dict[str, Any]:
        """What makes a client of this place."""
        return {"directory": self.top, "binary": binary(), "environment": self.environment}

    def client(self, name: Optional[str] = None, **options: Any) -> cotenant.Client:
        """A client, signed on under a name and living with this process."""
        client = cotenant.Client(**self.options())
        self.addCleanup(client.close)
        if name is not None:
            client.sign_on(name, pid=os.getpid(), **options)
        return client

    def cotenant(self, *arguments: str) -> str:
        """What a command prints, which must succeed."""
        ran = subprocess.run(
            [binary(), *arguments],
            cwd=self.top,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=True,
        )
        return ran.stdout.decode()

    def script(self, code: str, **environment: str) -> "Script":
        """Begins a script: without a terminal, and as nobody's child, so that an agent or a terminal that
        runs the tests is not taken for the one that runs the script."""
        return Script(self, textwrap.dedent(code), {**self.environment, **environment})

    def prints(self, code: str, **environment: str) -> List[str]:
        """The lines that a script prints, which must succeed and say nothing else."""
        script = self.script(code, **environment)
        out, said, status = script.ends()
        self.assertEqual((said, status), ("", "0"), code)
        return out.splitlines()


class Script:
    """A Python process."""

    _number = 0

    def __init__(self, place: Place, code: str, environment: Dict[str, str]) -> None:
        Script._number += 1
        stem = place.scratch / f"script-{Script._number}"
        self._status = stem.with_suffix(".status")
        self._errors = stem.with_suffix(".stderr")
        file = stem.with_suffix(".py")
        file.write_text(code, encoding="utf-8")
        python, script, errors, status = (
            shlex.quote(str(word)) for word in (sys.executable, file, self._errors, self._status)
        )
        # The pipe is open until the orphan has ended.
        line = f"{python} {script} 2>{errors}; echo $? >{status}"
        self.process = subprocess.Popen(
            ["setsid", "-f", "sh", "-c", line],
            cwd=place.top,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        place.addCleanup(self._clean)

    def _clean(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def says(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def hears(self, line: str) -> None:
        """Sends it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ends(self) -> "tuple[str, str, str]":
        """Waits for its end; what it printed, what it said beside, and its status."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        return out, self._errors.read_text(encoding="utf-8"), self._status.read_text().strip()
