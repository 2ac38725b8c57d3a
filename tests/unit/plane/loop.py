"""An event loop on a thread of its own, so that blocking clients can talk to what runs in it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


async def until(true: Callable[[], bool]) -> None:
    """Turns the running loop until something is so that tells nobody."""
    while True:
        if true():
            return
        await asyncio.sleep(0)


class LoopThread:
    """Runs coroutines and calls there, and waits for them here."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def call(self, function: Callable[..., T], *arguments: object) -> T:
        async def there() -> T:
            return function(*arguments)

        return self.run(there())

    @contextmanager
    def entered(self, make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
        """Enters and leaves an asynchronous context in one task there, as anyio-style contexts need."""
        entered: asyncio.Future[T] = self.loop.create_future()
        leave = asyncio.Event()

        async def stay() -> None:
            async with make() as value:
                entered.set_result(value)
                await leave.wait()

        async def arrived() -> T:
            await asyncio.wait({task, entered}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            return entered.result()

        task = self.call(self.loop.create_task, stay())
        try:
            yield self.run(arrived())
        finally:
            self.loop.call_soon_threadsafe(leave.set)
            self.run(asyncio.wait_for(asyncio.shield(task), 10))

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()
