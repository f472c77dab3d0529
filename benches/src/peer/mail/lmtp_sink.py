"""Takes mail by LMTP into files while pullimap hands it over."""
import pathlib, socket, subprocess, sys
from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP

out, config = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])


class Sink:
    count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        (out / f"{self.count}.eml").write_bytes(envelope.content)
        return "250 taken"


class QuickAck(LMTP):
    """Acknowledges at once: nobody's delayed acknowledgement is to count as pullimap's time."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.sock = transport.get_extra_info("socket")

    async def push(self, status):
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        await super().push(status)


class Taker(Controller):
    def factory(self):
        return QuickAck(self.handler, data_size_limit=None)


with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
taker = Taker(Sink(), hostname="127.0.0.1", port=port)
taker.start()
config.write_text(config.read_text().replace("@PORT@", str(port)))
ended = subprocess.run(["pullimap", f"--config={config}", "--quiet", "a"], stderr=sys.stderr)
taker.stop()
sys.exit(ended.returncode)
