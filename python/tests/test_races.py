"""Where the coordination guide's own patterns race, they lose what the safe operations keep."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List
from unittest import mock

from cotenant import Client, FencedError, NewTask, NotFoundError, TakenError

from . import guide
from .guide import code_of, functions
from .place import PATIENCE, Place

#: Sessions that do the same at once.
CREW = 8


def names_of(client: Client, **instead: Any) -> Dict[str, Any]:
    """The names that a block's code uses, for one client."""
    session = client.session
    assert session is not None
    return {
        "retrieve_data": client.retrieve_data,
        "store_data": client.store_data,
        "delete_data": client.delete_data,
        "list_scopes": client.list_scopes,
        "delete_scope": client.delete_scope,
        "current_session": {"session_id": session["name"]},
        "sign_on": lambda session_id: None,
        **instead,
    }


def function_of(block: str, name: str, client: Client, **instead: Any) -> Callable[..., Any]:
    """A function of a block, as it is written."""
    names = names_of(client, **instead)
    for source in functions(code_of(block)):
        exec(source, names)
    found: Callable[..., Any] = names[name]
    return found


class Meeting:
    """Lets two that read and then write meet in between, as happens by chance when they are at once."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def writer(self, client: Client) -> Callable[..., Any]:
        """A ``store_data`` that waits before its first write until the other one has read too."""
        met = threading.Event()

        def store_data(scope: str, key: str, value: Any) -> None:
            if not met.is_set():
                self._barrier.wait(PATIENCE)
                met.set()
            client.store_data(scope, key, value)

        return store_data


def both(one: Callable[[], Any], other: Callable[[], Any]) -> List[Any]:
    """Runs two at the same time, and answers what each returned."""
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(one), pool.submit(other)]
        return [future.result(PATIENCE) for future in running]


@guide.needed
class Guide(Place):
    """What the guide's code loses when two sessions run it at once."""

    def two(self, block: str, name: str) -> List[Callable[..., Any]]:
        meeting = Meeting()
        self.a, self.b = self.client("claude_1"), self.client("claude_2")
        return [
            function_of(block, name, client, store_data=meeting.writer(client))
            for client in (self.a, self.b)
        ]

    def test_two_claim_one_issue(self) -> None:
        meeting = Meeting()
        clients = [self.client("claude_1"), self.client("claude_2")]
        code = code_of("01_work_assignment_window_1")
        said: List[str] = []

        def window(client: Client) -> None:
            names = names_of(client, store_data=meeting.writer(client), print=said.append)
            exec(code, names)

        both(lambda: window(clients[0]), lambda: window(clients[1]))
        self.assertEqual(said.count("Claimed issue #15"), 2)

    def test_two_reserve_one_resource(self) -> None:
        one, other = self.two("06_reservation_session_1", "try_reserve_resource")
        granted = both(lambda: one("db", "claude_1"), lambda: other("db", "claude_2"))
        self.assertEqual(granted, [(True, "Lock acquired")] * 2)

    def test_two_take_one_task_of_the_queue(self) -> None:
        one, other = self.two("11_queue_workers", "claim_next_task")
        tasks = [{"id": number, "status": "pending"} for number in (1, 2)]
        self.a.store_data("project:queue", "tasks", tasks)
        taken = both(lambda: one("claude_1"), lambda: other("claude_2"))
        self.assertEqual([task["id"] for task in taken], [1, 1])

    def test_a_completion_of_two_is_undone(self) -> None:
        meeting = Meeting()
        a, b = self.client("claude_1"), self.client("claude_2")
        tasks = [{"id": number, "status": "claimed", "type": "t", "file": "f"} for number in (1, 2)]
        a.store_data("project:queue", "tasks", tasks)
        [complete] = [
            node for node in ast.parse(code_of("11_queue_workers")).body if isinstance(node, ast.If)
        ]
        code = compile(ast.Module([complete], []), "11_queue_workers", "exec")

        def finish(client: Client, task: Dict[str, Any]) -> None:
            store = meeting.writer(client)
            exec(code, names_of(client, task=task, store_data=store, print=lambda _: None))

        both(lambda: finish(a, tasks[0]), lambda: finish(b, tasks[1]))
        states = [task["status"] for task in a.retrieve_data("project:queue", "tasks")]
        self.assertEqual(sorted(states), ["claimed", "completed"])

    def test_two_continue_one_handoff(self) -> None:
        a, b, c = (self.client(f"claude_{number}") for number in (1, 2, 3))
        handoff = {"from_session": "claude_1", "phase": "p", "next_steps": []}
        a.store_data("issue:15", "handoff", handoff)
        meeting = Meeting()
        said: List[str] = []

        def window(client: Client) -> None:
            store = meeting.writer(client)
            names = names_of(client, store_data=store, print=said.append)
            exec(code_of("13_handoff_session_2"), names)

        both(lambda: window(b), lambda: window(c))
        self.assertEqual(said.count("Picking up handoff from claude_1"), 2)

    def test_an_event_of_two_is_lost(self) -> None:
        one, other = self.two("15_event_log", "log_event")
        both(lambda: one("started", "a"), lambda: other("started", "b"))
        self.assertEqual(len(self.a.retrieve_data("project:events", "log")), 1)

    def test_two_claims_with_a_second_look_both_succeed(self) -> None:
        a, b = self.client("claude_1"), self.client("claude_2")
        one = function_of("17_race_conditions", "safe_claim", a)
        other = function_of("17_race_conditions", "safe_claim", b)
        first_is_sure = threading.Event()
        other_has_read = threading.Event()

        def sleep(_: float) -> None:
            # The delays of the code: the second session's first one lasts until the first is sure.
            if threading.current_thread().name.startswith("second"):
                other_has_read.set()
                first_is_sure.wait(PATIENCE)

        with mock.patch.object(time, "sleep", sleep):
            with ThreadPoolExecutor(1, thread_name_prefix="second") as pool:
                late = pool.submit(other, "issue:15", "claude_2")
                self.assertTrue(other_has_read.wait(PATIENCE))
                early = one("issue:15", "claude_1")
                first_is_sure.set()
                self.assertEqual([early, late.result(PATIENCE)], [(True, "Claim successful")] * 2)


class Ours(Place):
    """The safe operations, by many at once."""

    def setUp(self) -> None:
        super().setUp()
        self.crew = [self.client(f"claude_{number}") for number in range(CREW)]

    def at_once(self, work: Callable[[Client], Any]) -> List[Any]:
        start = threading.Barrier(CREW)

        def one(client: Client) -> Any:
            start.wait(PATIENCE)
            return work(client)

        with ThreadPoolExecutor(CREW) as pool:
            return list(pool.map(one, self.crew))

    def test_one_has_each_issue_and_the_others_know_who(self) -> None:
        for issue in range(10):
            item = f"issue:{issue}"

            def claim(client: Client) -> Any:
                try:
                    client.claim(item)
                except TakenError as error:
                    return error.details["holder"]
                return None

            answers = self.at_once(claim)
            self.assertEqual(answers.count(None), 1)
            winner = f"claude_{answers.index(None)}"
            self.assertEqual({holder for holder in answers if holder is not None}, {winner})
            # Whoever looks at the conventional keys sees it too.
            self.assertEqual(self.crew[0].retrieve_data(item, "claimed_by"), winner)

    def test_every_item_that_is_appended_is_kept(self) -> None:
        def append(client: Client) -> None:
            for number in range(40):
                item = [client.session["name"] if client.session else None, number]
                client.update_data("project:events", "log", "append", item)

        self.at_once(append)
        kept = self.crew[0].retrieve_data("project:events", "log")
        expected = [[f"claude_{one}", number] for one in range(CREW) for number in range(40)]
        self.assertEqual(sorted(kept), expected)

    def test_every_event_is_kept_in_order(self) -> None:
        seqs = self.at_once(
            lambda client: [client.log_event("step", str(number)) for number in range(20)]
        )
        kept = list(self.crew[0].events(kind="user.step"))
        self.assertEqual([event.seq for event in kept], sorted(sum(seqs, [])))
        self.assertEqual(len(kept), CREW * 20)

    def test_every_task_is_taken_once_and_finished_once(self) -> None:
        for first in range(0, 100, 50):
            self.crew[0].add_tasks(*range(first, first + 50))

        def work(client: Client) -> List[Any]:
            done: List[Any] = []
            while True:
                task = client.next_task()
                if task is None:
                    return done
                client.update_data("project", "done", "append", task.payload, guards=[task])
                client.finish_task(task)
                done.append(task.payload)

        done: List[Any] = sum(self.at_once(work), [])
        self.assertEqual(sorted(done), list(range(100)))
        self.assertEqual(sorted(self.crew[0].retrieve_data("project", "done")), list(range(100)))
        listed = self.crew[0].call("task.list", states=["done"], limit=1000)["tasks"]
        self.assertEqual([task["state"] for task in listed], ["done"] * 100)

    def test_a_worker_that_goes_leaves_its_task_to_the_next(self) -> None:
        slow, next_one = self.crew[:2]
        slow.add_tasks("work")
        task = slow.next_task()
        assert task is not None
        slow.sign_off()
        again = next_one.next_task(wait=PATIENCE)
        assert again is not None
        self.assertEqual((again.task, again.payload), (task.task, "work"))
        slow.sign_on("claude_0", pid=os.getpid())
        for late in (slow.finish_task, slow.release_task):
            with self.assertRaises(FencedError):
                late(task)
        with self.assertRaises(FencedError):
            slow.put("s", "k", 1, guards=[task])
        self.assertEqual(next_one.finish_task(again)["state"], "done")

    def test_one_takes_a_handoff_over_and_the_others_know_who(self) -> None:
        giver, crew = self.client("giver"), self.crew
        for issue in range(5):
            giver.claim(f"issue:{issue}")
            offer = giver.offer(f"issue:{issue}")

            def accept(client: Client) -> Any:
                try:
                    client.accept(offer)
                except NotFoundError as error:
                    return error.details["by"]
                return None

            answers = self.at_once(accept)
            self.assertEqual(answers.count(None), 1)
            winner = f"claude_{answers.index(None)}"
            self.assertEqual({by for by in answers if by is not None}, {winner})
            self.assertEqual(crew[0].retrieve_data(f"issue:{issue}", "claimed_by"), winner)

    def test_a_release_goes_in_its_order(self) -> None:
        for round in range(5):
            queue = f"release-{round}"
            self.crew[0].add_tasks(
                NewTask("tests", queue=queue),
                NewTask("build", queue=queue, needs_new=[0]),
                NewTask("changelog", queue=queue),
                NewTask("publish", queue=queue, needs_new=[1, 2]),
            )

            def work(client: Client) -> None:
                while len(self.crew[0].retrieve_data(queue, "steps") or []) < 8:
                    task = client.next_task(queue, wait=0.1)
                    if task is not None:
                        client.update_data(queue, "steps", "append", f"{task.payload} begins")
                        client.update_data(queue, "steps", "append", f"{task.payload} ends")
                        client.finish_task(task)

            self.at_once(work)
            steps = self.crew[0].retrieve_data(queue, "steps")
            self.assertEqual(len(steps), 8)
            for before, after in (("tests", "build"), ("build", "publish"), ("changelog", "publish")):
                self.assertLess(steps.index(f"{before} ends"), steps.index(f"{after} begins"))

    def test_one_at_a_time_holds_the_lease(self) -> None:
        def count(client: Client) -> None:
            for _ in range(5):
                with client.lease("locks:counter", wait=PATIENCE) as lease:
                    number = client.retrieve_data("project", "count") or 0
                    client.put("project", "count", number + 1, guards=[lease])

        self.at_once(count)
        self.assertEqual(self.crew[0].retrieve_data("project", "count"), CREW * 5)


@guide.needed
class Together(Place):
    """Sessions that follow the guide and sessions that use the operations see each other."""

    def test_a_lease_is_respected_by_a_reservation(self) -> None:
        client = self.client("claude_1")
        reserve = functions(code_of("06_reservation_session_1"))[0]
        second = f"from cotenant import *\n\n{reserve}\n\n{code_of('07_reservation_session_2')}"
        with client.lease("database_migration"):
            at = client.retrieve_data("locks:database_migration", "locked_at")
            refused = f"Cannot perform migration: Locked by claude_1 at {at}"
            self.assertEqual(self.prints(second), [refused])
        self.assertEqual(self.prints(second), [])

    def test_a_claim_is_seen_by_the_other_window(self) -> None:
        client = self.client("claude_1")
        client.claim("issue:15")
        window = f"from cotenant import *\n\n{code_of('01_work_assignment_window_1')}"
        window = window.replace('sign_on(session_id="claude_1")', 'sign_on(session_id="claude_3")')
        self.assertEqual(
            self.prints(window),
            [
                "Found 1 issues in progress",
                "session:claude_1 is working on issue #15",
                "Issue #15 already claimed!",
            ],
        )

    def test_progress_is_seen_by_who_monitors(self) -> None:
        client = self.client("claude_3")
        window = f"from cotenant import *\n\n{code_of('09_progress_session_2')}"
        self.assertEqual(self.prints(window), ["Issue #15: No progress data"])
        client.report_progress("issue:15", "testing", 75, "Writing tests")
        self.assertEqual(self.prints(window), ["Issue #15: testing (75%) - Writing tests"])

    def test_an_offer_is_picked_up_by_the_other_window(self) -> None:
        a, b = self.client("claude_1"), self.client("reader")
        a.claim("issue:15")
        payload = {"phase": "implementation_complete", "next_steps": ["Run test suite"]}
        offer = a.offer("issue:15", payload=payload)
        a.sign_off()
        states = {it: b.retrieve_data(it, "status") for it in b.list_scopes("session:*")}
        self.assertEqual(states, {"session:claude_1": "handoff_ready", "session:reader": "active"})
        window = f"from cotenant import *\n\n{code_of('13_handoff_session_2')}"
        said = [
            "Picking up handoff from claude_1",
            "Phase: implementation_complete",
            "Next steps:",
            "  - Run test suite",
        ]
        self.assertEqual(self.prints(window), said)
        b.accept(offer)
        self.assertEqual(b.retrieve_data("session:claude_1", "status"), None)
        self.assertIsNone(b.retrieve_data("issue:15", "handoff"))

    def test_a_claim_by_hand_is_told_to_who_claims(self) -> None:
        a, b = self.client("claude_1"), self.client("claude_2")
        a.store_data("issue:15", "claimed_by", "claude_1")
        [warning] = b.claim("issue:15")["warnings"]
        self.assertIn("`claude_1` says in data `issue:15` `claimed_by`", warning)

    def test_a_clean_up_takes_only_what_was_kept_by_hand(self) -> None:
        a, b = self.client("claude_1"), self.client("claude_2")
        a.claim("issue:15")
        a.store_data("session:claude_1", "last_heartbeat", "2025-10-31T14:00:00.000001")
        a.store_data("issue:15", "notes", "half done")
        names = names_of(b)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code_of("18_abandoned_sessions"), names)
            names["cleanup_abandoned_sessions"]()
            names["cleanup_abandoned_sessions"]()
        self.assertEqual(said.getvalue(), "Cleaning up abandoned session: session:claude_1\n")
        self.assertEqual(b.retrieve_data("issue:15", "claimed_by"), "claude_1")
        self.assertEqual(b.retrieve_data("issue:15", "notes"), "half done")
        self.assertEqual(b.retrieve_data("session:claude_1", "status"), "active")
        with self.assertRaises(TakenError):
            b.claim("issue:15")

    def test_health_shows_heartbeats_that_nobody_stored(self) -> None:
        a = self.client("claude_1")
        check = function_of("14_health", "check_session_health", a)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            check()
        self.assertRegex(said.getvalue(), r"^session:claude_1: last heartbeat \d{4}-\d\d-\d\dT[\d:.]{12}\n$")


@guide.needed
class Log(Place):
    def test_the_newest_1000_of_1500_are_in_the_key_and_all_in_the_log(self) -> None:
        log = functions(code_of("15_event_log"))[0]
        body = """
sign_on(session_id="claude_1")
for number in range(1500):
    log_event("step", f"step {number}", {"n": number})
"""
        self.assertEqual(self.prints(f"from cotenant import *\n\n{log}\n{body}"), [])
        client = self.client("reader")
        kept = client.retrieve_data("project:events", "log")
        self.assertEqual([event["metadata"]["n"] for event in kept], list(range(500, 1500)))
        self.assertEqual({event["session"] for event in kept}, {"claude_1"})
        written = list(client.events(kind="data.put", scope="project:events"))
        self.assertEqual([event.payload["ver"] for event in written], list(range(1, 1501)))
        for number in range(1500):
            client.log_event("step", f"step {number}", {"n": number})
        listed = self.cotenant("--json", "event", "list", "--kind", "user.step", "--last", "1000")
        self.assertEqual(listed.count('"kind":"user.step"'), 1000)
        kept = [event.payload["metadata"]["n"] for event in client.events(kind="user.step")]
        self.assertEqual(kept, list(range(1500)))
