"""What schemathesis has to know of Sluice that its document cannot say."""

import json
import re
import threading
import unicodedata
import urllib.error
import urllib.request

import schemathesis

NAME_BYTES_MAX = 200
NO_NAME = {"Cc", "Cf", "Zs", "Zl", "Zp"}
STREAM_ROUNDS_MAX = 80


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    """To the document lines are an array: it knows no other way to say what each is."""
    lines = value if isinstance(value, list) else [value]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@schemathesis.serializer("application/vnd.sluice.records")
def records(ctx, value):
    """Plain records, as many as there are parts of the text."""
    parts = value.split(b" ") if isinstance(value, bytes) else str(value).encode().split(b" ")
    return b"".join(b"\0" + len(part).to_bytes(3, "big") + part for part in parts)


def fits(values):
    """Whether names that are short enough in characters are so in bytes.

    Nor are control and invisible characters for a name, which the document excludes and no pattern
    of its dialect can.
    """
    names = [(values or {}).get(name) for name in ("topic", "group")]
    texts = [str(name) for name in names if name is not None]
    return all(
        len(text.encode()) <= NAME_BYTES_MAX
        and not any(unicodedata.category(character) in NO_NAME for character in text)
        for text in texts
    )


@schemathesis.hook
def filter_path_parameters(ctx, path_parameters):
    return fits(path_parameters)


@schemathesis.hook
def filter_query(ctx, query):
    return fits(query)


@schemathesis.hook
def map_query(ctx, query):
    """Nobody waits for minutes here: what is a time stays one, and a short one."""
    wait = (query or {}).get("wait")
    if isinstance(wait, str) and re.fullmatch(r"\d{1,3}s?", wait) and int(wait.rstrip("s")) <= 300:
        query["wait"] = f"{int(wait.rstrip('s'))}ms"
    elif isinstance(wait, str) and re.fullmatch(r"\d{4,6}ms", wait) and int(wait[:-2]) <= 300_000:
        query["wait"] = f"{int(wait[:-2]) // 1_000}ms"
    return query


ENDS = {}


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """A stream has no end of its own: its topic is removed under it."""
    if case.operation.definition.raw.get("operationId") != "stream":
        return
    path = case.formatted_path.removesuffix("/stream")
    over = ENDS[case.id] = threading.Event()
    url = case.operation.base_url.rstrip("/") + path

    def end():
        for _ in range(STREAM_ROUNDS_MAX):
            if over.wait(0.1):
                return
            try:
                urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=5)
            except (urllib.error.URLError, OSError, ValueError):
                pass

    threading.Thread(target=end, daemon=True).start()


@schemathesis.hook
def after_call(ctx, case, response):
    over = ENDS.pop(case.id, None)
    if over is not None:
        over.set()
