"""Tasks, progress, handoff, messages, barriers, instructions and metrics, against the real program."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, List
from unittest import mock

import cotenant
from cotenant import (
    BusyError,
    Client,
    ConflictError,
    FencedError,
    InvalidError,
    NewTask,
    NotFoundError,
    RightsError,
    TakenError,
    Task,
    aio,
)

from .place import PATIENCE, Place

#: The operations of this file.
OPERATIONS = """add_tasks next_task extend_task finish_task fail_task release_task cancel_task
    requeue_task show_task list_tasks task_graph report_progress progress handoff offer accept decline
    withdraw offers draft send inbox ack list_messages barrier add_instruction instructions approve_instruction
    revoke_instruction instruction_conflicts report_metrics metrics""".split()


class Everywhere(Place):
    def test_the_same_for_threads_for_event_loops_and_as_functions(self) -> None:
        for name in OPERATIONS:
            with self.subTest(name):
                ours = getattr(Client, name)
                theirs = getattr(aio.Client, name)
                self.assertEqual(inspect.signature(ours), inspect.signature(theirs))
                self.assertTrue(inspect.iscoroutinefunction(theirs))
                self.assertIn(name, cotenant.__all__)
                self.assertTrue(getattr(cotenant, name).__doc__)


class Tasks(Place):
    def taken(self, client: Client, *queues: str) -> Task:
        task = client.next_task(*queues)
        assert task is not None
        return task

    def test_a_task_is_taken_once_and_finished_once(self) -> None:
        a, b = self.client("a"), self.client("b")
        [added] = a.add_tasks({"id": 1})
        self.assertEqual(added["state"], "ready")
        task = self.taken(b)
        self.assertEqual((task.task, task.payload, task.creator), (added["task"], {"id": 1}, "a"))
        self.assertEqual((task.queue, task.attempt, task.max_attempts), ("default", 1, 3))
        self.assertEqual((task.trust, task.reason, task.visible_for), ("agent", None, 900.0))
        self.assertIsNone(a.next_task())
        self.assertEqual(b.extend_task(task, visibility=60), 60.0)
        finished = b.finish_task(task, {"ok": True})
        self.assertEqual((finished["state"], finished["unblocked"]), ("done", 0))
        self.assertTrue(b.finish_task(task)["already"])
        with self.assertRaises(FencedError):
            b.extend_task(task)

    def test_what_a_task_says_is_kept(self) -> None:
        a = self.client("a")
        first, second = a.add_tasks(
            NewTask("build", queue="release", on_dep_fail="cancel", needs_new=[1]),
            NewTask("test", queue="release", priority=5, max_attempts=1, visibility=60),
        )
        self.assertEqual((first["state"], second["state"]), ("blocked", "ready"))
        [again] = a.add_tasks(NewTask(0, queue="x", dedupe_key="k"))
        self.assertEqual(a.add_tasks(NewTask(1, queue="x", dedupe_key="k"))[0]["task"], again["task"])
        self.assertEqual(a.add_tasks(NewTask(2, queue="later", delay=600))[0]["state"], "delayed")
        future = NewTask(2, queue="later", not_before="2200-01-01T00:00:00Z")
        self.assertEqual(a.add_tasks(future)[0]["state"], "delayed")
        self.assertIsNone(a.next_task("later", "nothing"))
        task = self.taken(a, "release")
        self.assertEqual((task.payload, task.priority, task.visible_for), ("test", 5, 60.0))
        self.assertEqual(a.finish_task(task)["unblocked"], 1)
        task = self.taken(a, "release")
        self.assertEqual(task.task, first["task"])
        [last] = a.add_tasks(NewTask("publish", queue="release", needs=[task.task]))
        self.assertEqual(last["state"], "blocked")

    def test_a_failure_is_retried_or_final(self) -> None:
        a = self.client("a")
        a.add_tasks("one", "two")
        failed = a.fail_task(self.taken(a), "no network")
        self.assertEqual(failed["state"], "failed")
        self.assertGreaterEqual(failed["retry_in_ms"], 0)
        self.assertEqual(a.fail_task(self.taken(a), "no such file", permanent=True)["state"], "dead")

    def test_what_is_released_is_the_next_ones(self) -> None:
        a, b = self.client("a"), self.client("b")
        a.add_tasks(None)
        task = self.taken(a)
        a.release_task(task)
        again = self.taken(b)
        self.assertEqual((again.task, again.attempt), (task.task, 1))
        self.assertGreater(again.fence, task.fence)
        with self.assertRaises(FencedError):
            a.finish_task((task.task, task.fence))
        b.finish_task((again.task, again.fence))

    def test_who_works_on_what_is_called_off_learns_it(self) -> None:
        a, b = self.client("a"), self.client("b")
        a.add_tasks(1)
        task = self.taken(b)
        self.assertEqual(a.cancel_task(task.task, "not wanted")["followed"], 0)
        self.assertTrue(a.cancel_task(task)["already"])
        with self.assertRaises(ConflictError) as raised:
            b.extend_task(task)
        self.assertEqual(raised.exception.code, "CANCELLED")

    def test_a_task_guards_writes(self) -> None:
        a = self.client("a")
        a.add_tasks(1)
        task = self.taken(a)
        a.put("s", "k", 1, guards=[task])
        a.finish_task(task)
        with self.assertRaises(FencedError):
            a.put("s", "k", 2, guards=[task])

    def test_what_failed_for_good_is_queued_again(self) -> None:
        a = self.client("a")
        a.add_tasks("one", NewTask("two", needs_new=[0]))
        task = self.taken(a)
        with self.assertRaises(ConflictError):
            a.requeue_task(task)
        a.fail_task(task, "no disk", permanent=True)
        self.assertEqual(a.show_task(task)["task"]["reason"], "no disk")
        self.assertEqual(a.requeue_task(task.task), "ready")
        again = self.taken(a)
        self.assertEqual((again.task, again.attempt), (task.task, 1))
        self.assertGreater(again.fence, task.fence)

    def test_others_look_at_tasks(self) -> None:
        a, b = self.client("a"), self.client("b")
        first, second, third = (
            added["task"]
            for added in a.add_tasks(
                {"title": "test"}, NewTask("build", needs_new=[0]), NewTask("lint", queue="ci")
            )
        )
        task = self.taken(b, "default")
        shown = a.show_task(first)
        self.assertEqual((shown["task"]["state"], shown["task"]["name"]), ("running", "b"))
        self.assertEqual((shown["task"]["payload"], shown["needed_by"]), ({"title": "test"}, [second]))
        self.assertEqual(a.show_task(second)["waits_for"], [first])
        with mock.patch("cotenant._operations.PAGE_MAX", 2):
            self.assertEqual([it["task"] for it in a.list_tasks()], [first, second, third])
        self.assertEqual([it["task"] for it in a.list_tasks("ci")], [third])
        self.assertEqual([it["task"] for it in a.list_tasks(session="b")], [first])
        self.assertEqual([it["task"] for it in a.list_tasks(states=["blocked"])], [second])
        graph = a.task_graph()
        self.assertEqual([node["about"] for node in graph["nodes"]], ["test", "build", "lint"])
        self.assertEqual(graph["edges"], [{"task": second, "needs": first}])
        self.assertTrue(a.task_graph(limit=1)["more"])
        self.assertEqual(len(a.task_graph(task)["nodes"]), 2)
        b.finish_task(task, {"ok": True})
        self.assertEqual(a.show_task(task)["task"]["result"], {"ok": True})
        self.assertEqual([it["state"] for it in a.list_tasks("default", states=["done"])], ["done"])
        self.assertEqual(len(a.task_graph(queue="default", all=True)["nodes"]), 2)
        with self.assertRaises(NotFoundError):
            a.show_task(999_999)

    def test_all_or_none_are_added(self) -> None:
        a = self.client("a")
        with self.assertRaises(InvalidError):
            a.add_tasks()
        with self.assertRaises(ConflictError):
            a.add_tasks(1, NewTask(2, needs_new=[2]), NewTask(3, needs_new=[1]))
        with self.assertRaises(NotFoundError):
            a.add_tasks(1, NewTask(2, needs=[12345]))
        self.assertIsNone(a.next_task())

    def test_who_waits_gets_the_next_one(self) -> None:
        a, b = self.client("a"), self.client("b")
        self.assertIsNone(a.next_task(wait=0.01))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(b.next_task, wait=PATIENCE)
            a.add_tasks("work")
            task = waiting.result(PATIENCE)
        assert task is not None
        self.assertEqual(task.payload, "work")

    def test_a_task_that_nobody_waits_for_any_more_is_given_back(self) -> None:
        a, b = self.client("a"), self.client("b")
        asked: List["Future[Any]"] = []
        send = b._core.send

        def interrupted(request: Any) -> Any:
            sent = send(request)
            if request.op != "task.next":
                return sent
            asked.append(sent)
            # As if somebody pressed Ctrl-C while it waits.
            return mock.Mock(result=mock.Mock(side_effect=KeyboardInterrupt), wraps=sent)

        with mock.patch.object(b._core, "send", interrupted):
            with self.assertRaises(KeyboardInterrupt):
                b.next_task(wait=PATIENCE)
            [added] = a.add_tasks(1)
            self.assertEqual(asked[0].result(PATIENCE)["task"]["task"], added["task"])
            task = a.next_task(wait=PATIENCE)
        assert task is not None
        self.assertEqual((task.task, task.attempt), (added["task"], 1))

    def test_in_a_loop_too(self) -> None:
        async def work() -> None:
            async with aio.Client(**self.options()) as a, aio.Client(**self.options()) as b:
                await a.sign_on("a", pid=os.getpid())
                await b.sign_on("b", pid=os.getpid())
                waiting = asyncio.ensure_future(b.next_task(wait=PATIENCE))
                # Until it is about to be sent, and then nobody waits for it any more.
                await asyncio.sleep(0)
                waiting.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await waiting
                await a.add_tasks(1)
                task = await a.next_task(wait=PATIENCE)
                assert task is not None
                self.assertEqual((await a.show_task(task))["task"]["state"], "running")
                await a.finish_task(task)
                self.assertEqual(await a.list_tasks(), [])
                self.assertEqual(len((await a.task_graph(all=True))["nodes"]), 1)
                self.assertEqual((await a.draft({"n": 1}))["n"], 1)
                self.assertEqual(await a.list_messages("b"), [])
                self.assertEqual(await a.instruction_conflicts(), [])

        asyncio.run(asyncio.wait_for(work(), PATIENCE))


class Handing(Place):
    def test_progress_is_seen_by_all(self) -> None:
        a, b = self.client("a"), self.client("b")
        self.assertIsNone(a.report_progress("issue:15", "analysis", 25))
        before = b.report_progress("issue:15", "testing", 75, "Writing tests")
        assert before is not None
        self.assertEqual((before["phase"], before["updated_by"]), ("analysis", "a"))
        [shown] = a.progress("issue:*")
        self.assertEqual((shown["percent"], shown["message"]), (75, "Writing tests"))
        self.assertEqual(a.progress("branch:*"), [])
        a.claim("issue:15")
        with self.assertRaises(TakenError):
            b.report_progress("issue:15", "testing", 80)
        with self.assertRaises(InvalidError):
            a.report_progress("issue:15", "testing", 101)

    def test_all_pages_of_progress_are_read(self) -> None:
        a = self.client("a")
        with mock.patch("cotenant._operations.PAGE_MAX", 2):
            for number in range(5):
                a.report_progress(f"issue:{number}", "x", 1)
            subjects = [shown["subject"] for shown in a.progress()]
        self.assertEqual(subjects, [f"issue:{number}" for number in range(5)])

    def test_one_takes_over(self) -> None:
        a, b, c = (self.client(name) for name in "abc")
        claimed = a.claim("issue:15", "path:src/")["items"][0]
        lease = a.call("lease.acquire", resource="deploy", ttl_ms=60_000)
        payload = {"phase": "testing", "next_steps": ["Run them"], "b": 1.0, "a": 2**70}
        offer = a.offer("issue:15", "path:src/", "lease:deploy", payload=payload)
        [shown] = b.offers(acceptor="b")
        self.assertEqual(shown["offer"], offer)
        self.assertEqual(shown["items"][0], {"claim": {"kind": "issue", "name": "15"}})
        self.assertEqual(shown["payload"]["from_session"], "a")
        self.assertEqual(b.retrieve_data("issue:15", "handoff"), shown["payload"])
        accepted = b.accept(offer)
        self.assertLessEqual(payload.items(), accepted["payload"].items())
        self.assertEqual(repr(accepted["payload"]["b"]), "1.0", "as it was given")
        issue, path, deploy = accepted["items"]
        self.assertEqual((issue["item"], path["item"]), ("issue:15", "path:src"))
        self.assertGreater(issue["fence"], claimed["fence"])
        self.assertGreater(deploy["fence"], lease["fence"])
        b.put("s", "k", 1, guards=[(deploy["resource"], deploy["fence"])])
        self.assertIsNone(b.retrieve_data("issue:15", "handoff"))
        with self.assertRaises(NotFoundError) as raised:
            c.accept(offer)
        self.assertEqual(raised.exception.details["by"], "b")
        self.assertEqual(c.offers(), [])
        self.assertEqual([it["state"] for it in c.offers(all=True, giver="a")], ["accepted"])

    def test_a_task_goes_on_in_other_hands(self) -> None:
        a, b = self.client("a"), self.client("b")
        [added] = a.add_tasks({"title": "port the parser"})
        given = a.next_task()
        assert given is not None
        accepted = b.accept(a.offer(f"task:{added['task']}"))
        [task] = accepted["tasks"]
        self.assertEqual((task.task, task.attempt), (given.task, 1))
        self.assertEqual(task.payload, {"title": "port the parser"})
        self.assertGreater(task.fence, given.fence)
        with self.assertRaises(FencedError):
            a.finish_task(given)
        b.put("s", "k", 1, guards=[task])
        self.assertEqual(b.finish_task(task)["state"], "done")

    def test_work_is_handed_off_by_its_plain_name(self) -> None:
        a, b, c = (self.client(name) for name in "abc")
        a.claim("issue:15")
        number = a.handoff("issue:15", to="b", payload={"phase": "testing"}, ttl=600)
        [shown] = b.offers(acceptor="b")
        self.assertEqual((shown["offer"], shown["payload"]["phase"]), (number, "testing"))
        with self.assertRaises(RightsError):
            c.accept(number)
        self.assertEqual([it["item"] for it in b.accept(number)["items"]], ["issue:15"])
        [held] = c.who("issue:15")
        self.assertEqual(held["name"], "b")

        async def hand_on() -> int:
            async with aio.Client(**self.options()) as client:
                await client.sign_on("d", pid=os.getpid())
                return await client.handoff(to="a", payload={"n": 1})

        self.assertEqual(a.accept(asyncio.run(hand_on()))["payload"]["n"], 1)

    def test_an_offer_is_refused_or_taken_back(self) -> None:
        a, b, c = self.client("a"), self.client("b"), self.client("c", labels=["ready"])
        first = a.offer(to="b", payload={"n": 1}, ttl=600)
        with self.assertRaises(RightsError):
            c.accept(first)
        b.decline(first, "busy")
        second = a.offer(to="label:ready", payload={"n": 2})
        with self.assertRaises(RightsError):
            b.accept(second)
        a.withdraw(second)
        with self.assertRaises(NotFoundError):
            c.accept(second)


    def test_a_session_notes_where_its_work_stands(self) -> None:
        a = self.client("a")
        a.claim("issue:15")
        noted = a.draft({"next_steps": ["mend the parser"], "n": 1})
        self.assertEqual((noted["next_steps"], noted["holds"]), (["mend the parser"], ["issue:15"]))
        again = a.draft({"n": 2})
        self.assertEqual((again["next_steps"], again["n"]), (["mend the parser"], 2))
        self.assertEqual(a.draft()["n"], 2)
        self.assertEqual(a.offers(), [], "it is offered to nobody")


class Talking(Place):
    def test_a_message_is_read_once_and_acknowledged(self) -> None:
        a, b, c = self.client("a"), self.client("b", labels=["crew"]), self.client("c")
        sent = a.send("b", "the tests are red")
        self.assertEqual(sent["delivered"], ["b"])
        self.assertEqual(a.send("label:crew", "2", ttl=600)["delivered"], ["b"])
        self.assertEqual(a.send("everybody", "3")["delivered"], ["b", "c"])
        first, *others = b.inbox()
        self.assertEqual((first["text"], first["from_name"]), ("the tests are red", "a"))
        self.assertEqual([message["text"] for message in others], ["2", "3"])
        self.assertEqual(b.inbox(), [])
        self.assertEqual(b.inbox(wait=0.01), [])
        self.assertEqual(b.ack(first)["acknowledged"], [sent["message"]])
        done = b.ack(sent["message"], others[0]["message"], 999_999)
        self.assertEqual(done["already"], [sent["message"]])
        self.assertEqual(done["unknown"], [999_999])
        with self.assertRaises(NotFoundError):
            a.send("nobody", "x")
        c.sign_off()

    def test_looking_reads_nothing(self) -> None:
        a, b = self.client("a"), self.client("b")
        sent = [a.send("b", str(number))["message"] for number in range(3)]
        with mock.patch("cotenant._operations.PAGE_MAX", 2):
            self.assertEqual([it["message"] for it in a.list_messages("b")], sent)
        self.assertEqual([it["text"] for it in b.inbox()], ["0", "1", "2"])
        self.assertEqual(a.list_messages("b"), [])
        self.assertEqual([it["state"] for it in b.list_messages("b", all=True)], ["read"] * 3)

    def test_who_waits_hears(self) -> None:
        a, b = self.client("a"), self.client("b")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(b.inbox, wait=PATIENCE)
            a.send("b", "x")
            self.assertEqual([message["text"] for message in waiting.result(PATIENCE)], ["x"])

    def test_what_came_when_nobody_waited_is_handed_out_later(self) -> None:
        a, b = self.client("a"), self.client("b")
        asked: List["Future[Any]"] = []
        send = b._core.send

        def interrupted(request: Any) -> Any:
            asked.append(send(request))
            return mock.Mock(result=mock.Mock(side_effect=KeyboardInterrupt), wraps=asked[-1])

        with mock.patch.object(b._core, "send", interrupted):
            with self.assertRaises(KeyboardInterrupt):
                b.inbox(wait=PATIENCE)
        a.send("b", "1")
        a.send("b", "2")
        asked[0].result(PATIENCE)
        texts: List[str] = []
        while len(texts) < 2:
            texts += [message["text"] for message in b.inbox(limit=1)]
        self.assertEqual(sorted(texts), ["1", "2"])
        self.assertEqual(b.inbox(), [])

    def test_a_barrier_opens_when_all_are_there(self) -> None:
        a, b = self.client("a"), self.client("b")
        self.assertFalse(a.barrier("tests-done", 2)["open"])
        with self.assertRaises(ConflictError):
            b.barrier("tests-done", 3)
        arrived = b.barrier("tests-done", 2, timeout=60, wait=PATIENCE)
        self.assertEqual((arrived["open"], arrived["generation"]), (True, 1))
        self.assertEqual(sorted(arrived["arrived"]), ["a", "b"])
        with self.assertRaises(BusyError):
            b.barrier("other", 2, wait=0.01)

    def test_a_barrier_lets_all_go_on_at_once(self) -> None:
        crew = [self.client(f"s{number}") for number in range(4)]
        passed = threading.Barrier(4)

        def arrive(client: Client) -> int:
            generation = client.barrier("go", 4, wait=PATIENCE)["generation"]
            passed.wait(PATIENCE)
            return generation

        with ThreadPoolExecutor(4) as pool:
            self.assertEqual(list(pool.map(arrive, crew)), [1] * 4)


class Governing(Place):
    def test_instructions_have_a_history(self) -> None:
        person, agent = self.client("ada", kind="human"), self.client("a", kind="claude")
        first = person.add_instruction(
            "Use port 27017", key="port", source="CLAUDE.md", alias="inst_1"
        )
        self.assertTrue(first["in_force"])
        again = person.add_instruction(
            "Use port 27017", key="port", source="CLAUDE.md", alias="inst_1"
        )
        self.assertTrue(again["already"])
        proposed = agent.add_instruction("Use port 1", scope="path:src")
        self.assertEqual((proposed["trust"], proposed["in_force"]), ("agent", False))
        second = person.add_instruction("Use port 27018", key="port", supersedes="inst_1")
        self.assertEqual([it["text"] for it in agent.instructions()], ["Use port 27018"])
        self.assertEqual([it["id"] for it in agent.instructions("src/x.py")], [second["id"]])
        history = agent.instructions(history=True)
        self.assertEqual(
            [(it["text"], it["name"], it["standing"]) for it in history],
            [
                ("Use port 27017", "ada", "superseded"),
                ("Use port 1", "a", "proposed"),
                ("Use port 27018", "ada", "in_force"),
            ],
        )
        with self.assertRaises(InvalidError):
            agent.instructions("src", history=True)

    def test_people_rule_on_instructions(self) -> None:
        person, agent = self.client("ada", kind="human"), self.client("a", kind="claude")
        one = agent.add_instruction("Use port 1", key="port")["id"]
        two = agent.add_instruction("Use port 2", key="port", alias="inst_2")["id"]
        self.assertEqual(agent.instructions(), [])
        for rule in (agent.approve_instruction, agent.revoke_instruction):
            with self.assertRaises(RightsError):
                rule(one)
        [conflict] = agent.instruction_conflicts()
        self.assertEqual(conflict["about"], {"key": "port"})
        self.assertEqual({it["id"] for it in conflict["entries"]}, {one, two})
        self.assertFalse(person.approve_instruction("inst_2")["already"])
        self.assertTrue(person.approve_instruction(two)["already"])
        self.assertEqual([it["id"] for it in agent.instructions()], [two])
        [conflict] = agent.instruction_conflicts()
        self.assertEqual(conflict["entries"][0]["id"], two, "the one that wins first")
        self.assertEqual(person.revoke_instruction(one, "not ours"), {"id": one, "already": False})
        self.assertEqual(agent.instruction_conflicts(), [])
        [history] = [it for it in agent.instructions(history=True) if it["id"] == one]
        self.assertEqual((history["standing"], history["reason"]), ("revoked", "not ours"))

    def test_metrics_are_per_session(self) -> None:
        a, b = self.client("a"), self.client("b")
        marks = {"half": ("tokens_input", 50), "all": ("tokens_input", 100)}
        report = {"tokens_input": 60, "messages": 8}
        crossed = a.report_metrics("script", counters=report, model="m", thresholds=marks)
        self.assertEqual(crossed, ["half"])
        again = a.report_metrics("script", counters=report, model="m", thresholds=marks)
        self.assertEqual(again, [], "once")
        b.report_metrics("script", counters={"tokens_input": 5}, gauges={"open_tasks": 1}, seq=1)
        b.report_metrics("script", gauges={"open_tasks": 9}, seq=0)
        b.report_metrics("script", gauges={"other": 1})
        shown = {one["name"]: one for one in a.metrics()["sessions"]}
        self.assertEqual(shown["a"]["counters"]["tokens_input"], 60)
        self.assertEqual(shown["b"]["gauges"], {"open_tasks": 1, "other": 1})
        total = a.metrics(by="user", all=True)["totals"]
        self.assertEqual([one["counters"]["tokens_input"] for one in total], [65])
        self.assertEqual(len(a.metrics("b")["sessions"]), 1)
