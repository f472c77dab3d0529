"""What a careful person writes in half an hour: search, fetch, delete. It verifies nothing and waits for no disk."""
import imaplib, pathlib, ssl, sys

port, ca, user, password, before, out = sys.argv[1:]
out = pathlib.Path(out)
out.mkdir()
imap = imaplib.IMAP4_SSL("localhost", int(port), ssl_context=ssl.create_default_context(cafile=ca))
imap.login(user, password)
imap.select("INBOX")
_, found = imap.uid("SEARCH", None, "BEFORE", before)
uids = [uid.decode() for uid in found[0].split()]
batches = [",".join(uids[at : at + 200]) for at in range(0, len(uids), 200)]
for batch in batches:
    _, answers = imap.uid("FETCH", batch, "(UID BODY.PEEK[])")
    for answer in answers:
        if isinstance(answer, tuple):
            uid = answer[0].split(b"UID ")[1].split()[0].decode()
            (out / f"{uid}.eml").write_bytes(answer[1])
for batch in batches:
    imap.uid("STORE", batch, "+FLAGS.SILENT", r"(\Deleted)")
    imap.uid("EXPUNGE", batch)
imap.logout()
