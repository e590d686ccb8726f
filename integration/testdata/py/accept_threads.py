# Threads that block in accept(), and a program that exits if that fails.
import os, socket, sys, threading

VERSION = "@VERSION@"

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(1024)


def serve():
    try:
        while True:
            conn, _ = listener.accept()
            while b"\r\n\r\n" not in conn.recv(4096):
                pass
            body = f"pid={os.getpid()} version={VERSION}\n"
            conn.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
            conn.close()
    except OSError as err:
        print("accept:", err, file=sys.stderr, flush=True)
        os._exit(3)


for _ in range(4):
    threading.Thread(target=serve).start()
