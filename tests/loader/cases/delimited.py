"""Cases of CSV."""

from __future__ import annotations

from loader.chunks import COLUMNS
from tests.loader.cases.case import DAY_RULE, PRICE_RULE, Case
from tests.loader.dumps import PRICES

MISSING_HEADER = "the header lacks orig_code, lacks dest_code, lacks day, lacks price"


def csv(header: str = ",".join(COLUMNS), *rows: str, end: str = "\n", encoding: str = "utf-8") -> bytes:
    lines = [header, *(rows or [",".join(str(value) for value in row) for row in PRICES])]
    return "".join(line + end for line in lines).encode(encoding)


def parted(separator: str) -> bytes:
    return csv().replace(b",", separator.encode())


LATIN_1 = csv("orig_code,dest_code,day,price", "CNSGH,NLRTM,2021-01-01,1", "Gävle,NLRTM,2021-01-01,1")
CSV_CASES = [
    Case("a header and rows, parted by commas", csv),
    Case(
        "columns in another order",
        lambda: csv("price,day,dest_code,orig_code", *(",".join(map(str, row[::-1])) for row in PRICES)),
    ),
    Case("behind a byte order mark (UTF-8)", b"\xef\xbb\xbf" + csv()),
    Case("lines that end in CRLF", csv(end="\r\n")),
    Case("a last line without its end, from a file", csv().rstrip()),
    Case(
        "quoted values",
        lambda: csv(
            '"orig_code","dest_code","day","price"',
            *(",".join(f'"{value}"' for value in row) for row in PRICES),
        ),
    ),
    Case("spaces around the names of columns", csv(" orig_code , dest_code, day ,price")),
    Case("semicolons", parted(";")),
    Case("tabs", parted("\t")),
    Case("bars", parted("|")),
    Case("semicolons below a line `sep=;`", b"sep=;\r\n" + parted(";").replace(b"\n", b"\r\n")),
    Case(
        "mended rows of `--rejects`",
        lambda: csv(
            ",".join((*COLUMNS, "rejected_file", "rejected_line", "rejected_text", "rejected_reason")),
            *(",".join(map(str, row)) + ',a.csv,7,"x,""y""",no price' for row in PRICES),
        ),
    ),
    Case(
        "semicolons and decimal commas",
        csv("orig_code;dest_code;day;price", "CNSGH;NLRTM;2021-01-01;1.234,50"),
        f"line 2: price is '1.234,50': {PRICE_RULE}",
    ),
    Case(
        "commas, where the header has semicolons",
        csv("orig_code;dest_code;day;price"),
        "line 2: dest_code: missing: the line has 1 of 4 columns",
    ),
    Case(
        "semicolons and one more column",
        csv("orig_code;dest_code;day;price;note"),
        "the header parted by semicolons has 'note', which is not a column",
    ),
    Case("colons", parted(":"), MISSING_HEADER),
    Case(
        "a column more",
        csv("orig_code,dest_code,day,price,note"),
        "the header has 'note', which is not a column",
    ),
    Case("a column less", csv("orig_code,dest_code,day"), "the header lacks price"),
    Case("a column twice", csv("orig_code,dest_code,day,price,day"), "the header has day twice"),
    Case("no header", csv("CNSGH,NLRTM,2021-01-01,100"), MISSING_HEADER),
    Case("a header alone", b"orig_code,dest_code,day,price\n", "no rows: there is nothing below the header"),
    Case("nothing", b"", "the file is empty"),
    Case("a blank line", csv() + b"\n", "line 4: the line is blank"),
    Case(
        "a line with too few values",
        csv() + b"CNSGH,NLRTM,2021-01-01\n",
        "line 4: price: missing: the line has 3 of 4 columns",
    ),
    Case(
        "a quote that is not closed",
        csv() + b'"CNSGH,NLRTM,2021-01-01,1\n',
        "line 4: a quote is not closed on its line",
    ),
    Case("lines that end in CR alone", csv(end="\r"), "the header has a carriage return inside"),
    Case(
        "a day as 01.03.2021",
        csv().replace(b"2021-01-01", b"01.03.2021"),
        f"line 2: day is '01.03.2021': {DAY_RULE}",
    ),
    Case(
        "a price with a fraction",
        csv().replace(b",100", b",100.5"),
        f"line 2: price is '100.5': {PRICE_RULE}",
    ),
    Case(
        "a code that no port has",
        csv().replace(b"NLRTM", b"XXXXX"),
        "line 2: dest_code is 'XXXXX': no such port",
    ),
    Case("Latin-1", LATIN_1.decode().encode("latin-1"), "line 3: not UTF-8: byte 0xe4"),
    Case("UTF-16", csv(encoding="utf-16"), "the file is UTF-16"),
    Case("UTF-16 without a mark", csv(encoding="utf-16-le"), "the file is UTF-16"),
    Case("UTF-32", csv(encoding="utf-32"), "the file is UTF-32"),
    Case(
        "without line ends, as `curl -d` sends it", csv().replace(b"\n", b""), "the file is CSV on one line"
    ),
]
