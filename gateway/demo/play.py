"""The demonstration itself: raises the curtain, seeds one job for every end there is, and lets
people order until the gateway drains.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import httpx

from gateway import server
from gateway.app import Gateway
from gateway.core.job import Event, IllegalEvent, State
from gateway.demo import mishaps, pages
from gateway.demo.people import ANNA, BO, CHEN, DORA, EVE, PARTS, RENDERER, Part, Person, Tally
from gateway.demo.saved import count_saved
from gateway.demo.stage import Stage

LOOK_SECONDS = 0.1
BEAT_SECONDS = 2.0
"""Between two orders of one person: lively, and far from a day's budget for an hour or two."""
RECKLESS_SECONDS = 2.0
"""More than the failures that one user may cause."""
REPORT_SECONDS = 10.0
FIRST_PROMPT = "a gondola at sunset"
_SCENES = ("a paper boat", "an owl", "rain on a tin roof", "a tram", "a lighthouse", "two kites")

Say = Callable[[str], None]


async def run(stage: Stage, say: Say, *, chaos: bool, seconds: float | None) -> None:
    """Play until a signal, or for so many seconds; what fails on the stage ends it, and is raised.

    `SettingsRefused` where the port cannot be had.
    """
    began = time.monotonic()
    acts: list[asyncio.Task[None]] = []

    async def ready(gateway: Gateway, url: str) -> None:
        show = _Show(gateway, url, stage, say, began, is_chaos=chaos)
        act = asyncio.create_task(show.play())
        act.add_done_callback(lambda _: signal.raise_signal(signal.SIGTERM))
        acts.append(act)
        if seconds is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, signal.raise_signal, signal.SIGTERM)

    say("Starting a simulated Venice and a gateway before it …")
    await server.serve(stage.settings, simulator=stage.simulator, ready=ready)
    for act in acts:
        await act


class _Show:
    """One performance."""

    def __init__(
        self, gateway: Gateway, url: str, stage: Stage, say: Say, began: float, *, is_chaos: bool
    ) -> None:
        self._services = gateway.services
        self._url = url
        self._stage = stage
        self._say = say
        self._began = began
        self._is_chaos = is_chaos
        self._tally = Tally()
        self._prompts = (
            f"{scene}, take {take}" for take in itertools.count(1) for scene in _SCENES
        )
        self._admin_key = stage.admin_key_file.read_text("ascii").strip()
        self._simulator_url = gateway.upstream_url.removesuffix("/api/v1")

    async def play(self) -> None:
        """Play until the gateway drains; then everybody leaves at once."""
        playing = asyncio.create_task(self._perform())
        while not self._services.spending.is_draining and not playing.done():
            await asyncio.wait([playing], timeout=LOOK_SECONDS)
        playing.cancel()
        await asyncio.wait([playing])
        # Doors that close while somebody is in them are no mistake; anything else is.
        if not playing.cancelled() and not self._services.spending.is_draining:
            playing.result()

    async def _perform(self) -> None:
        async with AsyncExitStack() as stack:
            self._admin = await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=f"{self._url}/gateway/v1/admin",
                    headers={"authorization": f"Bearer {self._admin_key}"},
                    trust_env=False,
                )
            )
            self._truth = await stack.enter_async_context(
                httpx.AsyncClient(base_url=self._simulator_url, trust_env=False)
            )
            rules = mishaps.scripted()
            (await self._truth.put("/_faults", json=rules)).raise_for_status()
            self._people = {part.name: await self._hire(part, stack) for part in PARTS}
            self._say(
                pages.welcome(
                    self._url,
                    self._simulator_url,
                    self._stage,
                    {person.part: person.key for person in self._people.values()},
                )
            )
            async with asyncio.TaskGroup() as group:
                await self._first_video(group)
                self._cast(group)

    async def _hire(self, part: Part, stack: AsyncExitStack) -> Person:
        """A user with a key, as administration makes them."""
        made = await self._admin.post("/users", json={"name": part.name, "team": part.team})
        made.raise_for_status()
        made = await self._admin.post("/keys", json={"user": part.name, **part.key})
        made.raise_for_status()
        person = Person(part, made.json()["key"], self._url, self._tally)
        stack.push_async_callback(person.close)
        return person

    async def _first_video(self, group: asyncio.TaskGroup) -> None:
        """A video to look at, before the stage is full."""
        ordered = await self._people[ANNA.name].order(FIRST_PROMPT)
        ordered.raise_for_status()
        group.create_task(self._show_first(ordered.json()["queue_id"]))

    async def _show_first(self, queue_id: str) -> None:
        await self._people[ANNA.name].watch(queue_id, completes=False)
        job = await self._services.book.find(queue_id)
        assert job is not None, "a job that was watched to its end is known"
        seconds = time.monotonic() - self._began
        self._say(pages.first_video(seconds, self._services.links.of(job), self._url, queue_id))

    def _cast(self, group: asyncio.TaskGroup) -> None:
        acts: list[Coroutine[Any, Any, None]] = [
            self._nearly_spend(),
            self._one_of_each(),
            self._slow_orders(),
            self._reckless(),
            self._live(self._people[ANNA.name], group),
            self._live(self._people[CHEN.name], group),
            self._live(self._people[RENDERER.name], group),
        ]
        if self._is_chaos:
            acts += [self._unleash(), self._report()]
        for act in acts:
            group.create_task(act)

    async def _nearly_spend(self) -> None:
        bo = self._people[BO.name]
        for take in range(1, 5):
            await bo.order(f"homework, take {take}")

    async def _live(self, person: Person, group: asyncio.TaskGroup) -> None:
        """Order after order; every other video is completed, the others stay in the store."""
        for number in itertools.count():
            prompt = f"{next(self._prompts)}, by {person.part.name}"
            hasty = 0.0 if self._is_chaos else None
            if self._is_chaos and number % 4 == 1:
                prompt, hasty = f"{prompt} {mishaps.IMPATIENT}", mishaps.HANG_UP_SECONDS / 3
            if not person.is_busy:
                group.create_task(person.work(prompt, completes=number % 2 == 0, hasty=hasty))
            await asyncio.sleep(BEAT_SECONDS)

    async def _slow_orders(self) -> None:
        """Somebody is always to be seen in `sending`."""
        dora = self._people[DORA.name]
        for take in itertools.count(1):
            await dora.order(f"a snail, take {take} {mishaps.SLOW}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _reckless(self) -> None:
        """More refused orders than one user may cause: the later ones wait, and give up."""
        eve = self._people[EVE.name]
        async with asyncio.TaskGroup() as group:
            for take in itertools.count(1):
                if not eve.is_busy:
                    prompt = f"a forbidden thing, take {take} {mishaps.REFUSED}"
                    group.create_task(eve.work(prompt, completes=False))
                await asyncio.sleep(RECKLESS_SECONDS)

    async def _one_of_each(self) -> None:
        """Dora's orders end in every way that jobs can end."""
        dora = self._people[DORA.name]
        await asyncio.gather(
            self._doubt(dora, "held", None),
            self._doubt(dora, "billed", "settle"),
            self._doubt(dora, "not billed", "release"),
            self._evict(dora),
            dora.work("a boat that sinks (fails, refunded)", completes=False),
            dora.work("a boat that burns (fails, billed)", completes=False),
            dora.work("a boat in the fog (vanishes)", completes=False),
            dora.work(mishaps.STALLED_PROMPT, completes=False),
            dora.work(mishaps.BROKEN_PROMPT, completes=False),
        )

    async def _doubt(self, dora: Person, what: str, decision: str | None) -> None:
        """An order whose answer is lost, and what administration decides about it."""
        answer = await dora.order(f"a letter, {what} {mishaps.LOST_ANSWER}")
        if decision is not None and answer.status_code == 409:
            body = {"decision": decision, "why": f"the demonstration decides: {what}"}
            path = f"/jobs/{answer.json()['job']}/resolve"
            (await self._admin.post(path, json=body)).raise_for_status()

    async def _evict(self, dora: Person) -> None:
        """A stored video that the disk had no room for any more; Venice may still have it."""
        answer = await dora.order("a suitcase left behind")
        if answer.status_code != 200:
            return
        queue_id = answer.json()["queue_id"]
        await dora.watch(queue_id, completes=False)
        services = self._services
        job = await services.book.find(queue_id)
        if job is None or job.state is not State.STORED:
            return
        try:
            evicted = await services.ledger.advance(
                job.id, Event.EVICT, services.clock.now(), reason="room was needed"
            )
        except IllegalEvent:
            return
        services.book.put(evicted)

    async def _unleash(self) -> None:
        (await self._truth.post("/_faults", json=mishaps.storm())).raise_for_status()
        self._say(pages.STORM)

    async def _report(self) -> None:
        """What was saved, every ten seconds and at the end."""
        try:
            while True:
                await asyncio.sleep(REPORT_SECONDS)
                await self._tell_saved()
        except asyncio.CancelledError:
            await self._tell_saved()
            raise

    async def _tell_saved(self) -> None:
        self._say(str(await count_saved(self._services, self._truth, self._tally)))
