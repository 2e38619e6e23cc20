"""Well-formed requests to each listener, and what they would do if they were carried out."""

import json
from dataclasses import dataclass, field

STOCKS = ["GameStart", "BoarCo", "MenhirCo", "AcornWorks", "TinWhistle"]
JSON = ("content-type", "application/json")


@dataclass
class Request:
    """A request in its parts, so that single ones can be broken."""

    method: str
    target: str
    request_id: str
    headers: list = field(default_factory=list)
    body: bytes = b""
    # The key under which it would change something; none if it changes nothing.
    key: str = ""
    # What it changes: ("trade", stock, side, quantity) or ("restock", stock, quantity).
    change: tuple = ()
    statuses: tuple = (200,)
    version: str = "HTTP/1.1"

    def head(self, *framing):
        """The lines of its head; `framing` stands behind its own headers."""
        lines = [f"{self.method} {self.target} {self.version}".encode()]
        lines += [name.encode() + b": " + value.encode("latin-1") for name, value in self.all_headers()]
        return lines + list(framing)

    def all_headers(self):
        """Host and id, which all have, and its own."""
        return [("host", "fuzz.example"), ("x-request-id", self.request_id), *self.headers]

    def plain(self):
        """As it is meant to be sent."""
        framing = [b"content-length: %d" % len(self.body)] if self.body or self.method == "POST" else []
        return block(self.head(*framing)) + self.body

    def in_chunks(self, sizes):
        """With its body in chunks of these sizes, and one of what is left."""
        return block(self.head(b"transfer-encoding: chunked")) + chunks(self.body, sizes)


def block(lines):
    """Lines of a head."""
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunks(body, sizes=()):
    """A body in chunks."""
    out, at = b"", 0
    for size in [*sizes, len(body)]:
        part = body[at : at + size]
        at += len(part)
        out += b"%x\r\n%s\r\n" % (len(part), part) if part else b""
    return out + b"0\r\n\r\n"


def as_json(value):
    """The body of a request."""
    return json.dumps(value, separators=(",", ":")).encode()


class Listener:
    """One listener of the cluster, and what can be asked of it."""

    # How often it is drawn, beside the others.
    weight = 1.0
    # Whether its POST takes JSON; whether it reads a body at all.
    takes_json = True
    reads_body = True
    # Whether the leader publishes to it.
    takes_records = False
    # Kinds of bad bodies that are none here.
    skips = ()
    paths = ("/livez",)
    statuses = (200,)

    def __init__(self, name, address):
        self.name, self.address = name, address

    def get(self, random, request_id):
        """A request that changes nothing."""
        method = "HEAD" if random.random() < 0.15 else "GET"
        return Request(method, random.choice(self.paths), request_id, statuses=(200, 503))

    def post(self, random, request_id, key):
        """A request that changes something."""
        stock, side, quantity = random.choice(STOCKS), random.choice(["buy", "sell"]), random.randint(1, 9)
        body = as_json({"name": stock, "type": side, "quantity": quantity})
        headers = [JSON, ("idempotency-key", key)]
        change = ("trade", stock, side, quantity)
        return Request("POST", "/orders", request_id, headers, body, key, change, self.statuses)


class Public(Listener):
    """The frontend's public listener."""

    weight = 7.0
    paths = ("/livez", "/leader", "/stocks", "/stocks/GameStart", "/orders?limit=1", "/lookup?stock=BoarCo")

    def post(self, random, request_id, key):
        request = super().post(random, request_id, key)
        kind, (_, stock, side, quantity) = random.random(), request.change
        if kind < 0.1:
            request.body = as_json({"stock_name": stock, "trade_type": side, "quantity": quantity})
        elif kind < 0.2:
            request.target = "/order"
            request.headers[0] = ("content-type", "application/x-www-form-urlencoded")
            request.body = f"name={stock}&quantity={quantity}&order_type={side}".encode()
        elif kind < 0.3:
            request.target = "/orders/batch"
            request.headers = [JSON]
            one = {"key": key, "name": stock, "type": side, "quantity": quantity}
            request.body = as_json({"orders": [one]})
        return request


class Catalog(Listener):
    """The catalog's one listener."""

    weight = 3.0
    takes_records = True
    paths = ("/livez", "/stocks", "/stocks/GameStart", "/query?stock_name=BoarCo", "/readyz")

    def post(self, random, request_id, key):
        stock, quantity = random.choice(STOCKS), random.randint(1, 9)
        body = as_json({"action": "restock", "name": stock, "quantity": quantity})
        change = ("restock", stock, quantity)
        return Request("POST", "/admin/stocks", request_id, [JSON, ("idempotency-key", key)], body, key, change)


class Service(Listener):
    """A replica's service listener. Who leads may change meanwhile, and another one refuses trades."""

    weight = 1.5
    # It takes what a frontend has put together.
    skips = ("a body over its cap",)
    paths = ("/livez", "/health", "/ping", "/readyz")
    statuses = (200, 421)


class Admin(Listener):
    """A replica's admin listener. What it is asked to do is what it cannot do, so that the cluster stays as it is."""

    weight = 0.5
    # A body of 64 KiB is taken.
    skips = ("a body over its cap",)
    paths = ("/livez", "/health", "/admin/raft", "/admin/members", "/admin/log?limit=1&brief=true", "/admin/digest")

    def post(self, random, request_id, key):
        return Request("POST", "/admin/transfer", request_id, [JSON], as_json({"to": 99}), statuses=(400, 421))


class Bare(Listener):
    """A listener whose POST has no body."""

    weight = 0.7
    takes_json = reads_body = False

    def __init__(self, name, address, paths, target, statuses):
        super().__init__(name, address)
        self.paths, self.target, self.statuses = paths, target, statuses

    def post(self, random, request_id, key):
        return Request("POST", self.target, request_id, statuses=self.statuses)


class Peers(Listener):
    """The listener of the other replicas, which does not speak HTTP."""

    weight = 0.3
    takes_json = reads_body = False
