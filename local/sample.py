"""Makes the bundled sample: world ports in a tree of regions and two months of prices, as a plain dump.

`python -m local.sample > local/sample.sql` writes it; the local stack imports it into an empty database.
The same bytes come out everywhere: of `random` only seeding with a string and `random()` are used, which
Python promises to keep, and prices come from plain arithmetic on their results.
"""

import argparse
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

SEED = "rates sample 1"
FIRST_DAY = date(2021, 1, 1)
LAST_DAY = date(2021, 2, 28)
DAYS = [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]


class Region(NamedTuple):
    slug: str
    name: str
    parent_slug: str | None
    feeder_usd: int = 0  # what reaching its ports adds to the price of a trade's hub ports


class Port(NamedTuple):
    code: str  # UN/LOCODE
    name: str
    parent_slug: str


class Trade(NamedTuple):
    orig_slug: str
    dest_slug: str
    level_usd: int  # a container between hub ports, at the start of 2021
    lanes: int


class Lane(NamedTuple):
    orig_code: str
    dest_code: str
    level_usd: int
    schedule: str  # a key of SCHEDULES


REGIONS = [
    Region("far_east", "Far East", None),
    Region("china_main", "China Main", "far_east"),
    Region("china_north", "China North", "china_main", 60),
    Region("china_east", "China East", "china_main", 40),
    Region("yangtze_delta", "Yangtze Delta", "china_east"),
    Region("china_south", "China South", "china_main", 40),
    Region("pearl_river_delta", "Pearl River Delta", "china_south", 10),
    Region("japan", "Japan", "far_east", 90),
    Region("korea", "Korea", "far_east", 30),
    Region("south_east_asia", "South East Asia", "far_east", 50),
    Region("northern_europe", "Northern Europe", None, 520),
    Region("north_sea", "North Sea", "northern_europe", 60),
    Region("rhine_scheldt", "Rhine and Scheldt", "north_sea"),
    Region("german_bight", "German Bight", "north_sea", 20),
    Region("british_isles", "British Isles", "northern_europe", 240),
    Region("great_britain", "Great Britain", "british_isles", 70),
    Region("nordics", "Nordics", "northern_europe", 210),
    Region("norway", "Norway", "nordics", 260),
    Region("norway_north", "Norway North", "norway", 610),
    Region("kattegat_coast", "Kattegat Coast", "nordics", 130),
    Region("baltic_sea", "Baltic Sea", "northern_europe", 230),
    Region("baltic_states", "Baltic States", "baltic_sea", 190),
    Region("finland", "Finland", "baltic_sea", 210),
    Region("sweden_east", "Sweden East", "baltic_sea", 220),
    Region("poland", "Poland", "baltic_sea", 120),
    Region("iberian_atlantic", "Iberian Atlantic", None, 110),
    Region("north_america", "North America", None),
    Region("us_west_coast", "US West Coast", "north_america"),
    Region("us_east_coast", "US East Coast", "north_america"),
    Region("canada", "Canada", "north_america", 240),
    Region("brazil", "Brazil", None, 80),
    Region("northern_sea_route", "Northern Sea Route", None),  # a region without ports
]

PORTS = [
    Port("CNDAL", "Dalian", "china_north"),
    Port("CNTXG", "Xingang (Tianjin New Pt)", "china_north"),
    Port("CNQIN", "Qingdao", "china_north"),
    Port("CNLYG", "Lianyungang", "china_east"),
    Port("CNSGH", "Shanghai", "yangtze_delta"),
    Port("CNNBO", "Ningbo", "yangtze_delta"),
    Port("CNXAM", "Xiamen", "china_south"),
    Port("CNGGZ", "Guangzhou", "pearl_river_delta"),
    Port("CNSHK", "Shekou", "pearl_river_delta"),
    Port("CNYTN", "Yantian", "pearl_river_delta"),
    Port("HKHKG", "Hong Kong", "pearl_river_delta"),
    Port("JPTYO", "Tokyo", "japan"),
    Port("JPYOK", "Yokohama", "japan"),
    Port("JPUKB", "Kobe", "japan"),
    Port("KRPUS", "Busan", "korea"),
    Port("KRINC", "Incheon", "korea"),
    Port("SGSIN", "Singapore", "south_east_asia"),
    Port("MYPKG", "Port Klang (Pelabuhan Klang)", "south_east_asia"),
    Port("THLCH", "Laem Chabang", "south_east_asia"),
    Port("VNSGN", "Ho Chi Minh City", "south_east_asia"),
    Port("IDJKT", "Jakarta, Java", "south_east_asia"),
    Port("ISREY", "Reykjavík", "northern_europe"),
    Port("FOTHO", "Tórshavn (Thorshavn)", "northern_europe"),
    Port("NLAMS", "Amsterdam", "north_sea"),
    Port("NLRTM", "Rotterdam", "rhine_scheldt"),
    Port("BEANR", "Antwerpen", "rhine_scheldt"),
    Port("BEZEE", "Zeebrugge", "rhine_scheldt"),
    Port("DEHAM", "Hamburg", "german_bight"),
    Port("DEBRV", "Bremerhaven", "german_bight"),
    Port("DEWVN", "Wilhelmshaven", "german_bight"),
    Port("IEDUB", "Dublin", "british_isles"),
    Port("GBFXT", "Felixstowe", "great_britain"),
    Port("GBSOU", "Southampton", "great_britain"),
    Port("GBLGP", "London Gateway Port", "great_britain"),
    Port("NOOSL", "Oslo", "norway"),
    Port("NOBGO", "Bergen", "norway"),
    Port("NOAES", "Ålesund", "norway"),
    Port("NOTOS", "Tromsø", "norway_north"),
    Port("NONVK", "Narvik", "norway_north"),
    Port("SEGOT", "Göteborg", "kattegat_coast"),
    Port("SEMMA", "Malmö", "kattegat_coast"),
    Port("DKCPH", "København", "kattegat_coast"),
    Port("DKAAR", "Aarhus", "kattegat_coast"),
    Port("RULED", "Saint Petersburg (ex Leningrad)", "baltic_sea"),
    Port("EETLL", "Tallinn", "baltic_states"),
    Port("LVRIX", "Riga", "baltic_states"),
    Port("LTKLJ", "Klaipeda", "baltic_states"),
    Port("FIHEL", "Helsingfors (Helsinki)", "finland"),
    Port("FIKTK", "Kotka", "finland"),
    Port("FITKU", "Åbo (Turku)", "finland"),
    Port("SESTO", "Stockholm", "sweden_east"),
    Port("SEGVX", "Gävle", "sweden_east"),
    Port("PLGDN", "Gdansk", "poland"),
    Port("PLGDY", "Gdynia", "poland"),
    Port("PTLEI", "Leixões", "iberian_atlantic"),
    Port("PTSET", "Setúbal", "iberian_atlantic"),
    Port("ESGIJ", "Gijón", "iberian_atlantic"),
    Port("USLAX", "Los Angeles", "us_west_coast"),
    Port("USOAK", "Oakland", "us_west_coast"),
    Port("USNYC", "New York", "us_east_coast"),
    Port("USSAV", "Savannah", "us_east_coast"),
    Port("CAVAN", "Vancouver", "canada"),
    Port("CAMTR", "Montréal", "canada"),
    Port("BRSSZ", "Santos", "brazil"),
    Port("BRPNG", "Paranaguá", "brazil"),
]

TRADES = [
    Trade("china_main", "northern_europe", 2150, 62),
    Trade("northern_europe", "china_main", 980, 14),
    Trade("china_main", "iberian_atlantic", 2240, 8),
    Trade("china_main", "us_west_coast", 3650, 10),
    Trade("china_main", "us_east_coast", 4700, 8),
    Trade("china_main", "south_east_asia", 620, 8),
    Trade("japan", "northern_europe", 2060, 6),
    Trade("korea", "northern_europe", 2110, 6),
    Trade("south_east_asia", "northern_europe", 1890, 10),
    Trade("us_east_coast", "northern_europe", 1140, 5),
    Trade("northern_europe", "us_east_coast", 2260, 5),
    Trade("northern_europe", "canada", 2050, 4),
    Trade("brazil", "northern_europe", 1310, 4),
]

# Lanes that are there whatever is drawn: the README's, one in both directions, one with very few prices.
NAMED_LANES = {
    ("CNSGH", "EETLL"): "daily",
    ("CNSGH", "NLRTM"): "daily",
    ("NLRTM", "CNSGH"): "daily",
    ("CNLYG", "FOTHO"): "monthly",
}
SCHEDULES = {
    "daily": DAYS,
    "weekdays": [day for day in DAYS if day.weekday() < 5],
    "twice a week": [day for day in DAYS if day.weekday() in {0, 3}],
    "monthly": [day for day in DAYS if day.day == 15],
}

CARRIERS = 6  # at most so many prices for a lane and day
HOLIDAYS = {date(2021, 1, 1)}
LUNAR_NEW_YEAR = {date(2021, 2, 11) + timedelta(days=n) for n in range(7)}
EMPTY_DAY_SHARE = 0.03
THIN_DAY_SHARE = 0.07
THIN_QUIET_DAY_SHARE = 0.55  # on Sundays and around the lunar new year
# Prices climb until the lunar new year and fall after it, in straight lines between these.
SEASON = [(date(2021, 1, 1), 1.0), (date(2021, 2, 11), 1.08), (date(2021, 2, 28), 0.97)]

HEAD = """\
--
-- Sample data in the form of a plain pg_dump, made by python -m local.sample
--

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;
"""

COLUMNS = {
    "ports": {"code": "text NOT NULL", "name": "text NOT NULL", "parent_slug": "text NOT NULL"},
    "prices": {
        "orig_code": "text NOT NULL",
        "dest_code": "text NOT NULL",
        "day": "date NOT NULL",
        "price": "integer NOT NULL",
    },
    "regions": {"slug": "text NOT NULL", "name": "text NOT NULL", "parent_slug": "text"},
}

CONSTRAINTS = [
    ("ports", "ports_pkey", "PRIMARY KEY (code)"),
    ("regions", "regions_pkey", "PRIMARY KEY (slug)"),
    ("ports", "ports_parent_slug_fkey", "FOREIGN KEY (parent_slug) REFERENCES public.regions(slug)"),
    ("prices", "prices_dest_code_fkey", "FOREIGN KEY (dest_code) REFERENCES public.ports(code)"),
    ("prices", "prices_orig_code_fkey", "FOREIGN KEY (orig_code) REFERENCES public.ports(code)"),
    ("regions", "regions_parent_slug_fkey", "FOREIGN KEY (parent_slug) REFERENCES public.regions(slug)"),
]


def main() -> None:
    """Write the sample to standard output or to the file named."""
    parser = argparse.ArgumentParser(prog="python -m local.sample", description="Write the sample dump.")
    parser.add_argument("--output", type=Path, help="the file to write (standard output if not given)")
    output: Path | None = parser.parse_args().output
    dump = sample_sql().encode()
    if output:
        output.write_bytes(dump)
    else:
        sys.stdout.buffer.write(dump)


def sample_sql() -> str:
    """The whole sample as the text of a plain dump."""
    rows = {
        "ports": ("\t".join(port) for port in PORTS),
        "prices": (row for lane in lanes() for row in price_rows(lane)),
        "regions": ("\t".join((region.slug, region.name, region.parent_slug or r"\N")) for region in REGIONS),
    }
    parts = [HEAD]
    parts += [create_table(table) for table in COLUMNS]
    parts += [copy_section(table, rows[table]) for table in COLUMNS]
    parts += [add_constraint(*constraint) for constraint in CONSTRAINTS]
    parts.append("--\n-- PostgreSQL database dump complete\n--\n")
    return "\n".join(parts)


def lanes() -> list[Lane]:
    """The named lanes and, trade by trade, so many of its port pairs drawn at random; sorted by codes."""
    rng = random_stream(SEED)
    drawn: dict[tuple[str, str], Lane] = {}
    for trade in TRADES:
        pairs = [(orig, dest) for orig in ports_of(trade.orig_slug) for dest in ports_of(trade.dest_slug)]
        shuffled = sorted(pairs, key=lambda _: rng.random())
        named_first = sorted(shuffled, key=lambda pair: (pair[0].code, pair[1].code) not in NAMED_LANES)
        for orig, dest in named_first[: trade.lanes]:
            drawn[orig.code, dest.code] = draw_lane(rng, trade, orig, dest)
    return [drawn[codes] for codes in sorted(drawn)]


def draw_lane(rng: Random, trade: Trade, orig: Port, dest: Port) -> Lane:
    level_usd = trade.level_usd + feeder_usd(orig) + feeder_usd(dest)
    share = rng.random()
    drawn_schedule = "daily" if share < 0.38 else "weekdays" if share < 0.72 else "twice a week"
    return Lane(
        orig.code,
        dest.code,
        int(level_usd * (0.94 + 0.12 * rng.random())),
        NAMED_LANES.get((orig.code, dest.code), drawn_schedule),
    )


def price_rows(lane: Lane) -> Iterator[str]:
    """A lane's prices, day by day, as rows of a COPY section.

    Each carrier keeps its distance from the lane's level, which drifts from day to day under the season.
    Every lane has a random stream of its own, so that a changed lane leaves the others as they were.
    """
    rng = random_stream(f"{SEED} {lane.orig_code} {lane.dest_code}")
    distances = [0.91 + 0.18 * rng.random() for _ in range(CARRIERS)]
    usual_count = 3 + int(4 * rng.random())
    drift = 1.0
    for day in DAYS:
        drift *= 1 + 0.012 * (rng.random() - 0.5)
        if day not in SCHEDULES[lane.schedule]:
            continue
        level_usd = lane.level_usd * season(day) * drift
        for distance in distances[: price_count(rng, day, usual_count)]:
            price_usd = int(level_usd * distance * (0.995 + 0.01 * rng.random()))
            yield f"{lane.orig_code}\t{lane.dest_code}\t{day.isoformat()}\t{price_usd}"


def price_count(rng: Random, day: date, usual_count: int) -> int:
    """How many prices a lane has on a day: none, one or two (too thin for an average), or three to six."""
    share = rng.random()
    if day in HOLIDAYS or share < EMPTY_DAY_SHARE:
        return 0
    quiet = day.weekday() == 6 or day in LUNAR_NEW_YEAR
    if share < EMPTY_DAY_SHARE + (THIN_QUIET_DAY_SHARE if quiet else THIN_DAY_SHARE):
        return 1 + int(2 * rng.random())
    return min(CARRIERS, max(3, usual_count - 1 + int(3 * rng.random())))


def season(day: date) -> float:
    """The season's factor on a day, in straight lines between the points of SEASON."""
    (start, low), (end, high) = next(line for line in pairwise(SEASON) if day <= line[1][0])
    return low + (high - low) * ((day - start).days / (end - start).days)


def random_stream(seed: str) -> Random:
    return Random(seed)  # noqa: S311 - the sample must repeat, not surprise


def feeder_usd(port: Port) -> int:
    return next(region.feeder_usd for region in REGIONS if region.slug == port.parent_slug)


def ports_of(slug: str) -> list[Port]:
    """The ports of a region and of all regions below it, in the order they are listed."""
    below = {slug}
    for region in REGIONS:  # a parent is listed before its children
        if region.parent_slug in below:
            below.add(region.slug)
    return [port for port in PORTS if port.parent_slug in below]


def create_table(table: str) -> str:
    columns = ",\n".join(f"    {name} {kind}" for name, kind in COLUMNS[table].items())
    return title(table, "TABLE") + f"CREATE TABLE public.{table} (\n{columns}\n);\n\n"


def copy_section(table: str, rows: Iterator[str]) -> str:
    copy = f"COPY public.{table} ({', '.join(COLUMNS[table])}) FROM stdin;\n"
    body = "".join(f"{row}\n" for row in rows)
    return title(table, "TABLE DATA", "Data for Name") + f"{copy}{body}\\.\n\n"


def add_constraint(table: str, name: str, definition: str) -> str:
    kind = "FK CONSTRAINT" if definition.startswith("FOREIGN KEY") else "CONSTRAINT"
    head = title(f"{table} {name}", kind)
    return head + f"ALTER TABLE ONLY public.{table}\n    ADD CONSTRAINT {name} {definition};\n\n"


def title(name: str, kind: str, label: str = "Name") -> str:
    return f"--\n-- {label}: {name}; Type: {kind}; Schema: public; Owner: -\n--\n\n"


if __name__ == "__main__":
    main()
