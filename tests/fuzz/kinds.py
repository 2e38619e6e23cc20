"""What may become of a broken request.

Each kind says whether the request may be carried out, and whether the listener may go on with the connection:

  NEVER   it must not
  MAYBE   the standards leave it open, so what is answered is what must have happened
  MUST    it must
"""

from dataclasses import dataclass

NEVER, MAYBE, MUST = "never", "maybe", "must"


@dataclass(frozen=True)
class Kind:
    """A way to break a request."""

    name: str
    done: str
    goes_on: str
    # From the generator of chance and a request to bytes.
    make: object
    # It ends before its end: nothing may follow, and the sender says that nothing more comes.
    is_cut: bool = False
    # Refusals that it may get: what is left of it may look like another request.
    refusals_max: int = 1
