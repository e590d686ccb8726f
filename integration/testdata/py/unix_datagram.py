# A Unix datagram server on select(), which removes its path before it binds and
# at its end.
import os, re, select, signal, socket, sys, threading, time

VERSION = "@VERSION@"
path = sys.argv[1]


def end(*_):
    os.unlink(path)
    while threading.active_count() > 1:
        time.sleep(0.01)
    os._exit(0)


signal.signal(signal.SIGTERM, end)
if os.path.exists(path):
    os.unlink(path)
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind(path)


def answer(text, sender):
    slow = re.match(rb"ms=(\d+)", text)
    if slow:
        time.sleep(int(slow.group(1)) / 1000)
    server.sendto(b"pid=%d version=%s\n%s" % (os.getpid(), VERSION.encode(), text), sender)


while True:
    select.select([server], [], [])
    text, sender = server.recvfrom(4096)
    if text.startswith(b"ms="):
        threading.Thread(target=answer, args=(text, sender)).start()
    else:
        answer(text, sender)
