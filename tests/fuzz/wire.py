"""One connection to a listener: bytes as they are, and every answer that came."""

import socket
import struct
import time
from dataclasses import dataclass, field

CONNECT_TIMEOUT_S = 5.0
# An end, or an answer, that takes longer counts as none.
END_TIMEOUT_S = 15.0
READ_BYTES = 65536


class Malformed(Exception):
    """What came is no answer of HTTP/1.1."""


@dataclass
class Answer:
    """An answer, read whole."""

    status: int
    headers: dict
    body: bytes

    @property
    def request_id(self):
        return self.headers.get("x-request-id")

    @property
    def closes(self):
        return self.headers.get("connection", "").lower() == "close"


@dataclass
class Exchange:
    """What became of a connection."""

    answers: list = field(default_factory=list)
    # "closed", "reset", "silent" (neither an end nor enough answers in time), or "left" (by us).
    end: str = "left"
    malformed: str = ""
    raw: bytes = b""


def connect(address):
    """A connection whose pieces go out as they are handed over."""
    stream = socket.create_connection(address, CONNECT_TIMEOUT_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def send(stream, pieces, pause_s):
    """Sends the pieces one by one. The listener may close before it has read all of them."""
    try:
        for piece in pieces:
            stream.sendall(piece)
            if pause_s:
                time.sleep(pause_s)
    except OSError:
        return False
    return True


def reset(stream):
    """Ends a connection without a word to the other side's reader."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def half_close(stream):
    """Says that nothing more comes."""
    try:
        stream.shutdown(socket.SHUT_WR)
    except OSError:
        # The other side was faster.
        pass


def read_to_end(stream, methods, enough=None, already=b""):
    """Reads until the other side ends, or has given `enough` answers; `already` came before."""
    exchange = Exchange(raw=already)
    deadline = time.monotonic() + END_TIMEOUT_S
    try:
        while True:
            stream.settimeout(max(0.01, deadline - time.monotonic()))
            part = stream.recv(READ_BYTES)
            if not part:
                exchange.end = "closed"
                break
            exchange.raw += part
            if enough is not None and len(answers_in(exchange.raw, methods, False)[0]) >= enough:
                break
    except TimeoutError:
        exchange.end = "silent"
    except OSError:
        exchange.end = "reset"
    except Malformed:
        # Said below, once everything is there.
        pass
    try:
        exchange.answers, rest = answers_in(exchange.raw, methods, exchange.end == "closed")
        # What a connection that was reset still had to say may be cut anywhere.
        if rest and exchange.end == "closed":
            exchange.malformed = f"the answers end with a part of one: {rest[:80]!r}"
    except Malformed as error:
        exchange.malformed = str(error)
    return exchange


def answers_in(raw, methods, is_all):
    """All whole answers, and what is left. `methods` of the requests by their ids: HEAD is answered without a body."""
    answers, at = [], 0
    while at < len(raw):
        found = answer_at(raw, at, methods, is_all)
        if found is None:
            break
        answer, at = found
        if answer.status >= 200:
            answers.append(answer)
    return answers, raw[at:]


def answer_at(raw, at, methods, is_all):
    """The answer that begins here and where it ends; none if it is not there whole."""
    end = raw.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    status, headers = head_of(raw[at:end])
    start = end + 4
    if methods.get(headers.get("x-request-id")) == "HEAD" or status < 200 or status in (204, 304):
        return Answer(status, headers, b""), start
    if headers.get("transfer-encoding") == "chunked":
        return chunked_answer(raw, start, status, headers)
    if "content-length" not in headers:
        return (Answer(status, headers, raw[start:]), len(raw)) if is_all else None
    length = int(headers["content-length"])
    if len(raw) < start + length:
        return None
    return Answer(status, headers, raw[start : start + length]), start + length


def head_of(head):
    """Status and headers; names in lower case."""
    first, *lines = head.split(b"\r\n")
    words = first.split(b" ", 2)
    if len(words) != 3 or words[0] not in (b"HTTP/1.1", b"HTTP/1.0") or not (words[1].isdigit() and len(words[1]) == 3):
        raise Malformed(f"no status line: {first[:80]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise Malformed(f"no header: {line[:80]!r}")
        key = name.decode("latin-1").lower()
        if key in ("content-length", "transfer-encoding", "x-request-id") and key in headers:
            raise Malformed(f"two headers {key}")
        headers[key] = value.strip().decode("latin-1")
    return int(words[1]), headers


def chunked_answer(raw, at, status, headers):
    """An answer in chunks."""
    body = b""
    while True:
        end = raw.find(b"\r\n", at)
        if end < 0:
            return None
        try:
            size = int(raw[at:end], 16)
        except ValueError as error:
            raise Malformed(f"no size of a chunk: {raw[at:end][:80]!r}") from error
        at = end + 2 + size + 2
        if len(raw) < at:
            return None
        body += raw[end + 2 : end + 2 + size]
        if size == 0:
            return Answer(status, headers, body), at
