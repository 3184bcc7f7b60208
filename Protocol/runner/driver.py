"""Says a conversation's lines with the frames of ../python, for run.py --client.

    run.py --client 'python3 driver.py {port}'

A driver of a whole client would call what leads to the frame. This one sends the frame: it shows
the form of a driver, and that both pairs of hands write the same bytes.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))

import frames
import transcript


def main(port: int) -> None:
    connection: socket.socket | None = None
    for text in sys.stdin:
        text = text.rstrip("\n")
        if text == "C. close":
            continue
        line = transcript.parse_frame("C", "", text.split(": ", 1)[1])
        if line.frame is not None and line.frame.type == frames.HELLO:
            connection = socket.create_connection(("127.0.0.1", port))
            # The token is free: some sixteen bytes where the line has one.
            line.frame.fields["session"] = bytes(16 if "session" in line.frame.fields else 0)
        connection.sendall(line.raw if line.frame is None else encoded(line.frame))


def encoded(frame: frames.Frame) -> bytes:
    fields = known(frame.fields)
    if frame.type == frames.OPEN:
        chosen = fields.pop("chosen")
        if "resume" in chosen:
            chosen["resume"] = known(chosen["resume"])
        fields["options"] = frames.options(**chosen) + fields.pop("extra")
    return frames.encode(frames.Frame(frame.type, frame.link, frame.flags, fields))


def known(fields: dict) -> dict:
    """Whatever a line leaves to the account is 0 here, as nobody keeps one."""
    return {name: 0 if value == transcript.ANY else value for name, value in fields.items()}


if __name__ == "__main__":
    main(int(sys.argv[1]))
