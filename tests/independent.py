"""Whether a program that is none of ours (pymerkle) finds the root of an exported log that its checkpoint says."""
import base64
import os
import struct
import sys

from pymerkle import InmemoryTree


def entries(directory):
    for folder, _, names in sorted(os.walk(os.path.join(directory, "tile/entries"))):
        for name in names:
            number = int(folder.rsplit("/", 1)[1][:-2]) if folder.endswith(".p") else int(name)
            data = open(os.path.join(folder, name), "rb").read()
            found, at = [], 0
            while at < len(data):
                (length,) = struct.unpack_from(">H", data, at)
                found.append(data[at + 2:at + 2 + length])
                at += 2 + length
            yield number, found


tree = InmemoryTree(algorithm="sha256")
for _, bundle in sorted(entries(sys.argv[1])):
    for entry in bundle:
        tree.append_entry(entry)
_, size, root = open(os.path.join(sys.argv[1], "checkpoint"), encoding="utf-8").read().split("\n")[:3]
assert tree.get_size() == int(size), (tree.get_size(), size)
assert tree.get_state() == base64.b64decode(root), "another root"
proof = tree.prove_inclusion(300)
print("pymerkle agrees on", size, "entries; its proof has", len(proof.path), "hashes")
