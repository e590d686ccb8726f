# An event loop, whose listener must not block: it is set so after its bind, and
# accept() is called until nobody is left.
import fcntl, os, select, socket, sys

VERSION = "@VERSION@"

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
flags = fcntl.fcntl(listener, fcntl.F_GETFL)
if flags & os.O_NONBLOCK:
    sys.exit("it does not block already")
fcntl.fcntl(listener, fcntl.F_SETFL, flags | os.O_NONBLOCK)
if not fcntl.fcntl(listener, fcntl.F_GETFL) & os.O_NONBLOCK:
    sys.exit("it blocks still")
listener.setblocking(True)
listener.setblocking(False)  # FIONBIO
listener.listen(1024)

conns = {listener.fileno(): listener}
poll = select.epoll()
poll.register(listener, select.EPOLLIN | select.EPOLLET)
while True:
    for fd, _ in poll.poll():
        if fd != listener.fileno():
            conn = conns.pop(fd)
            conn.recv(4096)
            body = f"pid={os.getpid()} version={VERSION}\n"
            conn.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
            conn.close()
            continue
        while True:
            try:
                conn, _ = listener.accept()
            except BlockingIOError:
                break
            conns[conn.fileno()] = conn
            poll.register(conn, select.EPOLLIN)
