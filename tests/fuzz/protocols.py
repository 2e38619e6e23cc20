"""What is no request of HTTP/1.1 at all."""

# What replicas begin with, of another cluster: a length, then a record (order-raft/src/network/frame.rs).
FOREIGN_HELLO = b"\x00\x00\x00\x0c\x01\x05other\x01\x00\x02\x00\x00"

PREAMBLES = [
    FOREIGN_HELLO,
    FOREIGN_HELLO[:9],
    FOREIGN_HELLO * 3,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    bytes.fromhex("16030100c8010000c40303") + b"a" * 190,
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
    b"\x05\x01\x00",
    b"\x00\x00\x00\x05hello",
    b"\xff\xff\xff\xff" + b"x" * 64,
    b"\x00" * 100,
    b"GET /livez\r\n",
    b"\r\n" * 50_000,
    b"{}",
    b"",
]


def preamble(random):
    """The beginning of another protocol, or of none."""
    if random.random() < 0.4:
        return random.randbytes(random.choice([1, 3, 4, 16, 100, 5_000, 100_000]))
    return random.choice(PREAMBLES)
