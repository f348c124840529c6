"""The coordination guide's code runs as it is written: every block, in order, each in its own process."""

from __future__ import annotations

from typing import Dict, List

from . import guide
from .place import Place


@guide.needed
class Guide(Place):
    def test_every_block_runs_and_prints_what_its_code_must_print(self) -> None:
        known: Dict[str, List[str]] = {}
        for block in guide.blocks():
            earlier = known.setdefault(block["section"], [])
            code = "\n\n".join(["from cotenant import *", *earlier, block["code"]])
            with self.subTest(block["name"]):
                self.assertEqual(self.prints(code), block["prints"])
            earlier.extend(guide.functions(block["code"]))
        self.leaves()

    def leaves(self) -> None:
        """What the blocks leave in the store is what their code stores."""
        store = self.client()
        read = store.retrieve_data
        self.assertEqual(read("session:claude_1", "current_issue"), 15)
        self.assertEqual(read("session:claude_1", "status"), "handoff_ready")
        self.assertEqual(read("session:claude_2", "current_issue"), 15)
        self.assertEqual(read("issue:15", "claimed_by"), "claude_1")
        self.assertEqual(read("issue:15", "claimed_at"), "2025-10-31T14:00:00Z")
        self.assertEqual(read("issue:15", "current_session"), "claude_2")
        self.assertEqual(read("issue:15", "progress")["percent"], 100)
        self.assertIsNone(read("issue:15", "handoff"))
        self.assertEqual(read("issue:16", "claimed_by"), "claude_2")
        self.assertEqual(read("locks:database_migration", "locked_by"), "claude_2")
        tasks = read("project:queue", "tasks")
        self.assertEqual(
            [(task["id"], task["status"], task.get("claimed_by")) for task in tasks],
            [(1, "completed", "claude_1"), (2, "claimed", "claude_2")]
            + [(number, "pending", None) for number in (3, 4)],
        )
        log = read("project:events", "log")
        self.assertEqual(
            [(event["session"], event["type"]) for event in log],
            [
                ("claude_1", kind)
                for kind in ("issue_started", "file_modified", "tests_added", "issue_completed")
            ],
        )
        release = read("project:release", "v1.0.0")
        self.assertEqual(
            [(task["assignee"], task["status"]) for task in release["tasks"]],
            [("claude_2", "completed"), ("claude_3", "in_progress"), (None, "pending")],
        )
        self.assertIsNotNone(read("session:claude_1", "last_heartbeat"))
        # Each process was a session of its own that went on where the one before stopped.
        ended = store.call("session.list", all=True, limit=1000)["sessions"]
        self.assertEqual({session["name"] for session in ended}, {"claude_1", "claude_2", "claude_3"})
        self.assertEqual(sum(session["name"] == "claude_1" for session in ended), 10)
