"""stomp.py over WebSocket, unchanged.

HANDLER_URL: a running handler on which events flow all the time, e.g. that of `clickstream demo`.
EVENT_TYPE: a type of events that flows often (default `catalog`).
"""

import contextlib
import json
import os
import queue
import unittest
from urllib.parse import urlsplit

import stomp
from stomp.adapter.ws import WSStompConnection
from stomp.exception import NotConnectedException
from websocket import WebSocketException

LIMIT = 60
EVENT_TYPE = os.environ.get("EVENT_TYPE", "catalog")
FILTER = f"event.type == {json.dumps(EVENT_TYPE)}"


class Frames(stomp.ConnectionListener):
    """Puts what comes into one queue."""

    def __init__(self):
        self.queue = queue.Queue()

    def on_connected(self, frame):
        self.queue.put(("connected", frame))

    def on_message(self, frame):
        kind = frame.headers.get("status", "event")
        self.queue.put((kind, frame))

    def on_receipt(self, frame):
        self.queue.put(("receipt", frame))

    def on_error(self, frame):
        self.queue.put(("error", frame))

    def until(self, kind):
        """The next of that kind; an unexpected ERROR is not passed over."""
        while True:
            found, frame = self.queue.get(timeout=LIMIT)
            if found == kind:
                return frame
            assert found != "error", frame


class StompPy(unittest.TestCase):
    def setUp(self):
        address = urlsplit(os.environ["HANDLER_URL"])
        self.connection = WSStompConnection(
            [(address.hostname, address.port or 80)], ws_path="/stomp", heartbeats=(10_000, 10_000)
        )
        self.frames = Frames()
        self.connection.set_listener("test", self.frames)
        self.connection.connect(wait=True)
        self.addCleanup(self.leave)
        self.assertEqual(self.frames.until("connected").headers["version"], "1.2")

    def leave(self):
        # After an ERROR the server closes the connection, maybe before the client has noticed.
        closed = (OSError, NotConnectedException, WebSocketException)
        with contextlib.suppress(*closed):
            self.connection.disconnect()

    def subscribe(self, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        ack = headers.pop("ack", "auto")
        self.connection.subscribe("/live", id="0", ack=ack, headers={"receipt": "s", **headers})

    def test_events_that_match_and_only_those_each_once(self):
        self.subscribe(filter=FILTER, rate="0")
        self.frames.until("receipt")
        self.frames.until("live")
        sources = set()
        while len(sources) < 20:
            frame = self.frames.until("event")
            self.assertEqual(json.loads(frame.body)["type"], EVENT_TYPE)
            self.assertNotIn(frame.headers["source"], sources)
            sources.add(frame.headers["source"])
        self.connection.unsubscribe("0", headers={"receipt": "u"})
        self.assertEqual(self.frames.until("receipt").headers["receipt-id"], "u")

    def test_every_event_of_a_partition_in_its_order(self):
        self.subscribe(rate="0", ack="client-individual")
        self.frames.until("live")
        last = {}
        for _ in range(50):
            frame = self.frames.until("event")
            self.connection.ack(frame.headers["ack"])
            partition, offset = frame.headers["source"].rsplit("/", 1)
            if partition in last:
                self.assertEqual(int(offset), last[partition] + 1)
            last[partition] = int(offset)

    def test_a_bad_filter_is_told_softly_or_by_error(self):
        self.subscribe(filter="event.type ==", on_error="message")
        ended = json.loads(self.frames.until("ended").body)
        self.assertEqual(ended["reason"], "refused")
        self.assertIn("^", ended["error"]["caret"])
        self.subscribe(filter="event.type ==")
        error = self.frames.until("error")
        self.assertEqual(error.headers["receipt-id"], "s")
        self.assertEqual(json.loads(error.body), ended["error"])


if __name__ == "__main__":
    unittest.main()
