"""The keys in a `keys` directory of a store, opened with the root key as docs/formats.md says and with no code of ours.

    data_keys.py KEYS ROOT_KEY

Prints a line for each: `wrapping SEGMENT KEY` and `data NUMBER KEY`, keys in hexadecimal digits.
"""
import os
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SLOTS, ENTRY = 1 << 20, 72


def entries(path):
    with open(path, "rb") as file:
        data = file.read()
    magic, version, _, count, generation = struct.unpack_from("<8sHHIQ", data)
    assert magic == b"rtd-wrap" and version == 1
    return generation, [data[32 + ENTRY * n:32 + ENTRY * (n + 1)] for n in range(count)]


def main(keys, root_key):
    root = open(root_key, "rb").read()
    root = root if len(root) == 32 else bytes.fromhex(root.decode().strip())
    newest = max((entries(os.path.join(keys, name)) for name in ("wrapping.a", "wrapping.b")), key=lambda read: read[0])
    for entry in newest[1]:
        purpose, segment, epoch = struct.unpack_from("<B3xII", entry)
        about = b"retentiond wrapping key v1" + struct.pack("<BII", purpose, segment, epoch)
        key = AESGCM(root).decrypt(entry[12:24], entry[24:], about)
        if purpose != 2:
            continue
        print("wrapping", segment, key.hex())
        opener = AESGCM(key)
        with open(os.path.join(keys, f"slots.{segment:04}"), "rb") as file:
            for number, slot in enumerate(iter(lambda: file.read(64), b""), segment * SLOTS):
                if len(slot) == 64 and slot[0] == 1:
                    nonce = struct.pack("<QI", number, struct.unpack_from("<I", slot, 4)[0])
                    print("data", number, opener.decrypt(nonce, slot[12:60], b"retentiond data key v1").hex())


main(*sys.argv[1:])
