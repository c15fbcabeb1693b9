"""What no OpenAPI document can say, told to schemathesis for requests that are meant to be good ones."""

import json

import schemathesis
from schemathesis.generation import GenerationMode

# Well-formed, of a writer that never was: the service waits for it, then answers 503.
UNKNOWN_RECEIPT = "0.00000000-0000-7000-8000-000000000000.1.0"


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    headers, query = case.headers or {}, case.query or {}
    # A key is used once: again with another body is 422.
    if "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = f"key of {case.id}"
    # An ETag comes from an answer; without any the answer is 428, which tests of the project's own show.
    if case.method in ("PUT", "DELETE"):
        headers["If-Match"] = "*"
        case.headers = headers
    if "Refold-Receipt" in headers:
        headers["Refold-Receipt"] = UNKNOWN_RECEIPT
        headers["Prefer"] = "wait=0"
    # A cursor comes from an answer, too.
    query.pop("cursor", None)
    # Which views take a time or have gaps to fill, and together with which key, is told by the view's definition.
    for name in ("from", "until", "fill"):
        query.pop(name, None)
    # How many partitions there are is the log's affair.
    query.pop("partition", None)


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """An array stands for lines. Whatever else is no body at all is sent as a line, where it is none either."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    items = value if isinstance(value, list) else [[value]]
    return "".join(json.dumps(item) + "\n" for item in items).encode()
