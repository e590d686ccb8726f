"""Pretends to be an instance of hupt: forged_instance.py DIR NAME PATH PID…

It listens in DIR as hupt does, claims to have that name, to run the program PATH
and all those processes, and to have done whatever it is asked for. All that it is
told is written to standard output. With NAME "endless", its status never ends.
"""
import json
import os
import socket
import sys

directory, name, path = sys.argv[1:4]
pids = [int(p) for p in sys.argv[4:]] + [os.getpid()]
listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{directory}/{os.getpid()}.sock")
listener.listen(64)
started = "2026-01-01T00:00:00Z"
status = {
    "version": "0", "pid": pids[0], "name": name, "command": [path], "path": path, "dir": "/", "started": started, "state": "running",
    "restarts": 0, "rollbacks": 0, "cut": 0, "stops": {}, "injected": 0,
    "generations": [{"number": 1, "state": "serving", "pid": pids[0], "pids": pids, "started": started, "rss_bytes": 0, "connections": 0, "sockets": []}],
}
print("forged", flush=True)
while True:
    connection, _ = listener.accept()
    try:
        request = b""
        while b"\r\n\r\n" not in request and (more := connection.recv(65536)):
            request += more
        head, _, body = request.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                while len(body) < int(line[15:]) and (more := connection.recv(65536)):
                    body += more
        print(head.split(b"\r\n")[0].decode(), body.decode(), flush=True)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        if request.startswith(b"GET") and name == "endless":
            connection.sendall(b'{"name": "')
            while True:
                connection.sendall(b"x" * 65536)
        elif request.startswith(b"GET"):
            connection.sendall(json.dumps(status).encode())
        else:
            for kind in "serving", "confirmed", "drained":
                connection.sendall(json.dumps({"kind": kind, "type": kind, "generation": 2}).encode() + b"\n")
    except OSError:
        pass
    connection.close()
