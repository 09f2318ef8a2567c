"""Requests that are wrong in one way each, with the status and code that they are answered with."""

from __future__ import annotations

import random
from collections.abc import Iterator

from raw_http import HEAD, chunked, post

GOOD = b'{"input": {"width": 2, "height": 5}}'
ROW = b'{"width": 2, "height": 5}'


def row(width: bytes) -> bytes:
    return b'{"input": {"width": ' + width + b', "height": 5}}'


def get(path: bytes, method: bytes = b"GET", head: bytes = HEAD) -> bytes:
    return b"%s %s HTTP/1.1\r\n%s\r\n" % (method, path, head)


def nested(depth: int) -> bytes:
    return row(b"[" * depth + b"]" * depth)


INVALID_JSON = {
    "nothing": b"",
    "spaces": b"  \r\n ",
    "a word": b"hello",
    "cut short": GOOD[:-1],
    "two values": GOOD + GOOD,
    "a comma too many": b'{"input": {"width": 2, "height": 5,}}',
    "single quotes": b"{'input': {}}",
    "a comment": b'{"input": /* no */ {}}',
    "NaN": row(b"NaN"),
    "Infinity": row(b"-Infinity"),
    "1e400": row(b"1e400"),
    "a leading zero": row(b"01"),
    "a plus": row(b"+1"),
    "hexadecimal": row(b"0x10"),
    "a bare byte 0xff": row(b'"\xff"'),
    "UTF-8 cut short": row(b'"\xe2\x82"'),
    "UTF-8 of a surrogate": row(b'"\xed\xa0\x80"'),
    "half a surrogate pair": row(b'"\\ud800"'),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "a NUL": b"\x00" + GOOD,
    "a raw newline in a string": row(b'"\n"'),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "a pickle": b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "a form": b"input=1&width=2",
    "a number of 5,000 digits": row(b"9" * 5000),
}

MISMATCH = {
    "null": b"null",
    "a number": b"17",
    "a list": b"[]",
    "an empty object": b"{}",
    "both forms": b'{"input": %s, "inputs": [%s]}' % (ROW, ROW),
    "no rows": b'{"inputs": []}',
    "rows that are no list": b'{"inputs": %s}' % ROW,
    "a row that is a list": b'{"input": [1, 2]}',
    "a row that is null": b'{"input": null}',
    "a missing field": b'{"input": {"width": 2}}',
    "a field too many": b'{"input": {"width": 2, "height": 5, "depth": 1}}',
    "a field misspelled": b'{"input": {"Width": 2, "height": 5}}',
    "as deep as may be, where a number should be": nested(99),
    "text for a number": row(b'"2"'),
    "true for a number": row(b"true"),
    "an object for a number": row(b"{}"),
    "a bad row among good ones": b'{"inputs": [%s, {"width": "x"}, %s]}' % (ROW, ROW),
    "too many rows": b'{"inputs": [%s]}' % b",".join([ROW] * 1001),
    "an unknown key around": b'{"input": %s, "debug": true}' % ROW,
    "a subject that is a number": b'{"input": %s, "subject": 5}' % ROW,
    "an empty subject": b'{"input": %s, "subject": ""}' % ROW,
    "a long subject": b'{"input": %s, "subject": "%s"}' % (ROW, b"x" * 257),
    "parameters that are a list": b'{"input": %s, "parameters": []}' % ROW,
    "a parameter of more than 64 bits": b'{"input": %s, "parameters": {"n": [18446744073709551616]}}' % ROW,
    "another model's name": b'{"input": %s, "model": "pricing"}' % ROW,
    "another version": b'{"input": %s, "version": "9.9.9"}' % ROW,
    "a moment without a zone": b'{"input": %s, "as_of": "2026-01-01T00:00:00"}' % ROW,
    "a moment to come": b'{"input": %s, "as_of": "2999-01-01T00:00:00Z"}' % ROW,
    "__proto__": b'{"input": {"width": 2, "height": 5, "__proto__": {"a": 1}}}',
    "__class__": b'{"input": {"width": 2, "height": 5, "__class__": "x"}}',
    "10,000 unknown fields": b'{"input": {%s}}' % b",".join(b'"f%d": 1' % number for number in range(10_000)),
}

BODIES = [
    *((name, post(body), 400, "invalid_json") for name, body in INVALID_JSON.items()),
    *((name, post(body), 422, "schema_mismatch") for name, body in MISMATCH.items()),
    *((f"nested {depth} deep", post(nested(depth)), 400, "nested_too_deep") for depth in (100, 10_000, 1_000_000)),
    ("nested 10,000 deep in objects", post(b'{"input":' * 10_000), 400, "nested_too_deep"),
    ("nested 10,000 deep without an end", post(row(b"[" * 10_000)), 400, "nested_too_deep"),
]

UNKNOWN_MODELS = [
    *(
        b"nothing",
        b"..",
        b".",
        b"%2e%2e",
        b"%2e%2e%5c",
        b"a%00b",
        b"%00",
        b"%ff",
        b"%",
        b"longer%20",
        b"LONGER",
        b"longer;x",
    ),
    *(b"..%5c..%5cwindows", b"%252e%252e", b"~root", b"$HOME", b"{model}", b"%0d%0aX-Injected:%201", b"'or'1'='1"),
    *(b"file:", b"-rf", b"*", b"a" * 20_000, b"%f0%9f%94%94", b"longer%00.onnx", b"sha256:abc"),
]
UNKNOWN_PATHS = [
    *(b"/models/../../etc/passwd", b"/models/%2e%2e%2f%2e%2e%2fetc/passwd/predict", b"//models/longer/predict"),
    *(
        b"/models/longer/predict/",
        b"/models/longer/predict/x",
        b"/models/longer/versions//predict/",
        b"/v1/models/longer",
    ),
    *(b"/.env", b"/.git/config", b"/docs/../cloche.toml", b"/docs/%2e%2e/app.py", b"/favicon.ico", b"/admin"),
]

NAMES = [
    *(
        (f"model {name[:30]!r}", post(GOOD, b"/models/%s/predict" % name), 404, "unknown_model")
        for name in UNKNOWN_MODELS
    ),
    *((f"path {path!r}", post(GOOD, path), 404, "unknown_path") for path in UNKNOWN_PATHS),
    *((f"page of model {name[:30]!r}", get(b"/models/" + name), 404, "unknown_model") for name in UNKNOWN_MODELS[:3]),
    ("version 9.9.9", post(GOOD, b"/models/longer/versions/9.9.9/predict"), 404, "unknown_version"),
    ("version ..", post(GOOD, b"/models/longer/versions/%2e%2e/predict"), 404, "unknown_version"),
    ("a page of version 9.9.9", get(b"/models/longer/versions/9.9.9"), 404, "unknown_version"),
    ("a moment before the model", post(b'{"input": %s, "as_of": "2000-01-01T00:00:00Z"}' % ROW), 404, "not_live_then"),
    ("no model named", post(GOOD, b"/predict"), 422, "schema_mismatch"),
    ("an unknown model named", post(b'{"model": "x", "input": 1}', b"/predict"), 404, "unknown_model"),
    ("no JSON at /predict", post(b"{", b"/predict"), 400, "invalid_json"),
    *(
        (f"method {method!r}", get(b"/models/longer/predict", method), 405, "method_not_allowed")
        for method in (b"PUT", b"GET", b"OPTIONS", b"MKCOL", b"PURGE", b"QUERY")
    ),
]

HEADERS = [
    *((f"deadline {value!r}", post(GOOD, head=b"Cloche-Deadline-Ms: %s\r\n" % value), 400, "invalid_header")
      for value in (b"", b"0", b"-1", b"1.5", b"soon", b"1e3", b"10000000000", b"\xd9\xa1", b"0x10", b"1 2")),
    *((f"subject {value[:8]!r}", post(GOOD, head=b"Cloche-Subject: %s\r\n" % value), 400, "invalid_header")
      for value in (b"", b"x" * 257, b"\xff\xfe", b"\xc3")),
    ("two deadlines", post(GOOD, head=b"Cloche-Deadline-Ms: 5\r\nCloche-Deadline-Ms: 6\r\n"), 400, "invalid_header"),
    ("two subjects", post(GOOD, head=b"Cloche-Subject: a\r\ncloche-subject: b\r\n"), 400, "invalid_header"),
    ("two hosts", post(GOOD, head=b"Host: 127.0.0.1\r\n"), 400, "invalid_header"),
    ("another host", get(b"/models", head=b"Host: evil.example\r\n"), 421, "unknown_host"),
    ("a host that is none", get(b"/models", head=b"Host: [::1\r\n"), 421, "unknown_host"),
    ("no host", get(b"/models", head=b""), 421, "unknown_host"),
    ("another origin", post(GOOD, head=b"Origin: https://evil.example\r\n"), 403, "forbidden"),
    ("an origin that is none", post(GOOD, head=b"Origin: http://[\r\n"), 403, "forbidden"),
    ("endless headers", post(GOOD, head=b"X-Long: %s\r\n" % (b"x" * 1_000_000)), 431, "head_too_large"),
    ("100,000 headers", post(GOOD, head=b"X: y\r\n" * 100_000), 431, "head_too_large"),
    ("an endless address", get(b"/" + b"x" * 1_000_000), 431, "head_too_large"),
]  # fmt: skip

FRAMING = [
    ("no HTTP", b"hello\r\n\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/9.9", b"GET /live HTTP/9.9\r\n%s\r\n" % HEAD),
    ("an unknown method", get(b"/live", b"BREW")),
    ("a method in small letters", get(b"/live", b"get")),
    ("no address", b"GET HTTP/1.1\r\n%s\r\n" % HEAD),
    ("an address with a space", get(b"/a b")),
    ("an address that is not ASCII", get(b"/mod\xc3\xa9ls")),
    ("a NUL in a header", get(b"/live", head=HEAD + b"X: a\x00b\r\n")),
    ("a header without a colon", get(b"/live", head=HEAD + b"nonsense\r\n")),
    ("a header name with a space", get(b"/live", head=HEAD + b"X Y: 1\r\n")),
    ("a folded header", get(b"/live", head=HEAD + b"X: a\r\n b\r\n")),
    ("a length that is a word", b"POST /predict HTTP/1.1\r\n%sContent-Length: ten\r\n\r\n" % HEAD),
    ("a negative length", b"POST /predict HTTP/1.1\r\n%sContent-Length: -1\r\n\r\n" % HEAD),
    ("a length beyond 64 bits", b"POST /predict HTTP/1.1\r\n%sContent-Length: 99999999999999999999\r\n\r\n" % HEAD),
    ("two lengths", post(GOOD, head=b"Content-Length: 1\r\n")),
    (
        "a length and chunks",
        b"POST /predict HTTP/1.1\r\n%sContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % HEAD,
    ),
    ("an unknown encoding", b"POST /predict HTTP/1.1\r\n%sTransfer-Encoding: gzip\r\n\r\nabc" % HEAD),
    ("a chunk of no size", b"POST /predict HTTP/1.1\r\n%sTransfer-Encoding: chunked\r\n\r\nxyz\r\n" % HEAD),
    ("CONNECT", b"CONNECT evil.example:443 HTTP/1.1\r\n%s\r\n" % HEAD),
]

FINE = {
    "1-byte chunks": chunked(*(GOOD[place : place + 1] for place in range(len(GOOD)))),
    "no content type": post(GOOD),
    "a content type of forms": post(GOOD, head=b"Content-Type: application/x-www-form-urlencoded\r\n"),
    "a query": post(GOOD, b"/models/longer/predict?debug=1"),
    "duplicate keys, of which the last wins": post(b'{"input": {"width": 9, "width": 2, "height": 5}}'),
    "whole numbers as floats": post(row(b"2.0")),
    "many spaces": post(GOOD.replace(b" ", b" " * 100_000)),
    "an offer of HTTP/2, as Java's client makes": post(
        GOOD, head=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"
    ),
    "an authorization that nobody asked for": post(GOOD, head=b"Authorization: Bearer nobody\r\n"),
    "30 kB of headers": post(GOOD, head=b"X-Long: %s\r\n" % (b"x" * 30_000)),
    "an absolute address": post(GOOD, b"http://127.0.0.1/models/longer/predict"),
    "a promise of more": post(GOOD, head=b"Expect: 100-continue\r\n"),
}
"""Unusual, and right."""


def _mutated(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with up to four bytes or runs of bytes changed."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        end = min(len(changed), place + chance.choice([0, 1, 1, 2, 8]))
        changed[place:end] = chance.choice(
            [
                b"",
                bytes([chance.randrange(256)]),
                chance.choice([b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"-", b"e", b"0", b"1e999", b"null"]),
                bytes(changed[place:end]) * 2,
            ]
        )
    return bytes(changed)


def mutations(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """Yield ways in which `data` may be changed, each once: never `data` itself, which a change may leave as it is."""
    seen = {data}
    while True:
        changed = _mutated(data, chance)
        if changed not in seen:
            seen.add(changed)
            yield changed
