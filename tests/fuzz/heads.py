"""Requests that are broken in the head, whoever reads the body."""

from kinds import MAYBE, MUST, NEVER, Kind
from listeners import block, chunks

# Larger than any header that is taken.
LONG_BYTES = 66_000


def with_framing(*lines):
    """The request with these lines for the length of its body."""

    def make(random, request):
        filled = [line.replace(b"LEN", b"%d" % len(request.body)) for line in lines]
        return block(request.head(*filled)) + request.body

    return make


def with_length(choices):
    """The request with one of these lengths."""

    def make(random, request):
        value = random.choice(choices).replace(b"LEN", b"%d" % len(request.body))
        return block(request.head(b"content-length: " + value)) + request.body

    return make


def with_coding(choices):
    """The request in chunks, announced in one of these ways."""

    def make(random, request):
        return block(request.head(*random.choice(choices))) + chunks(request.body)

    return make


def with_lines(choices):
    """The request with one of these lines in its head."""

    def make(random, request):
        lines = request.head(b"content-length: %d" % len(request.body))
        lines.insert(random.randint(1, len(lines)), random.choice(choices))
        return block(lines) + request.body

    return make


def with_first_line(change):
    """The request with another first line."""

    def make(random, request):
        first, *lines = request.head(b"content-length: %d" % len(request.body))
        return block([change(random, *first.split(b" ")), *lines]) + request.body

    return make


def with_hosts(choices):
    """The request for these hosts."""

    def make(random, request):
        lines = request.head(b"content-length: %d" % len(request.body))
        others = [line for line in lines if not line.startswith(b"host:")]
        return block([*others, *random.choice(choices)]) + request.body

    return make


def as_it_is(random, request):
    """Not broken at all, but sent in one of the ways that few send it in."""
    way = random.randrange(7)
    if way == 0:
        return request.in_chunks([random.randint(1, 20) for _ in range(random.randint(0, 6))])
    if way == 1:
        request.target = "http://fuzz.example" + request.target
    elif way == 2:
        request.headers = [(name.upper(), "  " + value + "\t") for name, value in request.headers]
    elif way == 3:
        request.headers.append(("expect", "100-continue"))
    elif way == 4:
        request.headers += [("connection", "upgrade"), ("upgrade", random.choice(["h2c", "websocket", "TLS/1.0"]))]
    elif way == 5:
        return b"\r\n" * random.randint(1, 3) + request.plain()
    return request.plain()


def older(random, request):
    """In chunks that the older version does not have."""
    request.version = "HTTP/1.0"
    return request.in_chunks([])


def with_bare_ends(end):
    """The request with other ends of lines in its head."""

    def make(random, request):
        head = block(request.head(b"content-length: %d" % len(request.body)))
        return head.replace(b"\r\n", end) + request.body

    return make


def unended(random, request):
    """A head without the empty line behind it."""
    return block(request.head(b"content-length: %d" % len(request.body)))[:-2]


def mutant(random, request):
    """A few bytes of it are changed, taken away, put in or repeated."""
    whole = bytearray(request.plain() if random.random() < 0.5 else request.in_chunks([random.randint(1, 30)]))
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(whole))
        byte = random.choice(b'\r\n :;,0129afxPH/\0\x80\xff\t{}"') if random.random() < 0.7 else random.randrange(256)
        way = random.randrange(4)
        if way == 0:
            whole[at] = byte
        elif way == 1:
            del whole[at]
        elif way == 2:
            whole.insert(at, byte)
        else:
            whole[at:at] = whole[at : at + random.randint(1, 60)]
    return bytes(whole)


def target_of(choices):
    """The first line with another target."""

    def change(random, method, target, version):
        return b" ".join([method, random.choice(choices).replace(b"TARGET", target), version])

    return change


def method_of(choices):
    """The first line with another method."""

    def change(random, method, target, version):
        return b" ".join([random.choice(choices), target, version])

    return change


def version_of(choices):
    """The first line with another version, or what stands in its place."""

    def change(random, method, target, version):
        return random.choice(choices).replace(b"LINE", method + b" " + target)

    return change


# LEN stands for the right length, TARGET and LINE for what would stand there.
CHUNKED = b"transfer-encoding: chunked"
LENGTHS = [
    b"-1", b"+LEN", b"0x2f", b"LEN.0", b"LEN, LEN", b"LEN,", b"LEN LEN", b"", b"LENa", b"1e2", b"\xd9\xa4", b"1_0",
    b"18446744073709551615", b"18446744073709551616", b"1" + b"0" * 40, b"\x0bLEN", b"LEN;q=1",
]
CODINGS = [
    [b"transfer-encoding: identity"], [b"transfer-encoding: gzip, chunked"], [b"transfer-encoding: chunked, chunked"],
    [b"transfer-encoding: xchunked"], [b"transfer-encoding: chunked, identity"], [b"transfer-encoding: chunked;q=1"],
    [b"transfer-encoding: \x0bchunked"], [b"transfer-encoding: \x00chunked"], [b"transfer-encoding:"], [CHUNKED] * 2,
    [b"transfer-encoding: gzip", CHUNKED], [CHUNKED, b"transfer-encoding: identity"],
    [b"transfer-encoding: 'chunked'"], [b"transfer-encoding : chunked"], [b"transfer-encoding", b"x: y"],
    [b"transfer-encoding:\r\n chunked"], [b"transfer-encoding: chunked\x00"], [b"\x0btransfer-encoding: chunked"],
]
LINES = [
    b"x-nul: a\x00b", b"x-bare: a\rb", b"x-bell: a\x07b", b"x-delete: a\x7fb", b"x\x00name: a", b"x\xffname: a",
    b"no colon", b": no name", b"x name: a", b"x-name : a", b"x-fold: a\r\n b", b"x-fold: a\r\n\tb", b" x-first: a",
    b"(x): a", b"\x00",
]
EIGHT_BIT_LINES = [b"x-a: \xff", b"x-a: \xc3\xa9", b"user-agent: \x80\x80"]
LONG_LINES = [b"x-long: " + b"x" * LONG_BYTES, b"x" * LONG_BYTES + b": y"]
MANY_LINES = [b"\r\n".join([b"x-a: b"] * count) for count in (101, 1_000)]
HOSTS = [
    [], [b"host: a", b"host: b"], [b"host: a", b"host: a"], [b"host: a b"], [b"host: a/b"], [b"host: me@a"],
    [b"host: \xe9"], [b"host: a#"],
]
TARGETS = [
    b"*", b"", b"/ orders", b"orders", b"/ord\x00ers", b"/%6frders", b"//orders", b"/orders/", b"/ORDERS", b"/./orders",
    b"fuzz.example:80", b"http://", b"/orders%00", b"/orders%0d%0a", b"/nowhere", b"\\orders", b"/orders\xff",
    b"/admin/../orders",
]
ODD_TARGETS = [
    b"TARGET?", b"TARGET?x=%ff", b"TARGET#x", b"ftp://x/orders", b"http://other.exampleTARGET", b"http://x:y@zTARGET",
    b"TARGET?\xff",
]
LONG_TARGETS = [b"/" + b"x" * LONG_BYTES, b"TARGET?" + b"x" * LONG_BYTES]
METHODS = [
    b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT", b"post", b"X" * 300, b"PRI", b"POST\x00", b"P(ST",
    b"", b"\xff",
]
VERSIONS = [
    b"LINE", b"LINE HTTP/0.9", b"LINE HTTP/1.2", b"LINE HTTP/2.0", b"LINE http/1.1", b"LINE HTTP/1.1 x",
    b"LINE HTTP/1.", b"LINE HTTP/11", b"LINE  HTTP/1.1", b"LINE\tHTTP/1.1", b" LINE HTTP/1.1", b"LINE HTTPS/1.1",
    b"\x00LINE HTTP/1.1",
]

HEADS = [
    Kind("well-formed", MUST, MAYBE, as_it_is),
    Kind("two lengths", NEVER, NEVER, with_framing(b"content-length: LEN", b"content-length: 1")),
    Kind("the same length twice", MAYBE, MAYBE, with_framing(b"content-length: LEN", b"content-length: LEN")),
    Kind("a length that is none", NEVER, NEVER, with_length(LENGTHS)),
    Kind("a length with zeros before it", MAYBE, MAYBE, with_length([b"0LEN", b"0000000000000000000000000LEN"])),
    Kind("another transfer coding", NEVER, NEVER, with_coding(CODINGS)),
    Kind("chunks in HTTP/1.0", NEVER, NEVER, older),
    Kind("bare line feeds in a head", MAYBE, MAYBE, with_bare_ends(b"\n"), refusals_max=2),
    Kind("bare carriage returns in a head", NEVER, NEVER, with_bare_ends(b"\r"), is_cut=True),
    Kind("doubled carriage returns in a head", NEVER, NEVER, with_bare_ends(b"\r\r\n"), refusals_max=2),
    Kind("no end of a head", NEVER, NEVER, unended, is_cut=True),
    Kind("a bad line in a head", NEVER, NEVER, with_lines(LINES), refusals_max=2),
    Kind("8-bit text in a head", MAYBE, MAYBE, with_lines(EIGHT_BIT_LINES)),
    Kind("a host that is none", NEVER, NEVER, with_hosts(HOSTS)),
    Kind("an over-long header", NEVER, MAYBE, with_lines(LONG_LINES)),
    Kind("too many headers", NEVER, MAYBE, with_lines(MANY_LINES)),
    Kind("an over-long target", NEVER, MAYBE, with_first_line(target_of(LONG_TARGETS))),
    Kind("a bad target", NEVER, MAYBE, with_first_line(target_of(TARGETS)), refusals_max=2),
    Kind("an odd target", MAYBE, MAYBE, with_first_line(target_of(ODD_TARGETS))),
    Kind("another method", NEVER, MAYBE, with_first_line(method_of(METHODS))),
    Kind("another version", NEVER, NEVER, with_first_line(version_of(VERSIONS)), refusals_max=2),
    Kind("a few changed bytes", MAYBE, MAYBE, mutant, refusals_max=4),
]
