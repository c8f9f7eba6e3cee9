"""Cases of what is sent by mistake."""

from __future__ import annotations

import bz2
import io
import lzma
import sqlite3
import tarfile
import zipfile
import zlib
from urllib.parse import quote

from tests.loader.cases.case import Case
from tests.loader.cases.delimited import csv
from tests.loader.cases.parquet import GOOD


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return content.getvalue()


def tarred(name: str = "prices.csv") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(csv())
        archive.addfile(member, io.BytesIO(csv()))
    return content.getvalue()


def sqlite() -> bytes:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE TABLE prices (price integer)")
        return connection.serialize()


def written(method: str) -> bytes:
    """By Polars, with its `method`."""
    content = io.BytesIO()
    getattr(GOOD, method)(content)
    return content.getvalue()


def multipart() -> bytes:
    head = b'--b0undary\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    return head + csv() + b"\r\n--b0undary--\r\n"


MISTAKEN_CASES = [
    Case("bzip2", lambda: bz2.compress(csv()), "the file is packed with bzip2"),
    Case("xz", lambda: lzma.compress(csv()), "the file is packed with xz"),
    Case("lzma", lambda: lzma.compress(csv(), lzma.FORMAT_ALONE), "the file is packed with lzma"),
    Case("lzip", b"LZIP\x01\x0c" + bytes(30), "the file is packed with lzip"),
    Case("lz4", b"\x04\x22\x4d\x18\x64\x40\xa7" + csv(), "the file is packed with lz4"),
    Case("Snappy, framed", b"\xff\x06\0\0sNaPpY" + csv(), "the file is packed with Snappy"),
    Case("compress (.Z)", b"\x1f\x9d\x90" + csv(), "the file is packed with compress"),
    Case("zlib", lambda: zlib.compress(csv()), "the file is packed with zlib"),
    Case("tar", tarred, "the file is a tar archive"),
    Case("ZIP", lambda: zipped("prices.csv"), "the file is a ZIP archive"),
    Case("ZIP, empty", zipped(), "the file is an empty ZIP archive"),
    Case("7z", b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(50), "the file is a 7z archive"),
    Case("RAR", b"Rar!\x1a\x07\x01\0" + bytes(50), "the file is a RAR archive"),
    Case(
        "Excel, .xlsx",
        lambda: zipped("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"),
        "the file is an Excel workbook (.xlsx)",
    ),
    Case(
        "Excel, .xls",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504),
        "the file is an Excel workbook (.xls)",
    ),
    Case(
        "LibreOffice, .ods",
        lambda: zipped("mimetype").replace(
            b"mimetypex", b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet"
        ),
        "the file is an OpenDocument file (.ods)",
    ),
    Case("Arrow IPC file, Feather 2", lambda: written("write_ipc"), "the file is an Arrow IPC file"),
    Case("Arrow IPC stream", lambda: written("write_ipc_stream"), "the file is an Arrow IPC stream"),
    Case("Feather 1", b"FEA1" + bytes(50), "the file is an Arrow IPC file"),
    Case("ORC", b"ORC" + bytes(50), "the file is an ORC file"),
    Case("Avro", lambda: written("write_avro"), "the file is an Avro file"),
    Case("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(50), "the file is an HDF5 file"),
    Case("SQLite", sqlite, "the file is an SQLite database"),
    Case("PDF", b"%PDF-1.7\n", "the file is a PDF document"),
    Case("RTF", b"{\\rtf1 prices}", "the file is an RTF document"),
    Case("an image", b"\x89PNG\r\n\x1a\n" + bytes(50), "the file is an image"),
    Case("HTML", b"\n<!DOCTYPE html>\n<html><table>", "the file is HTML, perhaps an error"),
    Case("XML", b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "the file is XML"),
    Case("a form that was saved (multipart/form-data)", multipart, "the file is a form (multipart)"),
    Case(
        "CSV as `curl --data-urlencode` sends it",
        lambda: quote(csv()).encode(),
        "the file is a form (urlencoded)",
    ),
    Case(
        "an answer with its headers (`curl -i`)",
        lambda: b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n\r\n" + csv(),
        "the file is an HTTP answer with its headers",
    ),
    Case(
        "a pointer of Git LFS",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
        "the file is a pointer of Git LFS",
    ),
    Case("PGP", b"-----BEGIN PGP MESSAGE-----\n\nhQEM\n", "the file is encrypted with PGP"),
]
