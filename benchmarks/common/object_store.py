"""An object store on loopback (moto), and a proxy before it that fails as object stores fail.

Faults are those of one Zarr store, found by its name in a request, so that several trials can run at once. Run as
``object_store.py store`` or ``object_store.py proxy PORT FOLDER``; prints its port. A file of the folder holds the
fault in force for the store of its name.
"""

import http.client
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAULTS = {
    "500": "PUT",
    "503": "all",
    "drop": "all",
    "drop after": "PUT",
    "lost": "PUT",
    "half": "PUT",
    "cut": "GET",
    "flip": "GET",
    "slow": "all",
}
"""Faults, and the method that each affects: an error, a dropped connection before and after the work is done, a PUT
that is acknowledged and not stored, half of an object stored, half of it sent, a flipped bit, and a delay."""
SLOW_S = 0.2
STORE = re.compile(r"[\w-]+\.zarr")
"""Name of a Zarr store in an address."""
HOP = {"content-length", "transfer-encoding", "connection", "date", "server"}
"""Headers of one connection, not of the object."""


@dataclass(frozen=True)
class ObjectStore:
    """An object store, and the faults in force."""

    bucket: str
    options: dict[str, Any]
    """Options of s3fs, through the proxy."""
    direct: dict[str, Any]
    """Options past the proxy."""
    control: Path
    """Folder of the faults."""

    @contextmanager
    def failing(self, name: str, fault: str, share: float) -> Iterator[None]:
        """Let a share of the requests for a Zarr store fail for a while."""
        (self.control / f".{name}").write_text(f"{fault}\n{share}")
        (self.control / f".{name}").rename(self.control / name)
        try:
            yield
        finally:
            (self.control / name).unlink()


@contextmanager
def serving(folder: Path) -> Iterator[ObjectStore]:
    """Start a store and its proxy, with one empty bucket."""
    control = folder / "faults"
    control.mkdir()
    store, port = _started("store")
    proxy, outer = _started("proxy", str(port), str(control))
    try:
        keys = {"key": "k", "secret": "s"}
        direct = {**keys, "endpoint_url": f"http://127.0.0.1:{port}"}
        found = ObjectStore("bucket", {**keys, "endpoint_url": f"http://127.0.0.1:{outer}"}, direct, control)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", f"/{found.bucket}")
        assert connection.getresponse().status == 200
        yield found
    finally:
        for process in (proxy, store):
            process.kill()
            process.wait()


def _started(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-W", "ignore", __file__, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on, some of them with a fault."""

    protocol_version = "HTTP/1.1"
    port: int
    control: Path
    rng = random.Random(4)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def handle_any(self) -> None:
        """Pass one request on."""
        body = self._body()
        fault = self._fault(body)
        if fault == "slow":
            time.sleep(SLOW_S)
        if fault in ("500", "503"):
            code = {"500": "InternalError", "503": "SlowDown"}[fault]
            return self._reply(int(fault), {}, f"<Error><Code>{code}</Code></Error>".encode())
        if fault == "lost":
            return self._reply(200, {"ETag": '"0"'}, b"")
        if fault != "drop":
            status, headers, content = self._passed_on(body[: len(body) // 2] if fault == "half" else body)
        if fault in ("drop", "drop after"):
            self.close_connection = True
            self.connection.close()
            return None
        if fault == "cut":
            content = content[: len(content) // 2]
        if fault == "flip" and len(content) > 4 and "list-type" not in self.path:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        return self._reply(status, headers, content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

    def _fault(self, body: bytes) -> str:
        """Fault of this request; the deletion of several objects names them in its body."""
        found = STORE.search(self.path) or STORE.search(body[:1000].decode("latin-1"))
        control = self.control / found[0] if found else None
        if control is None or not control.exists():
            return ""
        name, share = control.read_text().split("\n")
        hit = FAULTS[name] in ("all", self.command) and self.rng.random() < float(share)
        return name if hit else ""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in {*HOP, "expect"}}
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        length = {"Content-Length": reply.getheader("Content-Length") or "0"} if self.command == "HEAD" else {}
        return reply.status, {**{k: v for k, v in reply.getheaders() if k.lower() not in HOP}, **length}, content

    def _reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def main(kind: str, *arguments: str) -> None:
    """Serve until this process is ended."""
    if kind == "store":
        import moto.server

        server = moto.server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        print(server.get_host_and_port()[1], flush=True)
        threading.Event().wait()
    Proxy.port, Proxy.control = int(arguments[0]), Path(arguments[1])
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    print(proxy.server_port, flush=True)
    proxy.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
