"""A port of this machine that leads analysts' clients to the embedded Postgres, which has a socket only.

The bytes pass as they are: Postgres asks for the password (scram), and every wall stays where it is.
"""

import asyncio
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from db.embedded.host import SOCKET_NAME
from db.private import private_folder

HOST = "127.0.0.1"
CHUNK_BYTES = 2**16


@contextmanager
def analyst_port(home: Path, socket_folder: Path, port: int) -> Iterator[None]:
    """Lead connections to the port to the server with this socket until the block ends. Raises OSError."""
    private_folder(home)
    with _port_file(home).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel frees it when this process ends, however it does
        file.truncate(0)
        file.write(f"{port}\n")
        file.flush()
        with _listening(socket_folder / SOCKET_NAME, port):
            yield


def open_port(home: Path) -> int | None:
    """Return the port that a running `wordwave up` of this home leads to its Postgres, or None."""
    with suppress(FileNotFoundError), _port_file(home).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.readline())
    return None


@contextmanager
def _listening(socket: Path, port: int) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True, name="analyst port")
    thread.start()
    try:
        listen = asyncio.start_server(lambda *client: _lead(socket, *client), HOST, port)
        server = asyncio.run_coroutine_threadsafe(listen, loop).result()
        try:
            yield
        finally:
            asyncio.run_coroutine_threadsafe(_end(server), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """Stop listening, and end the connections."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _lead(socket: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            answers, questions = await asyncio.open_unix_connection(socket)
            await asyncio.gather(_copy(reader, questions), _copy(answers, writer))
    finally:
        writer.close()  # also where the server does not answer


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                target.write(data)
                await target.drain()
    finally:
        target.close()


def _port_file(home: Path) -> Path:
    return home / "analyst-port"
