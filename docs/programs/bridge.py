"""asyncio and trio in one thread: asyncio runs the thread, and trio is its guest."""

import asyncio

import trio

PATIENCE = 5  # seconds that a coroutine of asyncio has to end when it is cancelled


async def run_trio(function, *args):
    """Do what `trio.run` does, in an asyncio program, and return what it returns.

    If the task that waits here is cancelled, so is the trio function; when this raises
    `CancelledError`, it has ended.
    """
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    scope = trio.CancelScope()
    token = None

    async def main():
        nonlocal token
        token = trio.lowlevel.current_trio_token()
        with scope:
            return await function(*args)

    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=ended.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    cancelled = None
    while not ended.done():
        try:
            await asyncio.wait([ended])
        except asyncio.CancelledError as error:
            cancelled = error
            if token is None:  # trio has not begun
                scope.cancel()
            else:
                token.run_sync_soon(scope.cancel)
    result = ended.result().unwrap()
    if cancelled is not None:
        raise cancelled
    return result


async def run_asyncio(coroutine):
    """Await a coroutine of asyncio in a trio function, and return what it returns.

    The trio function is one that `run_trio` runs. If it is cancelled here, so is the coroutine;
    when this raises `Cancelled`, it has ended.
    """
    token = trio.lowlevel.current_trio_token()
    task = asyncio.get_running_loop().create_task(coroutine)
    ended = trio.Event()
    task.add_done_callback(lambda _: token.run_sync_soon(ended.set))
    try:
        await ended.wait()
    except trio.Cancelled:
        task.cancel()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
            await ended.wait()
        raise
    return task.result()
