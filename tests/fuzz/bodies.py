"""Requests that are well-formed as HTTP, and refused for what they hold. For listeners that take JSON."""

import gzip
import json

from kinds import MAYBE, MUST, NEVER, Kind
from listeners import as_json

# Bodies of a trade and of a batch are smaller.
LARGE_BODY_BYTES, LARGE_BATCH_BYTES = 17_000, 5 << 20
NESTED_MAX = 100_000


def with_header(name, values):
    """The request with another value of a header, or another header."""

    def make(random, request):
        value = random.choice(values)
        request.headers = [header for header in request.headers if header[0] != name]
        request.headers += [(name, one) for one in (value if isinstance(value, list) else [value])]
        return request.plain()

    return make


def replaced(field, literal):
    """A body in which a field has this value, written as it stands."""

    def change(random, body):
        marked = {**body, field: "MARK"}
        return as_json(marked).replace(b'"MARK"', literal)

    return change


def changed(*changes):
    """The request with its body changed in one of these ways."""

    def make(random, request):
        one = json.loads(request.body) if request.body.startswith(b"{") else {"name": "x", "quantity": 1}
        request.body = random.choice(changes)(random, one)
        return request.plain()

    return make


def with_value(names, literals):
    """One of these fields has one of these values."""

    def change(random, body, literal):
        name = next((name for name in names if name in body), names[0])
        return replaced(name, literal)(random, body)

    return changed(*[lambda random, body, literal=literal: change(random, body, literal) for literal in literals])


def nested(opening):
    """A body as deep as it may be long, or far deeper."""

    def change(random, body):
        return opening * random.choice([10, 127, 128, 129, 2_000, NESTED_MAX])

    return change


def bomb(random, request):
    """A compressed body that would be large."""
    request.headers += [("content-encoding", random.choice(["gzip", "deflate", "br", "identity, gzip", "x"]))]
    request.body = gzip.compress(b" " * 5_000_000 + request.body, mtime=0)
    return request.plain()


def over_cap(random, request):
    """A body that is larger than its path takes, in one of two framings."""
    more = LARGE_BATCH_BYTES if request.target == "/orders/batch" else LARGE_BODY_BYTES
    request.body = request.body[:-1] + b" " * more + request.body[-1:]
    return request.plain() if random.random() < 0.5 else request.in_chunks([random.randint(1, 5_000)])


def of_another_cluster(random, request):
    """What the leader publishes to the catalog, but that of another cluster (domain/src/internal.rs)."""
    request.target = "/orders"
    request.headers = [("content-type", "application/vnd.bazaar.record")]
    request.body = b"\x01\x05other" + bytes([random.randrange(128), random.randrange(128), 0])
    return request.plain()


def with_bad_key(random, request):
    """The request under a key that is none, or under two."""
    if request.target == "/orders/batch":
        # There the keys stand in the body.
        request.target = "/orders"
    return with_header("idempotency-key", KEYS)(random, request)


def truncated(random, body):
    """Ends before its end."""
    return as_json(body)[: random.randint(0, len(as_json(body)) - 1)]


def with_more(random, body):
    """Has something behind it."""
    return as_json(body) + random.choice([b" x", b"{}", b"\x00", as_json(body)])


def with_unknown(random, body):
    """Has a field too many."""
    return as_json({**body, random.choice(["more", "", "Name", "__proto__"]): 1})


def without_one(random, body):
    """Has a field too few."""
    return as_json(dict(list(body.items())[1:]))


def doubled(random, body):
    """Has a field twice."""
    name = random.choice(list(body))
    return as_json(body)[:-1] + b"," + as_json({name: body[name]})[1:]


def marked(random, body):
    """Has a mark of its byte order."""
    return b"\xef\xbb\xbf" + as_json(body)


def in_characters(name):
    """Is in another character set."""
    return lambda random, body: as_json(body).decode().encode(name)


def with_bad_text(random, body):
    """Has a field that is no UTF-8."""
    return as_json(body).replace(b":", b':"\xff","x":', 1)


def after_bad_text(random, body):
    """Has something before it that is no UTF-8."""
    return b"\xff" + as_json(body)


def no_object(random, body):
    """Is something else than an object."""
    return random.choice([b"null", b"[]", b"1", b'""', as_json(list(body.values())), as_json([body])])


QUANTITIES = [
    b"0", b"-1", b"1.5", b'"5"', b"1e3", b"null", b"9223372036854775808", b"18446744073709551616", b"1000000000001e9",
    b"[]", b"{}", b"true", b"-0", b"1.0", b"NaN", b"Infinity", b"0x5", b"05", b"1" + b"0" * 400, b"--1", b"1 2",
]
NAMES = [
    b'""', b'"' + b"x" * 10_000 + b'"', b'"../x"', b'"..%2fx"', b'"\\u0000"', b'"%00"', b'"a\\r\\nb"', b'"\\u202ex"',
    b"null", b"7", b'"x\xe2\x80\xaey"', b'"a b"', b'"\\ud800"', b"[]", b'"' + b"x" * 33 + b'"', b'"\xc3\xa9"',
]
UNKNOWN_NAMES = [b'"NoSuchStock"', b'"' + b"x" * 32 + b'"', b'"."']
TYPES = [b'"BUY"', b'""', b"null", b"1", b'"buy "']
KEYS = ["", "x" * 256, "\xe9", "a\tb", ["a", "b"], ["same", "same"]]
MEDIA_TYPES = [
    "text/plain", "application/xml", "", "application/jsonx", "application/json, text/plain",
    "multipart/form-data; boundary=x", ["application/json", "text/plain"], "application/vnd.bazaar.record", "\xff",
    "application", "text/plain; application/json",
]
CHARACTER_SETS = [in_characters(name) for name in ("utf-16", "utf-16-be", "utf-32")]
NESTED = [nested(b"["), nested(b'{"a":'), nested(b'{"name":[')]
NAME_FIELDS, TYPE_FIELDS = ("name", "stock_name"), ("type", "trade_type", "action")

BODIES = [
    Kind("a bad quantity", NEVER, MUST, with_value(("quantity",), QUANTITIES)),
    Kind("a bad name", NEVER, MUST, with_value(NAME_FIELDS, NAMES)),
    Kind("an unknown name", NEVER, MUST, with_value(NAME_FIELDS, UNKNOWN_NAMES)),
    Kind("a bad type", NEVER, MUST, with_value(TYPE_FIELDS, TYPES)),
    Kind("a truncated body", NEVER, MUST, changed(truncated)),
    Kind("bytes behind the body", NEVER, MUST, changed(with_more)),
    Kind("an unknown field", NEVER, MUST, changed(with_unknown)),
    Kind("a missing field", NEVER, MUST, changed(without_one)),
    Kind("a field twice", NEVER, MUST, changed(doubled)),
    Kind("a mark before the body", NEVER, MUST, changed(marked)),
    Kind("another character set", NEVER, MUST, changed(*CHARACTER_SETS)),
    Kind("invalid UTF-8", NEVER, MUST, changed(with_bad_text, after_bad_text)),
    Kind("no object", NEVER, MUST, changed(no_object)),
    # What is refused before it is read whole may close the connection.
    Kind("a deep body", NEVER, MAYBE, changed(*NESTED), refusals_max=2),
    Kind("a body over its cap", NEVER, MAYBE, over_cap, refusals_max=2),
    Kind("a compressed body", NEVER, MAYBE, bomb),
    Kind("another media type", NEVER, MAYBE, with_header("content-type", MEDIA_TYPES)),
    Kind("a bad key", NEVER, MAYBE, with_bad_key),
]
# For the catalog, which is told what to show.
PUBLISHED = [Kind("a record of another cluster", NEVER, MUST, of_another_cluster)]
