# One thread, select(), a blocking listener: the plainest server there is.
import os, re, select, socket, sys, time

VERSION = "@VERSION@"

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(128)

reading = {}  # socket -> bytes that came
due = []  # (when, socket)


def answer(conn):
    body = f"pid={os.getpid()} version={VERSION}\n"
    conn.sendall(
        f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{body}".encode()
    )
    conn.close()


while True:
    now = time.monotonic()
    for item in [d for d in due if d[0] <= now]:
        due.remove(item)
        answer(item[1])
    timeout = min((d[0] for d in due), default=None)
    if timeout is not None:
        timeout = max(0, timeout - time.monotonic())
    ready, _, _ = select.select([listener, *reading], [], [], timeout)
    for sock in ready:
        if sock is listener:
            conn, _ = listener.accept()
            reading[conn] = b""
            continue
        data = sock.recv(4096)
        if not data:
            del reading[sock]
            sock.close()
            continue
        reading[sock] += data
        if b"\r\n\r\n" not in reading[sock]:
            continue
        slow = re.search(rb"ms=(\d+)", reading.pop(sock))
        if slow:
            due.append((time.monotonic() + int(slow.group(1)) / 1000, sock))
        else:
            answer(sock)
