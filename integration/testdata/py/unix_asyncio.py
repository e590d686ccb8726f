# asyncio on a Unix socket, which it removes before it binds and, here, at its end.
import asyncio, os, re, signal, sys

VERSION = "@VERSION@"
path = sys.argv[1]


async def answer(reader, writer):
    try:
        request = await reader.readuntil(b"\r\n\r\n")
        slow = re.search(rb"ms=(\d+)", request)
        if slow:
            await asyncio.sleep(int(slow.group(1)) / 1000)
        body = f"pid={os.getpid()} version={VERSION}\n"
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main():
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    server = await asyncio.start_unix_server(answer, path, backlog=100)
    await end.wait()
    server.close()
    if os.path.exists(path):
        os.unlink(path)


asyncio.run(main())
