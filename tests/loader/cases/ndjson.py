"""Cases of NDJSON."""

from __future__ import annotations

from tests.loader.cases.case import PRICE_RULE, Case
from tests.loader.dumps import PRICES


def ndjson(*changes: tuple[str, str]) -> bytes:
    lines = [
        f'{{"orig_code": "{orig}", "dest_code": "{dest}", "day": "{day}", "price": {price}}}\n'
        for orig, dest, day, price in PRICES
    ]
    text = "".join(lines)
    for old, new in changes:
        text = text.replace(old, new)
    return text.encode()


NDJSON_CASES = [
    Case("an object a line", ndjson),
    Case(
        "keys in another order",
        lambda: b"".join(
            b'{"price":%d,"day":"%s","dest_code":"%s","orig_code":"%s"}\n'
            % (price, day.encode(), dest.encode(), orig.encode())
            for orig, dest, day, price in PRICES
        ),
    ),
    Case("prices as strings", ndjson(("100}", '"100"}'), ("200}", '"200"}'))),
    Case("behind a byte order mark (UTF-8)", b"\xef\xbb\xbf" + ndjson()),
    Case("lines that end in CRLF", ndjson(("\n", "\r\n"))),
    Case("a key more", ndjson(("200}", '200, "note": 1}')), "line 2: has 'note', which is not a column"),
    Case("a key less, or null", ndjson(("100}", "null}")), "line 1: price: missing: a value is expected"),
    Case("a price with a fraction", ndjson(("100}", "100.0}")), f"line 1: price is '100.0': {PRICE_RULE}"),
    Case("a blank line", ndjson() + b"\n", "line 3: the line is blank"),
    Case("what is no JSON", ndjson(("200}", "200")), "line 2: not JSON"),
    Case("a JSON array", b"[" + ndjson().replace(b"}\n{", b"},\n{") + b"]", "the file is a JSON array"),
    Case(
        "JSON spread over lines",
        ndjson(("{", "{\n  "), (", ", ",\n  ")),
        "the file is JSON spread over lines",
    ),
    Case(
        "an array in an object, over lines",
        b'{"prices": [\n' + ndjson().replace(b"}\n{", b"},\n{") + b"]}",
        "the file is JSON spread over lines",
    ),
    Case(
        "without line ends, as `curl -d` sends it", ndjson(("\n", "")), "the file is JSON objects on one line"
    ),
]
