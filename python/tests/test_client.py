"""What the client does, against the real program."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List

import cotenant
from cotenant import (
    BusyError,
    ConflictError,
    Error,
    FencedError,
    InvalidError,
    NotFoundError,
    SessionError,
    StoreError,
    TakenError,
)

from .place import PATIENCE, Place

VALUES: List[Any] = [
    None,
    True,
    0,
    -1,
    2**80,
    0.1,
    1e308,
    -0.0,
    "",
    "a\u2028b\x00c\t\"\\",
    "näher 漢字 🦀",
    [],
    {},
    {"b": [1, {"a": None}], "a": "\u0301"},
    [[[[[[]]]]]],
    "x" * 700_000,
]


class Data(Place):
    def test_values_come_back_exactly(self) -> None:
        client = self.client("a")
        for number, value in enumerate(VALUES):
            client.store_data("values", str(number), value)
            seen = client.retrieve_data("values", str(number))
            self.assertEqual((seen, type(seen), repr(seen)), (value, type(value), repr(value)))
        client.store_data("values", "order", {"b": 1, "a": 2})
        self.assertEqual(self.cotenant("data", "get", "values", "order"), '{"b": 1, "a": 2}\n')

    def test_a_value_with_line_breaks_is_read(self) -> None:
        client = self.client("a")
        self.cotenant("data", "set", "s", "k", '{"a":\n [1,\n\n 2]}', "--session", "a")
        self.assertEqual(client.retrieve_data("s", "k"), {"a": [1, 2]})

    def test_what_is_no_json_is_refused_here(self) -> None:
        client = self.client("a")
        for wrong in (float("nan"), float("inf"), "\ud800"):
            with self.assertRaises(ValueError):
                client.store_data("s", "k", wrong)
        with self.assertRaises(TypeError):
            client.store_data("s", "k", object())
        with self.assertRaises(InvalidError) as raised:
            client.store_data("s", "k", "x" * (7 << 20))
        self.assertEqual(raised.exception.code, "TOO_LARGE")
        with self.assertRaises(InvalidError) as raised:
            client.store_data("s", "k", "x" * (2 << 20))
        self.assertEqual(raised.exception.code, "TOO_LARGE")
        deep: List[Any] = []
        for _ in range(500):
            deep = [deep]
        with self.assertRaises(InvalidError):
            client.store_data("s", "k", deep)
        self.assertIsNone(client.retrieve_data("s", "k"))

    def test_the_plain_operations(self) -> None:
        client = self.client("a")
        self.assertIsNone(client.retrieve_data("s", "k"))
        self.assertIsNone(client.get("s", "k"))
        written = client.store_data("s", "k", [1])
        self.assertEqual(written["ver"], 1)
        entry = client.get("s", "k")
        assert entry is not None
        self.assertEqual((entry.value, entry.rev, entry.writer), ([1], written["rev"], "a"))
        self.assertEqual((entry.trust, entry.projected, entry.expires_in), ("agent", False, None))
        self.assertTrue(client.delete_data("s", "k"))
        self.assertFalse(client.delete_data("s", "k"))
        for number in range(1005):
            client.store_data(f"many/{number:04}", "k", number)
        self.assertEqual(len(client.list_scopes("many/*")), 1005)
        self.assertEqual(client.list_scopes("many/*4")[-1], "many/1004")
        self.assertEqual(client.delete_scope("many"), 0)
        self.assertEqual(client.delete_scope("many/0001"), 1)
        self.assertEqual(client.delete_scope("many", recursive=True), 1004)

    def test_a_write_expects_what_was_read(self) -> None:
        client = self.client("a")
        first = client.put("s", "k", 1, expect=0)
        with self.assertRaises(ConflictError) as raised:
            client.put("s", "k", 2, expect=0)
        error = raised.exception
        self.assertEqual((error.code, error.retryable), ("REV_MISMATCH", False))
        self.assertEqual((error.details["rev"], error.details["value"]), (first["rev"], 1))
        self.assertIn("data update", error.hint or "")
        self.assertNotIn("hint", error.details)
        second = client.put("s", "k", 2, expect=first["rev"])
        self.assertEqual(second.get("overwrote"), first["rev"])
        with self.assertRaises(ConflictError):
            client.delete_data("s", "k", expect=first["rev"])
        client.put("s", "t", 1, ttl=3600, ephemeral=True)
        entry = client.get("s", "t")
        assert entry is not None and entry.expires_in is not None
        self.assertTrue(3000 < entry.expires_in <= 3600 and entry.ephemeral)

    def test_updates(self) -> None:
        client = self.client("a")
        self.assertEqual(client.update_data("s", "n", "add", 5).get("value"), 5)
        self.assertEqual(client.update_data("s", "n", "add", -7).get("value"), -2)
        for number in range(5):
            client.update_data("s", "l", "append", number, keep=3)
        self.assertEqual(client.retrieve_data("s", "l"), [2, 3, 4])
        client.update_data("s", "o", "merge", {"a": {"b": 1}, "c": 2})
        client.update_data("s", "o", "merge", {"a": {"d": None}, "c": None})
        self.assertEqual(client.retrieve_data("s", "o"), {"a": {"b": 1}})
        rev = client.update_data("s", "c", "cas", "x", expect=0)["rev"]
        client.update_data("s", "c", "cas", "y", expect=rev)
        with self.assertRaises(ConflictError):
            client.update_data("s", "c", "cas", "z", expect=rev)
        for wrong in ({"op": "cas"}, {"op": "add", "expect": 1}, {"op": "multiply"}):
            with self.assertRaises(InvalidError):
                client.update_data("s", "n", value=1, **wrong)
        with self.assertRaises(InvalidError) as raised:
            client.update_data("s", "o", "add", 1)
        self.assertEqual(raised.exception.code, "TYPE_MISMATCH")


class Errors(Place):
    def test_every_code_of_the_contract_has_its_class(self) -> None:
        contract = Path(__file__).parents[2] / "docs" / "semantics.md"
        table = contract.read_text().split("## 14.")[1].split("## 15.")[0]
        rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
        self.assertGreater(len(rows), 15)
        for row in rows:
            for code in row.replace("`", "").replace(" ", "").split(","):
                kind = type(cotenant._errors.error_of({"code": code}))
                plain = code in ("GIT_FAILED", "SPAWN_FAILED", "INTERNAL")
                self.assertEqual(kind is Error, plain, code)

    def test_an_error_says_what_and_what_to_do(self) -> None:
        a, b = self.client("a"), self.client("b")
        a.claim("issue:15")
        with self.assertRaises(TakenError) as raised:
            b.claim("issue:15")
        error = raised.exception
        self.assertEqual((error.code, error.retryable), ("CLAIMED", True))
        self.assertEqual(error.details["holder"], "a")
        self.assertIn("`issue:15` is held by `a`", error.message)
        self.assertIn(f"[CLAIMED]\nhint: {error.hint}", str(error))
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(again), str(again)), (TakenError, str(error)))
        self.assertEqual(again.details, error.details)

    def test_nobody_cannot_write(self) -> None:
        self.client("a")
        code = """
        from cotenant import *
        try:
            store_data("s", "k", 1)
        except InvalidError as error:
            print(error.code, "sign-on" in error.hint)
        print(retrieve_data("s", "k"))
        """
        self.assertEqual(self.prints(code), ["INVALID True", "None"])

    def test_a_program_that_is_not_there_or_ends_is_told(self) -> None:
        options = {**self.options(), "binary": str(self.scratch / "none")}
        with self.assertRaises(StoreError) as raised:
            cotenant.Client(**options).status()
        self.assertEqual(raised.exception.code, "SPAWN_FAILED")
        for name, script in (("ends", "exit 3"), ("babbles", "echo babble; cat >/dev/null")):
            program = self.scratch / name
            program.write_text(f"#!/bin/sh\necho >>{self.scratch}/{name}.starts\n{script}\n")
            program.chmod(0o755)
            client = cotenant.Client(**{**self.options(), "binary": str(program)})
            with self.assertRaises(StoreError) as raised:
                client.status()
            self.assertEqual(raised.exception.code, "STORE_IO")
            starts = (self.scratch / f"{name}.starts").read_text()
            self.assertEqual(starts.count("\n"), 3)
            client.close()
        code = "from cotenant import *\ntry:\n    status()\nexcept StoreError as error:\n    print(error.hint)"
        del self.environment["COTENANT_BIN"]
        hint = self.prints(code, PATH="/usr/bin:/bin")
        self.assertEqual(hint, ["install it, or name it in COTENANT_BIN"])


class Sessions(Place):
    def test_the_current_session_is_changed_in_place(self) -> None:
        code = """
        from cotenant import *
        import cotenant
        session = current_session
        print(dict(session))
        print(sign_on(session_id="claude_1") is session, session["session_id"])
        sign_on("claude_2")
        print(session["session_id"], cotenant.current_session is session)
        print([scope for scope in list_scopes("session:*")])
        print(retrieve_data("session:claude_1", "status"))
        sign_off()
        print(dict(session), list_scopes("session:*"))
        print(sorted(name for name in dir() if name in cotenant.__all__) == cotenant.__all__)
        """
        expected = [
            "{}",
            "True claude_1",
            "claude_2 True",
            "['session:claude_1', 'session:claude_2']",
            "active",
            "{} ['session:claude_1']",
            "True",
        ]
        self.assertEqual(self.prints(code), expected)

    def test_a_session_ends_with_its_process_and_its_name_goes_on(self) -> None:
        code = """
        from cotenant import *
        signed = default_client().sign_on("a")
        print(signed["existing"], signed.get("relation"), len(signed.get("inherited", [])))
        claim("issue:15")
        """
        self.assertEqual(self.prints(code), ["False None 0"])
        self.assertEqual(self.prints(code), ["False resume 1"])

    def test_a_name_is_one_live_process_s(self) -> None:
        code = 'from cotenant import *\nsign_on("a")\nprint("here", flush=True)\ninput()'
        other = self.script(code)
        self.assertEqual(other.says(), "here")
        with self.assertRaises(TakenError) as raised:
            self.client("a")
        self.assertEqual(raised.exception.code, "AGENT_BUSY")
        other.hears("go")
        self.assertEqual(other.ends()[1:], ("", "0"))
        self.client("a")

    def test_leaving_the_client_signs_off(self) -> None:
        watcher = self.client("watcher")
        with cotenant.Client(**self.options()) as client:
            signed = client.sign_on("a", pid=os.getpid(), purpose="a test", labels=["x"])
            client.claim("issue:15")
            client.put("s", "k", 1, ephemeral=True)
        with self.assertRaises(StoreError):
            client.status()
        self.assertEqual(watcher.who("issue:15"), [])
        self.assertIsNone(watcher.retrieve_data("s", "k"))
        shown = watcher.call("session.show", session=signed["session"])["session"]
        self.assertEqual((shown["state"], shown["purpose"]), ("ended", "a test"))
        # One that was there before stays.
        with cotenant.Client(**self.options()) as client:
            client.sign_on("watcher", pid=os.getpid())
        self.assertEqual(watcher.call("session.heartbeat")["expires_in_ms"] > 0, True)

    def test_a_session_that_is_over_says_so(self) -> None:
        a, b = self.client("a"), self.client("b")
        session = a.session
        assert session is not None
        a.claim("issue:1")
        self.assertEqual(a.sign_off("done")["claims"], 1)
        self.assertIsNone(a.session)
        b._core.session = session
        with self.assertRaises((SessionError, cotenant.RightsError)):
            b.store_data("s", "k", 1)

    def test_it_is_heard_of_without_being_asked(self) -> None:
        client = self.client("a", ttl=15.0)
        signed = client.session
        assert signed is not None
        first = client.call("session.show", session="a")["session"]["last_heartbeat"]
        # Reads leave the heartbeat alone.
        later = first
        while later == first:
            self.assertEqual(list(client.watch(timeout=0.2)), [])
            later = client.call("session.show", session="a")["session"]["last_heartbeat"]
        self.assertGreater(later, first)

    def test_times_are_those_of_this_process_s_zone(self) -> None:
        code = """
        import datetime
        from cotenant import *
        sign_on("a")
        claim("issue:15")
        with lease("r"):
            for scope, key in [("session:a", "last_heartbeat"), ("issue:15", "claimed_at"), ("locks:r", "locked_at")]:
                seen = datetime.datetime.fromisoformat(retrieve_data(scope, key))
                print(abs(datetime.datetime.now() - seen) < datetime.timedelta(minutes=5))
        """
        for zone in ("UTC", "IST-5:30", "Pacific/Chatham"):
            self.assertEqual(self.prints(code, TZ=zone), ["True"] * 3, zone)


class Processes(Place):
    def test_one_process_serves_all_threads(self) -> None:
        client = self.client("a")
        one = client._core.connection.process_id

        def count(_: int) -> List[int]:
            return [client.update_data("s", "n", "add", 1)["value"] for _ in range(50)]

        with ThreadPoolExecutor(8) as pool:
            seen = sorted(number for numbers in pool.map(count, range(8)) for number in numbers)
        self.assertEqual(seen, list(range(1, 401)))
        self.assertEqual(client._core.connection.process_id, one)

    def test_a_slow_request_holds_up_no_other(self) -> None:
        a, b = self.client("a"), self.client("b")
        held = b.lease("r").acquire()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(a.lease("r", wait=PATIENCE).acquire)
            try:
                while len(a.call("lease.list")["holdings"]) < 2:
                    self.assertFalse(waiting.done())
                a.store_data("s", "k", 1)
                self.assertFalse(waiting.done())
            finally:
                held.release()
            waiting.result(PATIENCE).release()

    def test_killed_processes_are_replaced_and_nothing_is_done_twice(self) -> None:
        client = self.client("a")
        done = threading.Semaphore(0)

        def count(_: int) -> None:
            for _ in range(60):
                client.update_data("s", "n", "add", 1)
                client.log_event("step", "one more")
                done.release()

        killed = set()
        with ThreadPoolExecutor(6) as pool:
            counts = [pool.submit(count, number) for number in range(6)]
            for _ in range(10):
                # Each process does something, so that no request loses three in a row.
                for _ in range(30):
                    done.acquire()
                pid = client._core.connection.process_id
                if pid is not None:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            for one in counts:
                one.result()
        self.assertGreater(len(killed), 5)
        self.assertEqual(client.retrieve_data("s", "n"), 360)
        self.assertEqual(len(list(client.events(kind="user.step"))), 360)
        self.assertEqual(self.cotenant("doctor", "--deep").count("\n") > 0, True)

    def test_a_sign_on_whose_answer_was_lost_is_repeated(self) -> None:
        program = self.scratch / "deaf"
        # The first process carries the sign-on out, and dies with the answer.
        program.write_text(
            "#!/bin/sh\n"
            f"if mkdir {self.scratch}/first 2>/dev/null; then\n"
            '  IFS= read -r line; printf "%s\\n" "$line" | "$REAL" rpc >/dev/null; exit 9\n'
            "fi\n"
            'exec "$REAL" rpc\n'
        )
        program.chmod(0o755)
        environment = {**self.environment, "REAL": self.environment["COTENANT_BIN"]}
        client = cotenant.Client(
            **{**self.options(), "binary": str(program), "environment": environment}
        )
        self.addCleanup(client.close)
        signed = client.sign_on("a", pid=os.getpid())
        client.store_data("s", "k", 1)
        sessions = client.call("session.list", all=True)["sessions"]
        self.assertEqual([session["session"] for session in sessions], [signed["session"]])

    def test_after_a_fork_each_process_has_its_own(self) -> None:
        code = """
        import os, threading
        from cotenant import *
        import cotenant
        sign_on("a")
        client = default_client()
        parent = client._core.connection.process_id
        guard = lease("r")
        with guard:
            fence = guard.fence
            # Under way while the process forks: its answer is the parent's.
            slow = threading.Thread(target=lambda: list(watch(timeout=1.0)))
            slow.start()
            child = os.fork()
            if child == 0:
                store_data("s", "child", [current_session["session_id"], guard.fence == fence])
                assert client._core.connection.process_id not in (None, parent)
                with open(f"/proc/{client._core.connection.process_id}/stat") as stat:
                    assert int(stat.read().rsplit(")", 1)[1].split()[1]) == os.getpid()
                guard.release()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            slow.join()
            assert client._core.connection.process_id == parent
            store_data("s", "parent", 1)
            # The child left what was the parent's to it.
            print(call("lease.check", resource="r", fence=fence)["valid"])
        print(retrieve_data("s", "child"), len(call("lease.list")["holdings"]))
        """
        self.assertEqual(self.prints(code), ["True", "['a', True] 0"])

    def test_a_child_that_outlives_its_parent_leaves_no_process_behind(self) -> None:
        code = """
        import os, sys
        from cotenant import *
        sign_on("a")
        pid = default_client()._core.connection.process_id
        if os.fork() == 0:
            sys.stdout.flush()
            while os.path.exists(f"/proc/{pid}/cmdline") and os.getppid() != 1:
                pass
            with open("gone", "w") as file:
                file.write("gone")
            print("gone", flush=True)
            os._exit(0)
        os._exit(0)
        """
        self.assertEqual(self.prints(code), ["gone"])

    def test_no_secret_is_in_an_argument(self) -> None:
        client = cotenant.Client(**self.options(), store=f"sqlite:{self.scratch}/other/store.db")
        self.addCleanup(client.close)
        client.sign_on("a", pid=os.getpid())
        line = Path(f"/proc/{client._core.connection.process_id}/cmdline").read_bytes()
        self.assertEqual(line.split(b"\0")[1:], [b"rpc", b""])
        self.assertTrue((self.scratch / "other" / "store.db").exists())

    def test_what_is_forgotten_ends(self) -> None:
        client = cotenant.Client(**self.options())
        client.sign_on("a", pid=os.getpid())
        client._core.signed_off()
        process = client._core.connection._process
        assert process is not None
        del client
        process.process.wait(PATIENCE)


class Work(Place):
    def test_claims(self) -> None:
        a, b = self.client("a"), self.client("b")
        (self.top / "src").mkdir()
        claimed = a.claim("issue:15", "path:src/", "branch:x", intent="the API")
        self.assertEqual([item["item"] for item in claimed["items"]], ["issue:15", "path:src", "branch:x"])
        self.assertTrue(a.claim("issue:15")["items"][0]["already_held"])
        with self.assertRaises(TakenError):
            b.claim("path:src/api.py", "issue:1")
        self.assertEqual(b.who("issue:1"), [])
        self.assertEqual(b.who("path:src/api.py")[0]["name"], "a")
        self.assertEqual([held["note"] for held in b.who("issue:*")], ["the API"])
        self.assertEqual(len(b.who(session="a")), 3)
        overlap = b.claim("path:src/api.py", mode="advisory")["overlaps"][0]
        self.assertEqual(overlap["name"], "a")
        guard = (claimed["items"][1]["resource"], claimed["items"][1]["fence"])
        a.put("s", "k", 1, guards=[guard])
        self.assertEqual(a.unclaim("issue:15", "issue:2"), {"released": ["issue:15"], "not_held": ["issue:2"]})
        self.assertEqual(len(a.unclaim(all=True)["released"]), 2)
        with self.assertRaises(FencedError):
            a.put("s", "k", 2, guards=[guard])

    def test_a_claim_waits_for_its_turn(self) -> None:
        a, b = self.client("a"), self.client("b")
        a.claim("issue:15")
        with self.assertRaises(BusyError) as raised:
            b.claim("issue:15", wait=0.3)
        self.assertEqual((raised.exception.code, raised.exception.details["holder"]), ("TIMEOUT", "a"))
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(b.claim, "issue:15", wait=PATIENCE)
            a.unclaim("issue:15")
            self.assertEqual(waiting.result(PATIENCE)["items"][0]["item"], "issue:15")
        self.assertEqual(a.who("issue:15")[0]["name"], "b")

    def test_a_lease_is_one_session_s_at_a_time_and_guards_its_writes(self) -> None:
        a, b = self.client("a"), self.client("b")
        with a.lease("r", note="the migration") as lease:
            with self.assertRaises(TakenError) as raised:
                b.lease("r").acquire()
            self.assertEqual(raised.exception.details["holders"][0]["note"], "the migration")
            self.assertEqual(b.retrieve_data("locks:r", "locked_by"), "a")
            a.put("s", "k", 1, guards=[lease])
            fence = lease.fence
        with self.assertRaises(FencedError):
            lease.fence
        with b.lease("r", wait=PATIENCE) as lease:
            self.assertGreater(lease.fence, fence)
            with self.assertRaises(FencedError):
                a.put("s", "k", 2, guards=[("r", fence)])
        with self.assertRaises(ZeroDivisionError):
            with b.lease("r"):
                1 / 0
        self.assertEqual(b.call("lease.list")["holdings"], [])

    def test_a_lease_is_renewed_while_it_is_held(self) -> None:
        client = self.client("a")

        def left() -> int:
            return int(client.call("lease.list")["holdings"][0]["expires_in_ms"])

        with client.lease("r", ttl=5.0) as lease:
            before = least = left()
            while before <= least:
                least, before = before, left()
            self.assertFalse(lease.is_lost)

    def test_a_lease_that_was_taken_away_is_lost(self) -> None:
        client, person = self.client("a"), self.client("person", kind="human")
        with self.assertRaises(FencedError):
            with client.lease("r", ttl=5.0) as lease:
                person.call("lease.break", resource="r", reason="stuck")
                self.assertTrue(lease.lost.wait(PATIENCE))
                self.assertTrue(lease.is_lost)
                with self.assertRaises(FencedError):
                    client.put("s", "k", 1, guards=[lease])
        self.assertIsNone(client.retrieve_data("s", "k"))

    def test_a_lease_that_cannot_be_renewed_counts_as_lost_before_it_is(self) -> None:
        client, other = self.client("a"), self.client("b")
        lease = client.lease("r", ttl=5.0).acquire()
        fence = lease.fence
        pid = client._core.connection.process_id
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            self.assertTrue(lease.lost.wait(PATIENCE))
            with self.assertRaises(FencedError):
                lease.fence
            held = other.call("lease.check", resource="r", fence=fence)
            self.assertTrue(held["valid"], "the store still keeps it from others")
        finally:
            os.kill(pid, signal.SIGCONT)
        lease.release()

    def test_a_lease_belongs_to_the_session_that_took_it(self) -> None:
        client = self.client("a")
        lease = client.lease("r").acquire()
        client.sign_on("b", pid=os.getpid())
        lease.release()
        with client.lease("r"):
            client.sign_off()
        client.sign_on("a", pid=os.getpid())
        self.assertEqual(client.call("lease.list")["holdings"], [])

    def test_the_log_is_read_and_watched(self) -> None:
        a, b = self.client("a"), self.client("b")
        watched = b.watch(kind="user.*", timeout=PATIENCE)
        seqs = [a.log_event("step done!", f"step {number}", {"n": number}) for number in range(5)]
        seen = [next(watched) for _ in range(5)]
        self.assertEqual([event.seq for event in seen], seqs)
        self.assertEqual((seen[2].name, seen[2].kind), ("a", "user.step_done_"))
        self.assertEqual(seen[2].payload, {"type": "step done!", "message": "step 2", "metadata": {"n": 2}})
        rest = list(b.events(seen[2].cursor, kind="user.*"))
        self.assertEqual(rest, seen[3:])
        self.assertEqual(list(b.events(last=2, kind="user.*")), seen[3:])
        self.assertEqual(list(b.watch(seen[2].cursor, kind="user.*", timeout=0.0)), seen[3:])
        session = a.session
        assert session is not None
        self.assertEqual(len(list(b.events(session=session["session"]))), 6)
        self.assertEqual(list(b.watch(timeout=0.0)), [])
        with self.assertRaises(cotenant.CursorError):
            list(b.events(seen[0].cursor.split(".")[0] + ".999.00000000"))
        with self.assertRaises(InvalidError):
            a.log_event("!", "no word")

    def test_everything_else_is_called_by_name(self) -> None:
        client = self.client("a")
        done = client.call(
            "data.txn",
            compares=[{"scope": "s", "key": "k", "exists": False}],
            ops=[{"put": {"scope": "s", "key": "k", "value": 1}}],
        )
        self.assertEqual(done["results"][0]["put"]["ver"], 1)
        first = client.call("data.put", scope="s", key="l", value=1, request_id="x1")
        self.assertEqual(client.call("data.put", scope="s", key="l", value=1, request_id="x1"), first)
        with self.assertRaises(ConflictError):
            client.call("data.put", scope="s", key="l", value=2, request_id="x1")
        with self.assertRaises(InvalidError):
            client.call("data.gte", scope="s", key="l")
        with self.assertRaises(NotFoundError):
            client.call("data.get", scope="s", key="absent")
        self.assertEqual(client.status()["sessions"][0]["name"], "a")


class Package(Place):
    def test_its_version_is_the_program_s(self) -> None:
        python = Path(__file__).parents[1]
        versions = {
            line.split('"')[1]
            for file in (python / "pyproject.toml", python.parent / "Cargo.toml")
            for line in file.read_text().splitlines()
            if line.startswith("version =")
        }
        self.assertEqual(versions, {cotenant.__version__})
        self.assertTrue((python / "cotenant" / "py.typed").exists())
        self.assertEqual(cotenant.__all__, sorted(cotenant.__all__))
        for name in cotenant.__all__:
            self.assertTrue(getattr(cotenant, name) is not None, name)

    def test_the_event_loop_s_client_has_every_method(self) -> None:
        from cotenant import aio

        def public(kind: type) -> Dict[str, object]:
            return {name: value for name, value in vars(kind).items() if not name.startswith("_")}

        self.assertEqual(set(public(cotenant.Client)), set(public(aio.Client)))

    def test_the_tests_are_not_packed(self) -> None:
        python = Path(__file__).parents[1]
        self.assertIn('packages = ["cotenant"]', (python / "pyproject.toml").read_text())
        self.assertIn("prune tests", (python / "MANIFEST.in").read_text())
