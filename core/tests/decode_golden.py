#!/usr/bin/env python3
"""Reads the golden vectors knowing only docs/formats.md, and prints one JSON object per vector that it knows.

Usage: decode_golden.py DIRECTORY. Python 3, standard library only. It shares no code with the program on purpose:
what it says must be what the program reads.
"""

import json
import pathlib
import struct
import sys

KINDS = "Contact Company Deal Activity Post Task Insight Template File Mailbox Intake Message AuditMonth".split()
ROLES = "Created Modified LastActivity Closed ContractEnd Received Occurred Deadline Granted Named".split()
STEPS = "Export VerifyExport Quarantine Purge VerifyAbsence Expunge DestroyKeys Redact Restrict".split()


def crc32c(data):
    """Castagnoli's polynomial, reflected."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Body:
    """A cursor over bincode's `standard()` encoding."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), "the body ends early"
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self):
        first = self.take(1)[0]
        assert first <= 253, "no 64-bit number"
        wide = {251: 2, 252: 4, 253: 8}.get(first)
        return first if wide is None else int.from_bytes(self.take(wide), "little")

    def signed(self):
        number = self.number()
        return number >> 1 if number % 2 == 0 else -(number + 1 >> 1)

    def boolean(self):
        byte = self.take(1)[0]
        assert byte <= 1, "no truth value"
        return byte == 1

    def text(self):
        return self.take(self.number()).decode("utf-8")

    def digest(self):
        return self.take(32).hex()

    def option(self, read):
        return read() if self.boolean() else None

    def list(self, read):
        return [read() for _ in range(self.number())]

    def one_of(self, names):
        return names[self.number()]


def entity_changed(b):
    def date():
        role = b.one_of(ROLES)
        return ["Named(%d)" % b.number() if role == "Named" else role, b.signed()]

    record = {
        "layout": b.number(),
        "mailbox": b.option(b.number),
        "visibility": b.one_of(["Unknown", "Private", "Shared"]),
        "external_id": b.text(),
        "other_ids": b.list(b.text),
        "dates": b.list(date),
        "links": b.list(lambda: [b.one_of(["Associated", "About"]), b.one_of(KINDS), b.text()]),
    }
    text, ends, nulls = b.text().encode("utf-8"), b.list(b.number), b.list(b.number)
    starts = [0] + ends
    cells = [text[start:end].decode("utf-8") for start, end in zip(starts, ends)]
    record["cells"] = [None if number in nulls else cell for number, cell in enumerate(cells)]
    return record


def plan_frozen(b):
    return {
        "plan": b.number(), "purpose": b.one_of(["Run", "Preview"]), "policy": b.text(), "policy_digest": b.digest(),
        "log_position": b.number(), "as_of": b.signed(), "population": b.number(), "items": b.number(),
        "kept": b.list(lambda: [b.text(), b.number()]),
        "tripped": b.list(lambda: [b.text(), b.number(), b.number()]),
        "needs_approval": b.boolean(), "approvals_needed": b.number(), "approval_valid_ms": b.number(),
        "digest": b.digest(),
    }  # fmt: skip


def key_destroyed(b):
    return {"run": b.number(), "saga": b.number(), "item": b.number()}


def step_succeeded(b):
    said = {"saga": b.number(), "step": b.one_of(STEPS), "compensation": b.boolean()}
    parts = {
        "Exported": [b.digest, b.signed, b.number, b.number],
        "ExportVerified": [b.digest, b.number],
        "Quarantined": [b.signed, b.number],
        "Purged": [b.number],
        "Absent": [b.number],
        "Undone": [],
        "Expunged": [b.number],
        "AbsentFromServer": [b.number, lambda: b.list(b.number)],
        "Redacted": [b.number],
        "Restricted": [b.number],
    }
    said["receipt"] = b.one_of(list(parts))
    for read in parts[said["receipt"]]:
        read()
    return said


def envelope(data):
    assert len(data) == 128 and struct.unpack_from("<I", data, 124)[0] == crc32c(data[:124]), "checksum"
    version, event_type, schema, sealed, actor, position, recorded, occurred = struct.unpack_from("<HHHBBQqq", data)
    uid, zero, cause, slot, length, month = struct.unpack_from("<IIQQII", data, 48)
    assert version == (2 if month else 1) and (zero, data[112:124]) == (0, bytes(12)), "version or reserved bytes"
    assert not month or sealed, "only what is sealed has texts apart"
    return {
        "event_type": event_type, "schema": schema, "sealed": sealed == 1, "position": position,
        "recorded_at": recorded, "occurred_at": occurred, "stream": data[32:48].hex(),
        "actor": ["daemon", "schedule", "uid:%d" % uid][actor], "cause": cause,
        "entity": None if slot == 2**64 - 1 else slot, "texts": month or None,
        "body_len": length, "body_digest": data[80:112].hex(),
    }  # fmt: skip


BODIES = {"002_EntityChanged_v1": entity_changed, "034_PlanFrozen_v1": plan_frozen,
          "062_StepSucceeded_v1": step_succeeded, "080_KeyDestroyed_v1": key_destroyed}  # fmt: skip


def main():
    directory = pathlib.Path(sys.argv[1])
    for name in ("envelope_v1.hex", "envelope_v2.hex"):
        for line in (directory / name).read_text().split():
            print(json.dumps(envelope(bytes.fromhex(line))))
    for name, read in BODIES.items():
        for line in (directory / (name + ".hex")).read_text().splitlines():
            body = Body(bytes.fromhex(line))
            print(json.dumps(read(body)))
            assert body.at == len(body.data), "bytes are left over in " + name


main()
