"""An SMTP server for the tests: keeps each message as a file, and refuses what it is told to refuse.

Usage: smtp.py DIRECTORY implicit|starttls|plain. The directory has cert.pem and key.pem. Says its port on the first line of its
output, and ends when its input does.
"""

import asyncio
import os
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

directory, form = sys.argv[1:]


class Kept:
    count = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 there is no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        Kept.count += 1
        name = os.path.join(directory, f"{Kept.count}.eml")
        with open(name + ".tmp", "wb") as file:
            file.write(f"X-To: {' '.join(envelope.rcpt_tos)}\r\n".encode() + envelope.content)
        os.rename(name + ".tmp", name)
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"retentiond", b"right"), handled=False)


def protocol():
    options = {}
    if form == "starttls":
        options = {"tls_context": context, "require_starttls": True}
    if form != "plain":
        options |= {"auth_required": True, "authenticator": login, "auth_require_tls": form == "starttls"}
    return SMTP(Kept(), hostname="localhost", **options)


async def serve():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context if form == "implicit" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(directory, "cert.pem"), os.path.join(directory, "key.pem"))
asyncio.run(serve())
