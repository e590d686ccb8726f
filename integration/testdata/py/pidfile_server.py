# A server that keeps a pidfile as daemons do: it does not start while the file
# names a process that lives, and it removes the file at its end.
import os
import signal
import socketserver
import sys
import http.server

VERSION = "@VERSION@"
PIDFILE = "@DIR@/server.pid"

try:
    with open(PIDFILE) as f:
        os.kill(int(f.read()), 0)
    sys.exit("another one runs: " + PIDFILE)
except (FileNotFoundError, ProcessLookupError, ValueError):
    pass
with open(PIDFILE, "w") as f:
    f.write("%d\n" % os.getpid())


def leave(*_):
    try:
        os.unlink(PIDFILE)
    except FileNotFoundError:
        pass
    os._exit(0)


signal.signal(signal.SIGTERM, leave)
if VERSION == "bad":
    leave()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("pid=%d version=%s\n" % (os.getpid(), VERSION)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", @PORT@), Handler).serve_forever()
