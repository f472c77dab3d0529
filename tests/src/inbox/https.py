"""A web server for the tests: takes each POST and keeps it as a file.

Usage: https.py DIRECTORY. The directory has cert.pem and key.pem. Says its port on the first line of its output.
"""

import http.server
import os
import ssl
import sys


class Kept(http.server.BaseHTTPRequestHandler):
    count = 0

    def do_POST(self):
        Kept.count += 1
        body = self.rfile.read(int(self.headers["content-length"]))
        with open(os.path.join(sys.argv[1], f"{Kept.count}.eml"), "wb") as file:
            file.write(f"{self.path}\r\n".encode() + body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(sys.argv[1], "cert.pem"), os.path.join(sys.argv[1], "key.pem"))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Kept)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
