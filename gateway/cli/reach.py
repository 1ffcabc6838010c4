"""How a command reaches the doors of administration: over HTTP where a gateway runs, else the same
doors opened in this process on the database itself. A command never touches the database.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from gateway.cli.progress import Tell, working
from gateway.cli.show import note

if TYPE_CHECKING:
    import httpx

    from gateway.settings import Settings

T = TypeVar("T")
PREFIX = "/gateway/v1/admin"
PAGE = 1_000
"""As much as a list gives at once."""
CONNECT_SECONDS_MAX = 5.0
ANSWER_SECONDS_MAX = 600.0
"""Re-deriving a large ledger takes a while; everything else answers at once."""
LOCK_SECONDS_MAX = 10.0
"""How long a command waits for another command, or for a gateway that is starting."""
LOCK_LOOK_SECONDS = 0.05
WAITING = "Waiting for another command that works on the database"
_NEW_DATABASE = (
    "There was no database at {path}, so a new one was made. If you meant another one, set "
    "VGW_DATA_DIR, or run this where its gateway.toml is."
)
_NOBODY_HERE = "http://administration.invalid"
"""Where requests to this process are addressed: nothing is ever resolved or sent."""


class Refused(Exception):
    """The command could not be done; the text says why and what to do. Exit status 1."""


class Silent(Refused):
    """Nobody answers: what comes after it would be refused as well."""


class WrongUsage(Exception):
    """What was typed makes no sense; the text says what does. Exit status 2."""


class Doors:
    """The doors of administration, open while one command runs."""

    def __init__(self, runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def get(self, *path: str, **query: Any) -> Any:
        """Ask; parameters that are None are left out."""
        return self._ask("GET", path, query=query)

    def every(self, name: str, **query: Any) -> list[Any]:
        """All rows of a list, page after page."""
        found: list[Any] = []
        after: str | None = None
        while True:
            page = self.get(name, after=after, **query)
            found += page[name.replace("-", "_")]
            after = page["next"]
            if after is None:
                return found

    def newest(self, name: str, limit: int | None, tell: Tell, **query: Any) -> list[Any]:
        """Rows of a list that begins with the newest, page after page: so many, or all of them."""
        found: list[Any] = []
        before: str | int | None = None
        while limit is None or len(found) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(found))
            page = self.get(name, before=before, limit=size, **query)
            found += page[name]
            tell(f"{len(found):,}")
            before = page["next"]
            if before is None:
                break
        return found

    def post(self, *path: str, body: Mapping[str, Any]) -> Any:
        """Have something made or done; fields that are None are left out."""
        return self._ask("POST", path, body={k: v for k, v in body.items() if v is not None})

    def patch(self, *path: str, body: Mapping[str, Any]) -> Any:
        """Have something changed; None removes."""
        return self._ask("PATCH", path, body=body)

    def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        import httpx

        if wrong := [part for part in path if not part or "/" in part]:
            raise WrongUsage(f"{wrong[0]!r} is no name or id.")
        address = "/".join((PREFIX, *(quote(part, safe="") for part in path)))
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        request = self._client.build_request(method, address, params=asked, json=body)
        try:
            return _understood(self._runner.run(self._client.send(request)))
        except httpx.TransportError as error:
            raise Silent(_silent(str(self._client.base_url), str(error))) from error


@contextmanager
def administration(*, asks_venice: bool = False) -> Iterator[Doors]:
    """Reach a running gateway, or open its database; `Refused` where neither can be had.

    With `asks_venice` the keys to Venice are read too: where no gateway runs, the command itself
    may have to ask there.
    """
    from gateway.settings import load_settings

    settings = load_settings(os.environ, simulator=not asks_venice, serves=False)
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            yield Doors(runner, runner.run(_open(settings, stack)))
        finally:
            runner.run(stack.aclose())


async def _open(settings: Settings, stack: AsyncExitStack) -> httpx.AsyncClient:
    """A client of the doors, wherever they are."""
    if settings.url is not None:
        return await stack.enter_async_context(_remote(settings, settings.url, through_proxy=True))
    client = await _here(settings, stack)
    if client is not None:
        return client
    deadline = time.monotonic() + LOCK_SECONDS_MAX
    with working(WAITING):
        while time.monotonic() < deadline:
            await asyncio.sleep(LOCK_LOOK_SECONDS)
            client = await _here(settings, stack)
            if client is not None:
                return client
    raise Refused(
        f"Another process works on {settings.database_path} and does not say where it listens. "
        "Wait for it to end, or set VGW_URL to the address of your gateway."
    )


async def _here(settings: Settings, stack: AsyncExitStack) -> httpx.AsyncClient | None:
    """The doors of whoever has the database, or opened here; None where another command has it."""
    if url := _address_of_owner(settings.database_path):
        return await stack.enter_async_context(_remote(settings, url, through_proxy=False))
    return await _local(settings, stack)


def when_free(what: str, work: Callable[[], T]) -> T:
    """Do what needs the database to itself, waiting a while for another command to end.

    `DatabaseLocked` where none ends in time, and at once where a gateway has the database.
    """
    from gateway.ports import DatabaseLocked

    deadline = time.monotonic() + LOCK_SECONDS_MAX
    with working(what) as tell:
        while True:
            try:
                return work()
            except DatabaseLocked as error:
                if error.owner or time.monotonic() > deadline:
                    raise
            tell(WAITING.lower())
            time.sleep(LOCK_LOOK_SECONDS)


def _address_of_owner(database: Path) -> str | None:
    """Where the process that holds the database listens; None where none does, or none says.

    The address in a lock file that nobody holds is a crash's leftover: the admin key must not
    go there.
    """
    try:
        with database.with_name(database.name + ".lock").open("rb") as file:
            text = file.read(512).decode("utf-8", "replace").strip()
            if not text:
                return None
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return text
    except OSError:
        return None
    return None


def _remote(settings: Settings, url: str, *, through_proxy: bool) -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(
        base_url=url,
        headers={"authorization": f"Bearer {_admin_key(settings)}"},
        timeout=httpx.Timeout(ANSWER_SECONDS_MAX, connect=CONNECT_SECONDS_MAX),
        trust_env=through_proxy,
    )


def _admin_key(settings: Settings) -> str:
    """The key that is set, else the one a gateway on this machine made for itself."""
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value()
    path = settings.data_dir / "admin.key"
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise Refused(
            f"No admin key: VGW_ADMIN_KEY is not set, and {path} cannot be read ({error}). Set "
            "VGW_ADMIN_KEY, or VGW_DATA_DIR to the gateway's data directory."
        ) from error


async def _local(settings: Settings, stack: AsyncExitStack) -> httpx.AsyncClient | None:
    """The doors opened in this process; None while another process holds the database."""
    import httpx

    from gateway.app import administration_key, open_administration
    from gateway.logs import configure
    from gateway.ports import DatabaseLocked, DatabaseRefused

    configure(settings.log_format, "warning")
    is_new = not settings.database_path.exists()
    try:
        app = await stack.enter_async_context(open_administration(settings))
    except DatabaseLocked:
        return None
    except DatabaseRefused as error:
        raise Refused(str(error)) from error
    if is_new:
        note(_NEW_DATABASE.format(path=settings.database_path))
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=_NOBODY_HERE,
        headers={"authorization": f"Bearer {administration_key(settings)}"},
    )
    return await stack.enter_async_context(client)


def _understood(response: httpx.Response) -> Any:
    """What a door answered; its refusals raised with their reason."""
    try:
        answer = response.json()
        if response.is_success:
            return answer
        detail = str(answer["detail"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"What answers at {response.url.host} is no venice-gateway (status "
            f"{response.status_code}). Set VGW_URL to the address of your gateway."
        ) from error
    if response.status_code == 401:
        raise Refused(
            "The gateway refuses this admin key. Set VGW_ADMIN_KEY to the one it runs with, or "
            "VGW_DATA_DIR to its data directory."
        )
    raise WrongUsage(detail) if response.status_code == 400 else Refused(detail)


def _silent(url: str, why: str) -> str:
    return (
        f"The gateway at {url.rstrip('/')} does not answer ({why or 'no connection'}). If it is "
        "starting or stopping, try again; if others reach it by another address, set VGW_URL to "
        "that one."
    )
