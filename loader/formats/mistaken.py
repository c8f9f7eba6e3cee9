"""What is sent by mistake, told by how it begins: `content` refuses it by name, wherever the bytes come from.

No file of prices and no dump begins as one of these (`test_no_file_of_prices_is_taken_for_something_else`).
"""

from __future__ import annotations

import json
import re

UNPACK = "unpack it, or pack it with gzip or zstd"
TAKE_OUT = "unpack it and load the files inside"
AS_CSV = "save it as CSV"
CONVERT = "write it as CSV, NDJSON or Parquet"
AS_UTF_8 = "expected UTF-8"
NO_DATA = "expected a file of prices"
PLAIN = "expected a plain dump (pg_dump --format=plain)"
# With `curl -d` line ends are dropped, so that all rows stand on one line.
ON_ONE_LINE = "send it with curl --data-binary @FILE, which keeps line ends"
NAME = rb"(?:orig_code|dest_code|day|price)"
TEXT = rb"(?:\xef\xbb\xbf)?\s*"  # what may stand before text

# How each begins, what it is, and what to do.
BEGINNINGS = tuple(
    (re.compile(pattern, re.DOTALL), what, remedy)
    for pattern, what, remedy in (
        (rb"\xff\xfe\0\0|\0\0\xfe\xff", "UTF-32", AS_UTF_8),
        (rb"\xff\xfe|\xfe\xff|(?:[\t-~]\0){4}|(?:\0[\t-~]){4}", "UTF-16", AS_UTF_8),
        (rb"BZh[1-9]", "packed with bzip2", UNPACK),
        (rb"\xfd7zXZ\0", "packed with xz", UNPACK),
        (rb"\x5d\0\0.{2}", "packed with lzma", UNPACK),
        (rb"LZIP", "packed with lzip", UNPACK),
        (rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18", "packed with lz4", UNPACK),
        (rb"\xff\x06\0\0sNaPpY", "packed with Snappy", UNPACK),
        (rb"\x1f[\x9d\xa0]", "packed with compress", UNPACK),
        (rb"x[\x01\x5e\x9c\xda]", "packed with zlib", UNPACK),
        (rb"toc\.dat\0.{249}ustar", "a dump in tar format", PLAIN),
        (rb".{257}ustar(?:\0|  \0)", "a tar archive", TAKE_OUT),
        (rb"PK\x05\x06", "an empty ZIP archive", NO_DATA),
        (rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis", "an OpenDocument file (.ods)", AS_CSV),
        (rb"PK\x03\x04.*?xl/(?:workbook|worksheets|_rels|theme)", "an Excel workbook (.xlsx)", AS_CSV),
        (rb"PK(?:\x03\x04|\x07\x08)", "a ZIP archive", TAKE_OUT),
        (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", TAKE_OUT),
        (rb"Rar!\x1a\x07", "a RAR archive", TAKE_OUT),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls)", AS_CSV),
        (rb"\{\\rtf", "an RTF document", AS_CSV),
        (rb"%PDF-", "a PDF document", NO_DATA),
        (rb"\x89PNG|\xff\xd8\xff|GIF8", "an image", NO_DATA),
        (rb"PARE", "an encrypted Parquet file", "expected a plain one"),
        (rb"ARROW1|FEA1", "an Arrow IPC file (Feather)", CONVERT),
        (rb"\xff\xff\xff\xff.{3}\0", "an Arrow IPC stream", CONVERT),
        (rb"ORC", "an ORC file", CONVERT),
        (rb"Obj\x01", "an Avro file", CONVERT),
        (rb"\x89HDF", "an HDF5 file", CONVERT),
        (rb"SQLite format 3\0", "an SQLite database", CONVERT),
        (rb"PGDMP", "an archive of pg_dump", PLAIN),
        (TEXT + rb"(?:--|/\*!999999.*?\n--) (?:MySQL|MariaDB) dump", "a dump of MySQL", CONVERT),
        (TEXT + rb"-----BEGIN PGP", "encrypted with PGP", "decrypt it"),
        (TEXT + rb"<(?i:!doctype html|html|head|body|table|title|div)\b", "HTML, perhaps an error", NO_DATA),
        (TEXT + rb"<[?!a-zA-Z]", "XML", CONVERT),
        (TEXT + rb"--[^\r\n]+\r?\n(?i:content-[a-z-]+:)", "a form (multipart)", "send the file alone"),
        (TEXT + rb"(?:[\w-]+=)?" + NAME + rb"%(?i:2C|3B|09|7C)", "a form (urlencoded)", ON_ONE_LINE),
        (TEXT + rb"HTTP/[0-9.]+ [0-9]{3}", "an HTTP answer with its headers", "load its body alone"),
        (TEXT + rb"version https://git-lfs", "a pointer of Git LFS", "get the file with git lfs pull"),
        (TEXT + rb"\[", "a JSON array", "expected NDJSON, an object a line (jq -c '.[]')"),
        (TEXT + NAME + rb"(?:[,;\t|]" + NAME + rb"){3}[A-Z0-9][^\r\n]*\Z", "CSV on one line", ON_ONE_LINE),
    )
)  # fmt: skip
# Numbers as they are spelled: of thousands of digits, none is made.
DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def mistaken_for(head: bytes, *, whole: bool) -> tuple[str, str] | None:
    """What begins like `head`, and what to do about it; None for what may be prices or a dump.

    `head` is the `whole` content, or tens of KB of it.
    """
    for beginning, what, remedy in BEGINNINGS:
        if beginning.match(head):
            return what, remedy
    return json_that_is_no_ndjson(head if whole else head[: head.rfind(b"\n") + 1])


def json_that_is_no_ndjson(head: bytes) -> tuple[str, str] | None:
    """Of an object that goes on behind its line, or shares its line with the next one."""
    text = head.decode("utf-8-sig", errors="replace").strip()
    if not text.startswith("{"):
        return None
    try:
        _, end = DECODER.raw_decode(text)
        if text.startswith("{", end):
            return "JSON objects on one line", f"expected an object a line; {ON_ONE_LINE}"
    except json.JSONDecodeError as error:
        if error.pos < len(text):  # it is no JSON, which the rules explain by line
            return None
        end = error.pos
    except RecursionError:
        return None
    if "\n" in text[:end]:
        return "JSON spread over lines", "expected NDJSON, an object a line (jq -c .)"
    return None
