"""How much of everything one request, one client and all of them together may take."""

from dataclasses import dataclass

BODY_SECONDS = 30.0  # that a slow client is given to send the rest of its request


@dataclass(frozen=True)
class Limits:
    """What the server accepts; beyond it a request is refused with the status in brackets."""

    body_bytes: int = 32 << 20  # of one request (413)
    in_flight_bytes: int = 256 << 20  # of the bodies of all requests under way (503)
    client_bytes: int = 128 << 20  # the same of one client's address; 0 for no limit (429)
    pixels: int = 40_000_000  # of one picture; known from its header, before it is decoded (413)
    files: int = 64  # pictures in one request (413)
    queue: int = 512  # pictures accepted and not yet answered, of all clients (503)
    per_client: int = 256  # the same of one client's address; 0 for no limit (429)
    batch: int = 64  # pictures that the network sees together
    wait_seconds: float = 0.0  # that the first picture of a batch waits for others


class RefusedError(Exception):
    """A request or a picture that is not answered: the HTTP status, and a sentence for people."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
