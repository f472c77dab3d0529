#!/usr/bin/env python3
"""Gathers what the fuzz targets start from: files of the repository as they are, and short texts where it has none.

usage: seeds.py DIRECTORY    (from the root of the repository)"""

import base64
import json
import sys
from pathlib import Path

out = Path(sys.argv[1])
numbers = {}


def seed(target, content):
    if isinstance(content, str):
        content = content.encode()
    number = numbers[target] = numbers.get(target, 0) + 1
    (out / target).mkdir(parents=True, exist_ok=True)
    (out / target / f"{number:03}").write_bytes(content)


def files(*patterns):
    found = [path for pattern in patterns for path in sorted(Path().glob(pattern))]
    assert found, f"nothing fits {patterns}"
    return found


def b64(length, byte=1):
    return base64.b64encode(bytes([byte]) * length).decode()


# Policies, mappings, configuration.
for path in files("policies/*.toml", "core/src/policy/document/golden/*.toml", "benches/src/policy/[!m]*.toml"):
    seed("policy_file", path.read_bytes())
for kind in range(4):
    for op in range(20):
        seed("policy_filter", bytes([kind, 0, 3, op % 13, op, 0, 4]) + b"2026" + bytes([2, 3, (op + 5) % 13, op, 3, 1]) + b"a")
for path in files("docs/examples/mapping-*.toml", "benches/src/policy/mapping.toml"):
    seed("mapping_file", path.read_bytes())
seed("config", Path("config.toml").read_bytes())
# What the shipped configuration shows as a comment.
seed("config", "\n".join(line.removeprefix("# ").removeprefix("#") if line.startswith("#") and "=" in line or line.startswith("#[") or line.startswith("# [") else line for line in Path("config.toml").read_text().split("\n")))

# Heads of messages.
for subject in ["Offer", "=?UTF-8?B?xb1sdcWlb3U=?= =?utf-8?Q?_k=C5=AF=C5=88?=", "=?iso-8859-2*cs?Q?P=F8=EDloha?= 7", "two\r\n\tlines", "=?x?Q?=G1?="]:
    seed("message_head", f"From: a@example.org\r\nSubject: {subject}\r\nTo: b@example.org\r\n\r\ntext\r\n")

# Events.
golden = {path: [bytes.fromhex(line) for line in path.read_text().split()] for path in files("core/tests/golden/*.hex")}
envelopes = [envelope for path in files("core/tests/golden/envelope_v*.hex") for envelope in golden.pop(path)]
bodies = {}
for path, vectors in golden.items():
    number, _, version = path.stem.split("_")
    for body in vectors:
        bodies.setdefault(int(number), []).append((int(version[1:]), body))
        seed("event_body", int(number).to_bytes(2, "little") + bytes([int(version[1:])]) + body)
for envelope in envelopes:
    seed("event_body", envelope)


# Evidence.
def note(name, text):
    return f"{text}\n\u2014 {name} {b64(68)}\n"


checkpoint = note("log.example/fuzz", f"log.example/fuzz\n7\n{b64(32)}\n")
seed("checkpoint", checkpoint)
seed("checkpoint", note("log.example/fuzz", f"log.example/fuzz\n0\n{b64(32)}\nextension\n"))
seed("checkpoint", f"PRIVATE+KEY+log.example/fuzz+00000000+{b64(33)}")
seed("checkpoint", f"log.example/fuzz+00000000+{b64(33)}")
for path_length in (0, 1, 5):
    path = f"{b64(32)}\n" * path_length
    seed("proof", f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(envelopes[0]).decode()}\nindex {path_length}\n{path}\n{checkpoint}")
seed("proof", json.dumps({"format": "retentiond growth proof 1", "before": checkpoint, "after": checkpoint, "path": [b64(32)]}, indent=2))

witness = "witness.example/w1+1e0a9e7f+BAZmKnndOtJy0FQbVN2DAwt9WlAFZjTCsYcUD1WiLiGM"
for status, kind, body in (
    (0, 2, f"\u2014 witness.example/w1 {b64(76)}\n\u2014 stranger {b64(5)}\n"),
    (4, 0, "4711\n"), (4, 1, "0\n"), (5, 2, ""), (0, 2, witness), (0, 2, f"7 {witness} {b64(76, 0)}"),
):
    seed("witness_answer", bytes([status, kind]) + body.encode())


# A disposal as the log tells it, and the certificate of it.
def event(number, cause, flags, which=0):
    version, body = bodies[number][which % len(bodies[number])]
    return number.to_bytes(2, "little") + bytes([version, cause, flags]) + len(body).to_bytes(2, "little") + body


def varint(number):
    return bytes([number])


def made(number, cause, flags, body):
    return number.to_bytes(2, "little") + bytes([1, cause, flags]) + len(body).to_bytes(2, "little") + body


told = [event(132, 0, 0), event(34, 1, 0), event(36, 1, 3), event(38, 1, 2), event(39, 4, 0), event(60, 4, 1)]
told += [event(62, 6, 0, which) for which in range(6)] + [event(80, 6, 4), event(65, 6, 0), event(43, 4, 0)]
seed("certificate_events", bytes([8, 5, 1]) + b"".join(told))
seed("certificate_events", bytes([1, 5, 1]) + b"".join(told))
digest, plan = bytes([3]) * 32, varint(1)
request = made(38, 1, 2, plan + digest)
for version, frozen in bodies[34]:
    # The vectors name other plans: the request is made to fit the one that was frozen.
    seed("certificate_events", bytes([8, 9, 0]) + event(132, 0, 0) + made(34, 1, 0, frozen) + event(36, 1, 3)
         + made(38, 1, 2, frozen[:1] + frozen[-32:]) + made(60, 4, 1, b"x"))
    # A request of a data subject at 1: one record is kept, one erased.
    asked = [made(66, 0, 3, b"x"), made(68, 1, 3, b"x"), made(71, 1, 0, varint(1)), made(72, 3, 0, bytes([1, 3, 1, 8, 0])),
             made(34, 3, 0, varint(3) + frozen[1:]), event(36, 3, 3), made(38, 3, 0, varint(3) + frozen[-32:]),
             made(60, 7, 0, bytes([7, 0, 1, 0, 1, 0, 9, 1])), made(80, 8, 4, bytes([7, 8, 0])), made(69, 1, 3, b"x"),
             made(137, 0, 0, bytes([1, 1, 1])), made(84, 8, 3, b"x"), made(75, 1, 3, b"x"), made(73, 1, 3, b"x")]
    seed("certificate_events", bytes([7, 9, 0]) + b"".join(asked))
statement = {
    "policy": "old", "policy_digest": "02" * 32, "plan": "P1", "plan_digest": "03" * 32, "judged_at": "2026-01-01T00:00:00Z",
    "planned": 1, "needs_approval": True, "approvals": [{"by": "uid:1001", "at": "2026-01-01T00:00:00Z"}], "reviews": [],
    "run": "R4", "run_requested_by": "uid:1000", "run_end": "completed", "purged": 1, "left_alone": 0,
    "sagas": {"S6": {"manifest": None, "exported_at": None, "verified": 1, "destroyed": 1, "expunged": 0, "absent": 1,
                     "residue": [], "end": "completed"}},
    "destroyed_at": None, "copies_of_keys_until": None,
}
certificate = {"format": "retentiond certificate 1", "log": "log.example/fuzz", "issued_at": "2026-01-01T00:00:00Z",
               "subject": {"run": "R4"}, "statement": statement, "events": [{"proof": "x", "body": None}]}
seed("certificate_text", note("log.example/fuzz", json.dumps(certificate, indent=2) + "\n"))
certificate["subject"] = {"entity": "E9"}
certificate["events"] = []
seed("certificate_text", note("log.example/fuzz", json.dumps(certificate, indent=2) + "\n"))
did = {"by": "uid:1000", "at": "2026-01-01T00:00:00Z"}
certificate["subject"] = {"request": "Q1"}
certificate["statement"] = {
    "entered": did, "identified": [did], "extended": [], "excepted": [{"event": 4, **did}], "exceptions_ended": [], "answered": did,
    "records": 2, "plans": [{"plan": "P3", "digest": "03" * 32, "judged_at": did["at"], "records": 2, "items": 1, "kept": 1,
                             "approvals": [did]}],
    "runs": [statement], "destroyed": {"E9": did["at"]}, "kept": {"E8": {"why": "until", "until": did["at"]}},
    "left_alone": {"E7": "held"}, "recipients": [{"recipient": 12, "saga": "S6", "by": "uid:1000", "at": did["at"], "told_at": None}],
    "copies": {"S6": {"manifest": "04" * 32, "exported_at": did["at"], "records": 1, "goes_with_the_answer": True,
                      "destroyed_at": did["at"], "was_there": True}},
    "told_by_hand": [{"event": 13, **did}], "compacted_at": None, "copies_of_keys_until": None,
}
certificate["said"] = {
    "ground": "objection", "received_at": did["at"], "due_at": did["at"], "end": "refused_in_part",
    "exceptions": [{"exception": 4, "ground": "legal_claims", "records": 1, "review_at": did["at"], "ended_at": None}],
    "told_by_hand": [{"event": 13, "recipient": 12}], "copies": [{"saga": "S6", "kept_until": None}],
}
seed("certificate_text", note("log.example/fuzz", json.dumps(certificate, indent=2) + "\n"))

# Bundles.
sha = "ab" * 32
seed("bundle_line", '{"entity":"E1","version":5,"kind":"contact","source":"ocm","layout":3,"layout_sha256":"' + sha + '","mailbox":"E7",'
     '"visibility":"private","external_id":"x","other_ids":["y"],"dates":[{"role":"created","at":"1970-01-01T00:00:00Z"},'
     '{"role":"named:2","at":9223372036854775807}],"links":[{"relation":"about","kind":"deal","external_id":"d"}],'
     '"cells":["a\\"\\n\\u0001\u00e9",null,""]}')
seed("bundle_line", '{"source":"ocm","kind":"contact","columns":[{"name":"Id","field":"id","field_type":"text"},'
     '{"name":"B","field":"custom.b","field_type":"money"}],"named_dates":["audit"]}')
manifest = {
    "format": 1, "exported_at": "2026-01-01T00:00:00Z", "run": "R4", "saga": "S6", "idempotency_key": sha, "mailbox": "E7",
    "policy": "old", "policy_digest": sha, "plan_digest": sha, "formats": ["jsonl", "csv"], "csv_profile": "exact", "items": 1,
    "counts": [{"kind": "contact", "items": 1}],
    "files": [{"name": "contacts.csv", "bytes": 5, "sha256": sha, "kind": "contact", "rows": 1},
              {"name": "items.jsonl", "bytes": 7, "sha256": sha, "rows": 1}],
}
seed("bundle_manifest", json.dumps(manifest, indent=2) + "\n")
manifest.update(formats=["jsonl"], csv_profile=None, mailbox=None, files=manifest["files"][1:])
seed("bundle_manifest", json.dumps(manifest, indent=2) + "\n")
del manifest["files"]
manifest.update(format=2, recipients=["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"], files=[
    {"name": "items.jsonl.age", "bytes": 307, "sha256": sha, "plain": {"bytes": 7, "sha256": sha}, "rows": 1}])
seed("bundle_manifest", json.dumps(manifest, indent=2) + "\n")

# Intake.
seed("intake_csv", b"\0Id,Name,Extra\r\n1,Ada,\r\n2,\"Zo\xc3\xa9\r\nB\",x\r\n,no id,\r\n")
seed("intake_csv", b"\0\xef\xbb\xbfsep=;\r\nId;Name\r\n1;Ada\r\n2;\"a\"\"b\"\r\n")
seed("intake_csv", b"\1A;B;M;V;D;C;K;E;F;X\r\n2025;7|8;Ada@X.cz;ANO;;1 234,50 K\xe8;31. 12. 2025;31.12.2025;f1|f2;z\r\n2025;9;B;ne;x;;;;;\r\n")
seed("intake_csv", b"\2\xff\xfe" + "Id\tT\tL\n1\t2026-03-01T10:00:00Z\tc\n".encode("utf-16le"))
for directory in files("tests/fixtures/ocm/*"):
    names = ["Contacts", "Companies", "Deals", "Tasks", "Posts", "Activities", "ContactSchema", "CompanySchema", "DealSchema"]
    whole = b""
    for number, name in enumerate(names):
        content = b"\r\n".join((directory / f"{name}.csv").read_bytes().split(b"\r\n")[:4])[:3000]
        one = bytes([number]) + len(content).to_bytes(2, "little") + content
        seed("intake_ocm", b"\1" + one)
        whole += one
    seed("intake_ocm", b"\0" + whole)
for text in ("2026-03-01", "2026-03-01T10:00:00.123Z", "2026-03-01 10:00+01:00", "31. 12. 2025", "31.12.2025 14:05",
             "3/31/2001 12:00:00 AM", "0001-01-01T00:00:00", "3.4.2020 1:02 p.m."):
    for zone in range(3):
        seed("intake_cell", bytes([zone, 17]) + b"%d.%m.%Y %H:%M:%S"[:17] + text.encode())

# Migration batches.
for header, row in (("EmailAddress,UserName,Password", "ada@contoso.com,ada,secret"), ("EmailAddress", "ada@contoso.com"),
                    ("EmailAddress;UserName;Password;UserRoot", "ada@contoso.com;ada;\"a\"\"b\";/ada"),
                    ("Workload,FilePath,Name,Mailbox,IsArchive,TargetRootFolder", "Exchange,,ada.pst,ada@contoso.com,FALSE,/"),
                    ("EmailAddress\tBadItemLimit\tMailboxType", "ada@contoso.com\t10\tPrimaryOnly")):
    for encoding, number in (("utf-8", 0), ("utf-16le", 2), ("cp1250", 4)):
        seed("batch_sheet", bytes([number, 0]) + f"{header}\r\n{row}\r\n\r\n{row}\r\n".encode(encoding))

# Backups.
for form in (b"\0\3\1\1\1\2\1\1\5\0\1\2\0\1\20\0\3", b"\2destroyed 4 17 2026-01-01T00:00:00Z\nrestored 4 12 18", b"\3restored 1 2 3\ndestroyed 1 5 1969-12-31T23:59:59.5Z"):
    seed("backup_ledger", form)
part = {"name": "00000001.seg", "bytes": 9, "sha256": sha}
seed("backup_manifest", json.dumps({
    "format": 1, "store": "03" * 16, "program": "0.1.0", "made_at": "2026-01-01T00:00:00Z", "last": 7, "envelope": sha,
    "journal": [part, {**part, "name": "00000002.0000000000000011.seg"}], "checkpoints": {**part, "name": "checkpoints"},
    "cosignatures": {**part, "name": "cosignatures.0000000000000011"},
    "keys": [{**part, "name": "slots.0001"}, {**part, "name": "wrapping.a"}], "keys_until": "2026-02-01T00:00:00Z"}, indent=2))

# Mail servers. The tags are those of a session that asks for what the first bytes say.
able = "IMAP4rev1 UIDPLUS ACL NAMESPACE CONDSTORE QRESYNC ENABLE ESEARCH LIST-EXTENDED SPECIAL-USE LITERAL+ STATUS=SIZE OBJECTID RIGHTS=texk UNSELECT"
plain = "IMAP4rev1 UIDPLUS ACL"
select = "* 3 EXISTS\r\n* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS (\\Seen \\*)] x\r\n* OK [UIDVALIDITY 9] x\r\n* OK [UIDNEXT 30] x\r\n* OK [HIGHESTMODSEQ 12] x\r\n{t} OK [READ-WRITE] open\r\n"
header = "From: n <a@b.c>\r\nTo: =?utf-8?q?d?= <d@e.f>\r\nMessage-ID: <m@x>\r\n\r\n"
meta = "".join(f'* {n} FETCH (UID {n} FLAGS (\\Seen k) INTERNALDATE " 1-Jan-2024 10:00:00 +0100" RFC822.SIZE 5 BODY[HEADER.FIELDS (FROM TO MESSAGE-ID)] {{{len(header)}}}\r\n{header} MODSEQ (7))\r\n' for n in (1, 2))
answers = {
    0: '* LIST (\\HasNoChildren \\Archive) "/" Archive\r\n* LIST () "/" "A&AOk-/B"\r\n* LIST (\\Noselect) "/" {3}\r\nx y\r\n* LIST () "/" INBOX\r\n{t} OK x\r\n',
    1: select, 2: select,
    3: '* ESEARCH (TAG "{t}") UID ALL 1:3,7\r\n* SEARCH 1 2 3\r\n{t} OK x\r\n',
    4: meta + "{t} OK x\r\n",
    5: '* SEARCH 1 2\r\n* ESEARCH (TAG "{t}") UID ALL 1:3\r\n{t} OK x\r\n',
    6: meta + "{t} OK x\r\n",
    7: "* 1 FETCH (UID 1 BODY[] {5}\r\nHello)\r\n* 2 FETCH (BODY[] {2}\r\nab UID 2)\r\n{t} OK x\r\n",
    8: "* ACL INBOX ada lrswipkxtecda root lr\r\n{t} OK x\r\n",
    9: "* MYRIGHTS INBOX lrswi\r\n{t} OK x\r\n",
    10: "{t} OK [MODIFIED 7,9] x\r\n",
    11: "* 1 EXPUNGE\r\n* VANISHED 2:3\r\n{t} NO [NOPERM] x\r\n",
    12: "+ go\r\n{t} OK [APPENDUID 9 30] x\r\n",
}
for capabilities in (able, plain):
    for operations in ((0, 2, 8, 9), (1, 3, 4, 7), (1, 5, 6, 3), (1, 10, 11, 12), (2, 4, 9, 8), (1, 12, 10, 11)):
        for first_tag in (2, 3, 4):
            # What follows the login differs with the capabilities: namespaces and ids take tags of their own.
            said = f"* OK [CAPABILITY {capabilities}] ready\r\nr1 OK [CAPABILITY {capabilities}] in\r\n"
            for tag in range(2, first_tag):
                said += f'* NAMESPACE (("" "/")) (("user/" "/")) NIL\r\n* ID ("name" "Dovecot")\r\nr{tag} OK x\r\n'
            for tag, operation in enumerate(operations, first_tag):
                said += answers[operation].replace("{t}", f"r{tag}")
            seed("mail_session", bytes([0, *operations]) + said.encode())
for form in (2, 3, 4, 5, 6):
    said = f"* OK [CAPABILITY {able} AUTH=PLAIN AUTH=XOAUTH2 SASL-IR] ready\r\n"
    said += "".join(f"r{tag} OK x\r\n* ACL INBOX ada lrswipkxtecda\r\n* MYRIGHTS INBOX lra\r\n" for tag in range(1, 9))
    refused = f"* OK [CAPABILITY {able}] ready\r\nr1 NO [AUTHENTICATIONFAILED] x\r\n"
    seed("mail_session", bytes([form, 0, 8, 1, 4]) + said.encode() + b"\0\0\0" + refused.encode() + b"\0\0\0" + said.encode())
