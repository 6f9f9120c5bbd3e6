"""What the tests of the map share: a page over a small cube, without a browser."""

import threading
from contextlib import contextmanager

import dask.array as da
import numpy as np
from helpers import make_cube

SECRET = "secret"


class Page:
    """What a browser does with the application: one session, its requests and its job."""

    def __init__(self, client):
        self.client = client
        self.key = client.post(f"/{SECRET}/sessions").json()["session"]

    def url(self, path):
        return f"/{SECRET}/s/{self.key}/{path}"

    def get(self, path, **query):
        return self.client.get(self.url(path), params=query)

    def state(self):
        return self.get("").json()

    def tile(self, z, x, y, *, cube="cube", layer="input", **query):
        return self.get(f"tiles/{cube}/{layer}/{z}/{x}/{y}", **query)

    def post(self, kind, **content):
        return self.client.post(self.url(f"jobs/{kind}"), json=content)

    def cancel(self):
        return self.client.delete(self.url("job"))

    @property
    def session(self):
        """The session behind the page."""
        return self.client.app.state.sessions.get(self.key)

    def job(self):
        """State of the job, once it has ended."""
        self.session.job.wait()
        return self.get("job").json()

    def run(self, kind, **content):
        """Result of a job that is expected to succeed."""
        reply = self.post(kind, **content)
        assert reply.status_code == 202, reply.text
        found = self.job()
        assert found["state"] == "done", found["message"]
        return found["result"]


@contextmanager
def opened(cubes, *, hosts=("testserver",), origin="http://127.0.0.1"):
    """Client of the application over some cubes, by name."""
    from starlette.testclient import TestClient

    from xsr.view.map.application import create_application
    from xsr.view.map.layers import Shown

    shown = {name: one if isinstance(one, Shown) else Shown(name, one) for name, one in cubes.items()}
    with TestClient(create_application(shown, secret=SECRET, hosts=hosts, origin=origin)) as client:
        yield client


class Gate:
    """A cube whose pixels are not there before the gate is opened."""

    def __init__(self):
        self.entered, self.opened, self.reads = threading.Semaphore(0), threading.Event(), 0

    def cube(self, side=24):
        still = make_cube((1, 4, side, side))

        def read(block):
            self.reads += 1
            self.entered.release()
            assert self.opened.wait(60)
            return block

        source = da.from_array(np.asarray(still.values), chunks=(1, 4, 12, side))
        return still.copy(data=source.map_blocks(read, dtype=np.float32, meta=np.empty((0,) * 4, np.float32)))
