"""What takes time: senders that are slow or silent, and crowds of connections."""

import resource
import threading
import time

import wire
from listeners import Peers

# A header has to be there after 30 s, a body after 10 s, a hello between replicas after 2 s; the rest is the machine's.
HEADER_S, BODY_S, HELLO_S = 50.0, 30.0, 20.0
CROWD = 10_000
# Files that this program, or the frontend, needs for itself.
FILES_LEFT = 500


def held(listener, start, drip, limit_s, wanted):
    """Sends a start, then nothing or one byte a second; returns what is wrong with when and how it ends."""
    stream = wire.connect(listener.address)
    deadline = time.monotonic() + limit_s
    raw = b""
    try:
        stream.sendall(start)
        stream.settimeout(1.0)
        while time.monotonic() < deadline:
            try:
                part = stream.recv(wire.READ_BYTES)
            except TimeoutError:
                if drip:
                    stream.sendall(drip)
                continue
            if not part:
                break
            raw += part
        else:
            return f"still open after {limit_s:.0f} s"
    except OSError:
        # Reset while a byte was sent: it is closed.
        pass
    finally:
        stream.close()
    statuses = [answer.status for answer in wire.answers_in(raw, {}, True)[0]]
    return "" if statuses in ([], *([status] for status in wanted)) else f"answered {statuses}"


class Slow:
    """Slow and silent senders at each listener, beside everything else."""

    def __init__(self, listeners, seed):
        self.wrong = []
        self.count = 0
        self.threads = []
        for listener in listeners:
            for kind, start, drip, limit_s, wanted in self.kinds(listener, seed):
                self.count += 1
                arguments = (listener, kind, start, drip, limit_s, wanted)
                self.threads.append(threading.Thread(target=self.run, args=arguments, daemon=True))
        for thread in self.threads:
            thread.start()

    @staticmethod
    def kinds(listener, seed):
        """What to send to a listener, how fast, for how long it may be held, and what may be answered."""
        if isinstance(listener, Peers):
            return [("silent", b"", b"", HELLO_S, ()), ("half a hello", b"\x00\x00", b"", HELLO_S, ())]
        head = f"POST /orders HTTP/1.1\r\nhost: x\r\nidempotency-key: {seed}.slow.{listener.name}\r\n"
        body = head + 'content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"name":"GameStart",'
        return [
            ("silent", b"", b"", HEADER_S, ()),
            ("half a head", head.encode(), b"", HEADER_S, (408,)),
            ("a head, one byte a second", head.encode() + b"x: ", b"x", HEADER_S, (408,)),
            ("half a body", body.encode(), b"", BODY_S, (404, 405, 408, 415)),
            ("a body, one byte a second", body.encode(), b" ", BODY_S, (404, 405, 408, 415)),
        ]

    def run(self, listener, kind, start, drip, limit_s, wanted):
        """One of them."""
        try:
            wrong = held(listener, start, drip, limit_s, wanted)
        except (OSError, wire.Malformed) as error:
            wrong = repr(error)
        if wrong:
            self.wrong.append(f"{kind} at {listener.name}: {wrong}")

    def end(self):
        """Waits for them; returns what is wrong."""
        for thread in self.threads:
            thread.join(HEADER_S + HELLO_S)
            if thread.is_alive():
                self.wrong.append("a slow sender is still held")
        return self.wrong


def crowd(listener, files_max, trade):
    """Silent connections, as many as there may be, while somebody trades; returns how many, and what is wrong."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(CROWD, hard - FILES_LEFT, files_max - FILES_LEFT)
    streams = []
    try:
        for _ in range(count):
            streams.append(wire.connect(listener.address))
            if len(streams) % 2:
                streams[-1].sendall(b"POST /orders HT")
        return count, trade()
    except OSError as error:
        return len(streams), f"after {len(streams)} connections: {error}"
    finally:
        for stream in streams:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
