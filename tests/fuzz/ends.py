"""Requests that are broken where the body ends: for paths that read one."""

from heads import CHUNKED, with_framing, with_length
from kinds import MAYBE, NEVER, Kind
from listeners import block, chunks


def with_chunks(change):
    """The request in chunks, of which something is changed."""

    def make(random, request):
        return block(request.head(CHUNKED)) + change(random, request.body)

    return make


def resized(random, body):
    """A size that is not the size of the chunk."""
    size = random.choice([len(body) - 1, len(body) + 1, len(body) + 2, 2 * len(body)])
    return b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)


def with_size(choices):
    """Chunks of which the first has one of these sizes."""

    def change(random, body):
        size = random.choice(choices).replace(b"HEX", b"%x" % len(body))
        return size + b"\r\n" + body + b"\r\n0\r\n\r\n"

    return change


def with_trailer(choices):
    """Chunks with one of these lines behind them."""

    def change(random, body):
        return b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(body), body, random.choice(choices))

    return change


def cut(random, request):
    """Ends somewhere before its end."""
    whole = request.plain() if random.random() < 0.5 else request.in_chunks([random.randint(1, 30)])
    return whole[: random.randint(1, len(whole) - 1)]


def waits_for_nothing(random, request):
    """Announces a body, asks whether it may come, and ends."""
    return block(request.head(b"content-length: %d" % len(request.body), b"expect: 100-continue"))


def swallows(random, request):
    """A length that takes in what stands behind the body."""
    return block(request.head(b"content-length: %d" % (len(request.body) + 60))) + request.body


def cuts_short(random, request):
    """A length that leaves a part of the body to be taken for a request."""
    length = random.randint(0, max(0, len(request.body) - 1))
    # The end of a form could be the beginning of a method, and what stands behind it be read as another request.
    length = min(length, max(0, len(request.body) - len("=sell")))
    return block(request.head(b"content-length: %d" % length)) + request.body


def unparted(random, body):
    """Chunks without the end of the line behind the first one."""
    return b"%x\r\n%s0\r\n\r\n" % (len(body), body)


def with_bare_feeds(random, body):
    """Chunks in lines that end with LF alone."""
    return b"%x\n%s\n0\n\n" % (len(body), body)


def unended(random, body):
    """Chunks without the last one."""
    return b"%x\r\n%s\r\n" % (len(body), body)


def with_both(*lines):
    """The request in chunks under these lines."""

    def make(random, request):
        return block(request.head(*lines)) + chunks(request.body)

    return make


# HEX stands for the right size.
SIZES = [
    b"", b"zz", b"-HEX", b"+HEX", b"0xHEX", b" HEX", b"HEX\x0b", b"ffffffffffffffff", b"10000000000000000", b"HEX_",
    b"HEX;a\nb", b"HEX\n", b"HEX\r", b"\x00HEX", b"HEX.", b"f" * 200, b"HEX HEX",
]
ODD_SIZES = [b"HEX ", b"HEX;a=b", b"000HEX", b'HEX;a="b;c"']
TRAILERS = [b"x-a: b", b"idempotency-key: other", b"content-length: 3"]
BAD_TRAILERS = [b"x a: b", b"x\x00: b", b"no colon", b"x-a: b\x00"]
LONG_TRAILERS = [b"x-a: " + b"x" * 20_000, b"\r\n".join([b"x: y"] * 300)]
LENGTH = b"content-length: 5"

ENDS = [
    Kind("a length and chunks", MAYBE, NEVER, with_both(LENGTH, CHUNKED)),
    Kind("chunks and a length", MAYBE, NEVER, with_both(CHUNKED, LENGTH)),
    Kind("no length", NEVER, NEVER, with_framing(b"x-none: 1"), refusals_max=2),
    Kind("a length that nothing has", NEVER, NEVER, with_length([b"9223372036854775808", b"1000000000000"])),
    Kind("a length that is too short", NEVER, NEVER, cuts_short, refusals_max=2),
    Kind("a length that swallows what follows", NEVER, MAYBE, swallows, refusals_max=2),
    Kind("a bad size of a chunk", NEVER, NEVER, with_chunks(with_size(SIZES))),
    Kind("an odd size of a chunk", MAYBE, NEVER, with_chunks(with_size(ODD_SIZES))),
    Kind("a size of another chunk", NEVER, NEVER, with_chunks(resized)),
    Kind("a long extension of a chunk", MAYBE, NEVER, with_chunks(with_size([b"HEX;" + b"x" * 20_000]))),
    Kind("no end of a chunk", NEVER, NEVER, with_chunks(unparted)),
    Kind("bare line feeds in chunks", NEVER, NEVER, with_chunks(with_bare_feeds)),
    Kind("chunks without a last one", NEVER, NEVER, with_chunks(unended), is_cut=True),
    Kind("a trailer", MAYBE, NEVER, with_chunks(with_trailer(TRAILERS))),
    Kind("a bad trailer", NEVER, NEVER, with_chunks(with_trailer(BAD_TRAILERS))),
    Kind("a long trailer", MAYBE, NEVER, with_chunks(with_trailer(LONG_TRAILERS))),
    Kind("a body that ends early", NEVER, NEVER, cut, is_cut=True),
    Kind("a body that never comes", NEVER, NEVER, waits_for_nothing, is_cut=True),
]
