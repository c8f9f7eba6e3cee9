"""Splits a plain dump into statements, as psql does, and runs none of them.

A semicolon ends a statement unless it stands in a string, a quoted name, a comment, brackets or a function's
body, `BEGIN ATOMIC … END`; a backslash begins a command of psql's, which ends with its line (PostgreSQL:
"Lexical Structure"; psql: psqlscan.l). pglast, the server's own scanner as a library, would need the whole
dump in memory, and knows neither psql's commands nor where rows begin.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from loader.formats.lines import LineReader

# Of a statement, what is kept to tell its kind by.
TEXT_MAX = 10_000
TOKEN = re.compile(
    r"(?P<comment>--.*)|(?P<block>/\*)|(?P<escaping>[eE]')|(?P<string>')|(?P<name>\")"
    r"|(?P<dollar>\$(?:[^\W\d]\w*)?\$)|(?P<word>[^\W\d][\w$]*)|(?P<number>\d+[^\W\d]?)"
    r"|(?P<opening>\()|(?P<closing>\))|(?P<end>;)|(?P<command>\\.*)"
)
COMMENT_EDGE = re.compile(r"/\*|\*/")
ESCAPES_TO_QUOTE = re.compile(r"(?:[^'\\]|\\.)*'")
# How a string is opened in which a backslash escapes.
ESCAPING = "E'"
ROUTINE = re.compile(r"create (or replace )?(function|procedure)\b")
ROUTINE_WORDS = 4
REST_OF_LINE = re.compile(r"\s*(--.*)?")
# Up to PostgreSQL 9.0 a backslash escaped in every string, and a server may still be told so.
STRINGS = re.compile(r"SET standard_conforming_strings ?(?:=|TO) ?'?(?P<standard>on|off)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """A statement without its comments and its semicolon, or a command of psql's with its backslash.

    `line` is where it begins. `text` has one blank for each run of white space, and of a long statement only
    the beginning. `is_last` says that nothing but a comment is behind it on its line. `ended` is False where
    the dump ends before it does.
    """

    line: int
    text: str
    is_last: bool = True
    ended: bool = True


@dataclass
class Begun:
    """What has been read of a statement whose end has not."""

    line: int
    pieces: list[str] = field(default_factory=list)
    length: int = 0
    first_words: list[str] = field(default_factory=list)
    brackets: int = 0
    # BEGIN and CASE in a function's body that have no END yet.
    blocks: int = 0

    def add(self, text: str) -> None:
        if self.length < TEXT_MAX:
            self.pieces.append(text)
            self.length += len(text)

    def count_blocks(self, word: str) -> None:
        """As psql does: only of a function or procedure, and not inside of brackets."""
        word = word.lower()
        if len(self.first_words) < ROUTINE_WORDS:
            self.first_words.append(word)
        if self.brackets or word not in ("begin", "case", "end"):
            return
        if ROUTINE.match(" ".join(self.first_words)):
            opens = word == "begin" or (word == "case" and self.blocks > 0)
            self.blocks = max(self.blocks + (1 if opens else -(word == "end")), 0)

    @property
    def ends(self) -> bool:
        """Whether it does at a semicolon."""
        return not (self.brackets or self.blocks)

    @property
    def text(self) -> str:
        return " ".join("".join(self.pieces)[:TEXT_MAX].split())


class Statements:
    """Reads on only when asked, so that the rows behind a statement can be taken from `lines` meanwhile.

    `decode` makes text of a line, by its number. `comment` is told of each comment that begins
    its line.
    """

    def __init__(
        self, lines: LineReader, decode: Callable[[int, bytes], str], comment: Callable[[str], None]
    ) -> None:
        self._lines, self._decode, self._comment = lines, decode, comment
        self._begun: Begun | None = None
        # What is open: a quote, a $tag$, or ESCAPING; and comments, which nest, from a line on.
        self._quote: str | None = None
        self._comments_open, self._comment_line = 0, 0
        self._strings_escape = False

    def __iter__(self) -> Iterator[Statement]:
        while (line_no := self._lines.line) and (line := self._lines.take(1)):
            yield from self._of_line(line_no, self._decode(line_no, line))
        if self._begun is not None:
            yield Statement(self._begun.line, self._begun.text, ended=False)
        elif self._comments_open:
            yield Statement(self._comment_line, "/*", ended=False)

    def _of_line(self, line_no: int, text: str) -> Iterator[Statement]:
        """The statements that end in it."""
        at = 0
        while at < len(text):
            if self._comments_open:
                at = self._past_comment(text, at)
            elif self._quote is not None:
                at = self._past_quote(text, at)
            else:
                token = TOKEN.search(text, at)
                between = text[at : token.start() if token else len(text)]
                if self._begun is not None or between.strip():
                    self._statement(line_no).add(between)
                at = token.end() if token else len(text)
                if token is not None:
                    yield from self._take(line_no, token)
        if self._begun is not None:
            self._begun.add("\n")

    def _take(self, line_no: int, token: re.Match[str]) -> Iterator[Statement]:
        text, line, begun = token.group(), token.string, self._begun
        match token.lastgroup:
            case "comment":
                if not line[: token.start()].strip():
                    self._comment(text)
            case "block":
                self._comments_open, self._comment_line = 1, line_no
            case "command":
                yield Statement(line_no, text.strip())
            case "end" if begun is not None and begun.ends:
                yield self._end(begun, is_last=REST_OF_LINE.fullmatch(line, token.end()) is not None)
            case "end" if begun is None:  # a statement without a word
                pass
            case kind:
                self._add(self._statement(line_no), kind, text)

    def _end(self, statement: Begun, *, is_last: bool) -> Statement:
        self._begun = None
        if strings := STRINGS.match(statement.text):
            self._strings_escape = strings["standard"].lower() == "off"
        return Statement(statement.line, statement.text, is_last)

    def _add(self, statement: Begun, kind: str | None, text: str) -> None:
        statement.add(text)
        match kind:
            case "word":
                statement.count_blocks(text)
            case "opening":
                statement.brackets += 1
            case "closing":
                statement.brackets = max(statement.brackets - 1, 0)
            case "escaping":
                self._quote = ESCAPING
            case "string":
                self._quote = ESCAPING if self._strings_escape else text
            case "name" | "dollar":
                self._quote = text

    def _statement(self, line_no: int) -> Begun:
        if self._begun is None:
            self._begun = Begun(line_no)
        return self._begun

    def _past_comment(self, text: str, at: int) -> int:
        """Where on its line the comment ends, and the line where it does not."""
        while self._comments_open:
            edge = COMMENT_EDGE.search(text, at)
            if edge is None:
                return len(text)
            self._comments_open += 1 if edge.group() == "/*" else -1
            at = edge.end()
        if self._begun is not None:
            self._begun.add(" ")
        return at

    def _past_quote(self, text: str, at: int) -> int:
        """Where on its line what is quoted ends, and the line where it does not; two quotes are one in it."""
        assert self._begun is not None
        assert self._quote is not None
        mark = self._quote.removeprefix("E")
        to_mark = ESCAPES_TO_QUOTE if self._quote == ESCAPING else re.compile(f".*?{re.escape(mark)}")
        found = to_mark.match(text, at)
        end = found.end() if found else len(text)
        if found and len(mark) == 1 and text.startswith(mark, end):
            end += 1
        elif found:
            self._quote = None
        self._begun.add(text[at:end])
        return end
