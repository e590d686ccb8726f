"""Answers each datagram with itself and who answered."""
import os
import socketserver
import sys


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(data + b" pid=%d version=@VERSION@" % os.getpid(), self.client_address)


socketserver.UDPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
