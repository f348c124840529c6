"""The client for event loops, against the real program."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Awaitable, Callable, List

import cotenant
from cotenant import BusyError, FencedError, TakenError, aio

from .place import PATIENCE, Place


class Loop(Place):
    def run_in_loop(self, work: Callable[..., Awaitable[None]], *names: str) -> None:
        async def run() -> None:
            clients = [aio.Client(**self.options()) for _ in names]
            for client, name in zip(clients, names):
                await client.sign_on(name, pid=os.getpid())
            try:
                await asyncio.wait_for(work(*clients), PATIENCE)
            finally:
                for client in clients:
                    await client.close()

        asyncio.run(run())

    def test_requests_go_side_by_side(self) -> None:
        async def work(a: aio.Client) -> None:
            counts = await asyncio.gather(*(a.update_data("s", "n", "add", 1) for _ in range(200)))
            self.assertEqual(sorted(count["value"] for count in counts), list(range(1, 201)))
            self.assertEqual(await a.retrieve_data("s", "n"), 200)

        self.run_in_loop(work, "a")

    def test_the_same_operations(self) -> None:
        async def work(a: aio.Client, b: aio.Client) -> None:
            await a.store_data("s", "k", {"x": 1})
            entry = await b.get("s", "k")
            assert entry is not None
            await b.put("s", "k", 2, expect=entry.rev)
            self.assertEqual(await a.list_scopes("s*"), ["s"])
            self.assertTrue(await a.delete_data("s", "k"))
            self.assertEqual(await a.delete_scope("s"), 0)
            await a.claim("issue:15")
            with self.assertRaises(TakenError):
                await b.claim("issue:15")
            with self.assertRaises(BusyError):
                await b.claim("issue:15", wait=0.2)
            waiting = asyncio.ensure_future(b.claim("issue:15", wait=PATIENCE))
            await a.unclaim("issue:15")
            await waiting
            self.assertEqual((await a.who("issue:15"))[0]["name"], "b")
            self.assertEqual((await a.status())["sessions_live"], 2)
            self.assertGreater(await a.heartbeat(), 0)
            self.assertEqual((await a.call("event.head"))["seq"] > 0, True)
            await b.sign_off()
            self.assertIsNone(b.session)

        self.run_in_loop(work, "a", "b")

    def test_leases(self) -> None:
        async def work(a: aio.Client, b: aio.Client) -> None:
            inside: List[str] = []

            async def one(client: aio.Client, name: str) -> None:
                async with client.lease("r", wait=PATIENCE) as lease:
                    inside.append(name)
                    await client.put("s", name, 1, guards=[lease])
                    self.assertEqual(inside, [name])
                    inside.remove(name)

            await asyncio.gather(*(one(c, n) for c, n in ((a, "a"), (b, "b")) for _ in range(1)))
            person = aio.Client(**self.options())
            await person.sign_on("person", kind="human", pid=os.getpid())
            with self.assertRaises(FencedError):
                async with a.lease("r", ttl=5.0) as lease:
                    await person.call("lease.break", resource="r", reason="stuck")
                    assert lease._keeper is not None
                    await lease._keeper
                    self.assertTrue(lease.is_lost)
            await person.close()

        self.run_in_loop(work, "a", "b")

    def test_the_log_is_watched(self) -> None:
        async def work(a: aio.Client, b: aio.Client) -> None:
            cursor = (await a.call("event.head"))["cursor"]

            async def watch() -> List[Any]:
                seen = []
                async for event in b.watch(cursor, kind="user.*", timeout=PATIENCE):
                    seen.append(event.payload["message"])
                    if len(seen) == 3:
                        break
                return seen

            watching = asyncio.ensure_future(watch())
            for message in ("one", "two", "three"):
                await a.log_event("note", message)
            self.assertEqual(await watching, ["one", "two", "three"])
            self.assertEqual(len([event async for event in a.events(kind="user.*")]), 3)
            last = [event async for event in a.events(last=1, kind="user.*")]
            self.assertEqual(last[0].payload["message"], "three")
            self.assertEqual([event async for event in a.watch(timeout=0.0)], [])

        self.run_in_loop(work, "a", "b")

    def test_who_is_cancelled_waits_no_longer(self) -> None:
        async def work(a: aio.Client, b: aio.Client) -> None:
            await a.claim("issue:15")
            waiting = asyncio.ensure_future(b.claim("issue:15", wait=PATIENCE))
            while not waiting.done():
                await b.status()
                waiting.cancel()
                await asyncio.wait([waiting], timeout=1.0)
            self.assertTrue(waiting.cancelled())
            await b.store_data("s", "k", 1)

        self.run_in_loop(work, "a", "b")

    def test_a_lease_that_nobody_waits_for_any_more_is_given_back(self) -> None:
        async def work(a: aio.Client, b: aio.Client, c: aio.Client) -> None:
            held = await b.lease("r").acquire()
            waiting = asyncio.ensure_future(a.lease("r", ttl=3600.0, wait=PATIENCE).acquire())
            while len((await b.call("lease.list"))["holdings"]) < 2:
                self.assertFalse(waiting.done())
            waiting.cancel()
            await asyncio.wait([waiting])
            self.assertTrue(waiting.cancelled())
            await held.release()
            async with c.lease("r", wait=PATIENCE / 2):
                pass

        self.run_in_loop(work, "a", "b", "c")

    def test_leaving_the_client_signs_off(self) -> None:
        watcher = self.client("watcher")

        async def work() -> None:
            async with aio.Client(**self.options()) as client:
                await client.sign_on("a", pid=os.getpid())
                await client.claim("issue:15")
            with self.assertRaises(cotenant.StoreError):
                await client.status()

        asyncio.run(work())
        self.assertEqual(watcher.who("issue:15"), [])
