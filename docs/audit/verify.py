#!/usr/bin/env python3
"""Checks what retentiond hands out about its log, with nothing of retentiond.

    verify.py KEY proof          a proof that an event stands in the log      (retentionctl audit prove)
    verify.py KEY growth.proof   a proof that the log has only grown          (retentionctl audit growth)
    verify.py KEY directory [checkpoint ...]                                  (retentionctl audit export)
             every entry and every checkpoint that you kept; not the hashes made from entries, and no other file
    verify.py KEY checkpoint     a signed checkpoint alone

KEY is a verifier key as `retentionctl audit keys` lists it; after a change of keys all, in one argument with spaces,
each old one with @ and the event behind it that replaced it, as it is listed: KEY@4711.
Ends with 0 when all holds, 20 when something does not, 2 when it cannot be read. Needs Python 3.9 and cryptography.

Specifications: RFC 6962 section 2.1 (the tree), c2sp.org/signed-note, /tlog-checkpoint, /tlog-proof, /tlog-tiles.
"""
import base64
import hashlib
import json
import os
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ENVELOPE_BYTES = 128
DoesNotHold = type("DoesNotHold", (Exception,), {})


def claim(holds, otherwise):
    if not holds:
        raise DoesNotHold(otherwise)


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def checkpoint(note, keys):
    """Returns name, size and root of a checkpoint that one of these keys of one log signed."""
    known = {}
    for key in keys.split():
        name, key_id, public = key.split("+", 2)
        public, _, replaced = public.partition("@")
        public = base64.b64decode(public, validate=True)
        number = hashlib.sha256(name.encode() + b"\n" + public).digest()[:4]
        claim(public[:1] == b"\x01" and len(public) == 33 and number.hex() == key_id, "this is no key of a signed note")
        known[name, number] = Ed25519PublicKey.from_public_bytes(public[1:]), int(replaced or 2**64)
    claim(len({name for name, _ in known}) == 1, "these are not keys of one log")
    text, _, signatures = note.rpartition("\n\n")
    for line in signatures.splitlines():
        dash, by, signature = line.split(" ")
        claim(dash == "\N{EM DASH}", "this is no signed checkpoint")
        signature = base64.b64decode(signature, validate=True)
        if (by, signature[:4]) in known:
            try:
                key, replaced = known[by, signature[:4]]
                key.verify(signature[4:], (text + "\n").encode())
            except InvalidSignature:
                raise DoesNotHold("the signature of the checkpoint is wrong") from None
            origin, size, root = text.split("\n")[:3]
            claim(origin == by, "the checkpoint is of another log")
            claim(size.isdecimal() and int(size) > 0, "a checkpoint covers one event at least")
            claim(int(size) < replaced, "the log had replaced the key by then that signed this checkpoint")
            return origin, int(size), base64.b64decode(root, validate=True)
    raise DoesNotHold("none of these keys signed the checkpoint")


def is_of(envelope, position):
    return len(envelope) == ENVELOPE_BYTES and struct.unpack_from("<Q", envelope, 8)[0] == position  # docs/formats.md


def included(leaf, number, size, path, root):
    """RFC 9162 section 2.1.3.2, for trees as RFC 6962 makes them."""
    claim(number < size, "the event is not among those that the checkpoint covers")
    node, last, result = number, size - 1, leaf
    for sibling in path:
        claim(last > 0, "the proof is too long")
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    claim(last == 0 and result == root, "the proof does not lead to the root of its checkpoint")


def grown(before, after, path):
    """RFC 9162 section 2.1.4.2."""
    (old_size, old_root), (new_size, new_root) = before, after
    claim(0 < old_size <= new_size, "a log grows from the smaller size to the larger one")
    if old_size == new_size:
        return claim(not path and old_root == new_root, "two checkpoints of one size have different roots")
    path = ([old_root] if old_size & (old_size - 1) == 0 else []) + path
    claim(path, "the proof is empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        claim(last > 0, "the proof is too long")
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    claim(last == 0 and old == old_root and new == new_root, "the later log does not begin with the earlier one")


def event_proof(text, key):
    head, note = text.split("\n\n", 1)
    lines = head.split("\n")
    claim(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1][:6] + lines[2][:6] == "extra index ", "this is no proof")
    envelope = base64.b64decode(lines[1][6:], validate=True)
    number = int(lines[2][6:])
    origin, size, root = checkpoint(note, key)
    included(leaf_hash(envelope), number, size, [base64.b64decode(line, validate=True) for line in lines[3:]], root)
    claim(is_of(envelope, number + 1), "the envelope is of another event")
    return f"event {number + 1} is one of the {size} events of the log {origin}"


def growth_proof(text, key):
    proof = json.loads(text)
    claim(proof["format"] == "retentiond growth proof 1", "this is no proof of growth")
    before, after = checkpoint(proof["before"], key), checkpoint(proof["after"], key)
    grown(before[1:], after[1:], [base64.b64decode(line, validate=True) for line in proof["path"]])
    return f"the log {after[0]} of {after[1]} events begins with its first {before[1]} as they were signed"


def bundle(directory, number, width):
    path, rest = f"{number % 1000:03}", number // 1000
    while rest:
        path, rest = f"x{rest % 1000:03}/{path}", rest // 1000
    path = os.path.join(directory, "tile/entries", path + ("" if width == 256 else f".p/{width}"))
    data = open(path, "rb").read()
    at, entries = 0, []
    for _ in range(width):
        (length,) = struct.unpack_from(">H", data, at)
        entries.append(data[at + 2:at + 2 + length])
        at += 2 + length
    claim(at == len(data), f"{path} has more entries than it should")
    return iter(entries)


def directory(path, key, kept):
    origin, size, root = checkpoint(open(os.path.join(path, "checkpoint"), encoding="utf-8").read(), key)
    others = {}
    for name in kept:
        _, other_size, other_root = checkpoint(open(name, encoding="utf-8").read(), key)
        claim(other_size <= size, f"{name} covers {other_size} events, and this log has {size}")
        claim(others.setdefault(other_size, (name, other_root))[1] == other_root, f"{name} contradicts another one")
    subtrees = []  # (size, root) of the complete subtrees, the largest first
    for number in range(size):
        if number % 256 == 0:
            entries = bundle(path, number // 256, min(256, size - number))
        entry = next(entries)
        claim(is_of(entry, number + 1), f"entry {number + 1} is another event")
        subtrees.append((1, leaf_hash(entry)))
        while len(subtrees) > 1 and subtrees[-2][0] == subtrees[-1][0]:
            right, left = subtrees.pop(), subtrees.pop()
            subtrees.append((2 * left[0], node_hash(left[1], right[1])))
        if number + 1 in others or number + 1 == size:
            result = subtrees[-1][1]
            for _, left in reversed(subtrees[:-1]):
                result = node_hash(left, result)
            name, expected = others.get(number + 1, (path, root))
            claim(result == expected, f"{name} is of another log than these entries")
            claim(number + 1 != size or result == root, "the entries are not the log that was signed")
    return f"all {size} events of the log {origin} are as they were signed; {len(kept)} kept checkpoints fit"


def main(key, path, *kept):
    if os.path.isdir(path):
        return directory(path, key, kept)
    text = open(path, encoding="utf-8").read()
    if text.startswith(("{", "c2sp.org/tlog-proof")):
        return (growth_proof if text.startswith("{") else event_proof)(text, key)
    origin, size, root = checkpoint(text, key)
    return f"the log {origin} had {size} events and the root {root.hex()}"


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        print(main(*sys.argv[1:]))
    except DoesNotHold as error:
        print(f"DOES NOT HOLD: {error}", file=sys.stderr)
        sys.exit(20)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
        print(f"cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(2)
