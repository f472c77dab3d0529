#!/usr/bin/env python3
"""A witness that shares no code with retentiond: c2sp.org/tlog-witness, add-checkpoint alone.

    witness.py DIRECTORY NAME    listens on 127.0.0.1, and says its port and its verifier key in one line

DIRECTORY/logs has the verifier keys of the logs that it knows, one a line, and is read anew for each request. What it has
cosigned is in DIRECTORY/state, replaced whole before it answers. Its key is made from its name: it is for tests.
"""
import base64
import hashlib
import http.server
import json
import os
import sys
import threading
import time

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

directory, name = sys.argv[1], sys.argv[2]
secret = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
public = b"\x04" + secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
number = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
one_at_a_time = threading.Lock()


class Refused(Exception):
    def __init__(self, status, body=b"", kind="text/plain"):
        self.status, self.body, self.kind = status, body, kind


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def continues(old, old_root, new, new_root, proof):
    """RFC 9162 section 2.1.4.2, for 0 < old < new."""
    if old & (old - 1) == 0:
        proof = [old_root] + proof
    if not proof:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn & 1 == 0 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == new_root


def signed_by_a_known_key(text, lines):
    origin = text.split("\n")[0]
    known = [key for key in open(os.path.join(directory, "logs")).read().split() if key.split("+")[0] == origin]
    if not known:
        raise Refused(404)
    for key in known:
        log, key_id, material = key.split("+", 2)
        material = base64.b64decode(material)
        for line in lines:
            _, by, signature = line.split(" ")
            signature = base64.b64decode(signature)
            if by == log and signature[:4].hex() == key_id:
                try:
                    return Ed25519PublicKey.from_public_bytes(material[1:]).verify(signature[4:], text.encode())
                except InvalidSignature:
                    pass
    raise Refused(403)


def add_checkpoint(body):
    head, text, signatures = body.split("\n\n")
    text += "\n"
    first, *proof = head.split("\n")
    word, old = first.split(" ")
    if word != "old" or old != str(int(old)) or len(proof) > 63 or not signatures.endswith("\n"):
        raise Refused(400)
    signed_by_a_known_key(text, signatures.splitlines())
    origin, size, root = text.split("\n")[:3]
    old, size, root = int(old), int(size), base64.b64decode(root)
    if old > size:
        raise Refused(400)
    path = os.path.join(directory, "state")
    state = json.load(open(path)) if os.path.exists(path) else {}
    has, has_root = state.get(origin, [0, ""])
    has_root = bytes.fromhex(has_root)
    if old != has:
        raise Refused(409, f"{has}\n".encode(), "text/x.tlog.size")
    proof = [base64.b64decode(line, validate=True) for line in proof]
    if old == size and old > 0:
        if root != has_root:
            raise Refused(409, f"{has}\n".encode(), "text/x.tlog.size")
        if proof:
            raise Refused(422)
    elif old == 0 and proof or old > 0 and not continues(old, has_root, size, root, proof):
        raise Refused(422)
    state[origin] = [size, root.hex()]
    with open(path + ".tmp", "w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".tmp", path)
    at = int(time.time())
    signature = secret.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
    line = base64.b64encode(number + at.to_bytes(8, "big") + signature).decode()
    return f"\N{EM DASH} {name} {line}\n".encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            if self.path != "/prefix/add-checkpoint":
                raise Refused(404)
            with one_at_a_time:
                status, kind, answer = 200, "text/plain; charset=utf-8", add_checkpoint(body.decode())
        except Refused as refused:
            status, kind, answer = refused.status, refused.kind, refused.body
        except (ValueError, IndexError):
            status, kind, answer = 400, "text/plain", b""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, f"{name}+{number.hex()}+{base64.b64encode(public).decode()}", flush=True)
server.serve_forever()
