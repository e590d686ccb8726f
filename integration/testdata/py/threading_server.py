# http.server with a thread for each connection, HTTP/1.0 or 1.1 by argument.
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

VERSION = "@VERSION@"


class Handler(BaseHTTPRequestHandler):
    protocol_version = sys.argv[2]

    def do_GET(self):
        ms = parse_qs(urlparse(self.path).query).get("ms")
        if ms:
            time.sleep(int(ms[0]) / 1000)
        body = f"pid={os.getpid()} version={VERSION}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    # http.server's own 5 is less than the clients that connect at once: the
    # kernel would drop their SYNs with or without hupt.
    request_queue_size = 128
    daemon_threads = True


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
