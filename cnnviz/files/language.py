"""The little language of pipelines and kernels: text -> terms and calls.

    pipeline := term (("->" | "→" | new line) term)*
    term     := call ["as" NAME]
    call     := NAME ["(" [argument ("," argument)*] ")"]
    argument := [NAME "="] value
    value    := NUMBER ["/" NUMBER] | STRING | "@"PATH | "(" value ("," value)* ")" | call

New lines inside parentheses are spaces; ``#`` starts a comment. Words without parentheses are
strings. Reading gives `Call`s; what they mean is for `files.spec` to say. Single values, as flags
write them, are read here, too: numbers and pairs, sizes, shapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cnnviz.errors import RequestError

LONGEST = 1_000_000  # characters of text
DEEPEST = 16  # parentheses within parentheses


@dataclass(frozen=True)
class Call:
    """A name with arguments: ``gaussian(7, sigma=1.5)``."""

    name: str
    values: tuple[Any, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    text: str = ""  # as written, spaces tidied


@dataclass(frozen=True)
class WrittenTerm:
    """One term of a pipeline: a call, and the name after ``as``."""

    call: Call
    name: str | None


@dataclass(frozen=True)
class Token:
    """A piece of text: its kind, its value and where it starts."""

    kind: str
    text: str
    start: int


_TOKENS = re.compile(
    r"""
    (?P<arrow>->|→)
  | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
  | (?P<word>[A-Za-z_](?:[\w.]|-(?!>))*)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
  | (?P<file>@[^\s,()"']+)
  | (?P<punctuation>[(),=/])
  | (?P<newline>\n)
  | (?P<blank>[^\S\n]+|\#[^\n]*)
    """,
    re.VERBOSE | re.ASCII,
)


def parse_pipeline(text: str) -> list[WrittenTerm]:
    """Read a pipeline's text.

    >>> [(t.call.name, t.call.values, t.name) for t in parse_pipeline("conv(8, 5) as a -> relu")]
    [('conv', (8, 5), 'a'), ('relu', (), None)]
    """
    return _Reader(text, "pipeline").pipeline()


def parse_call(text: str, place: str) -> Call:
    """Read one call, such as a kernel's: ``gaussian(7, sigma=1.5)``."""
    reader = _Reader(text, place)
    call = reader.call()
    if reader.peek().kind != "end":
        reader.fail("the end")
    return call


class _Reader:
    """Walks over the tokens once; every method reads what it is named after."""

    def __init__(self, text: str, place: str) -> None:
        if len(text) > LONGEST:
            raise RequestError(f"{place}: the text is longer than {LONGEST:,} characters")
        self.source, self.place = text, place
        self.tokens = self._tokens()
        self.at = 0

    def _tokens(self) -> list[Token]:
        tokens, at, depth = list[Token](), 0, 0
        while at < len(self.source):
            match = _TOKENS.match(self.source, at)
            if match is None:
                self._complain(at, f"cannot read {self.source[at]!r}")
            kind = match.lastgroup or ""
            depth += {"(": 1, ")": -1}.get(match.group(), 0)
            if kind not in ("blank", *(["newline"] if depth > 0 else [])):
                tokens.append(Token(kind, match.group(), at))
            at = match.end()
        return [*tokens, Token("end", "", len(self.source))]

    def peek(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def accept(self, text: str) -> bool:
        """Take the next token if it is this punctuation or word."""
        found = self.peek().text == text and self.peek().kind in ("punctuation", "word")
        self.at += found
        return found

    def fail(self, expected: str) -> NoReturn:
        token = self.peek()
        found = {"end": "the end", "newline": "a new line"}.get(token.kind, repr(token.text))
        self._complain(token.start, f"expected {expected}, found {found}")

    def _complain(self, at: int, what: str) -> NoReturn:
        line = self.source.count("\n", 0, at) + 1
        column = at - (self.source.rfind("\n", 0, at) + 1) + 1
        where = (
            f"line {line}, column {column}" if "\n" in self.source.strip() else f"column {column}"
        )
        around = self.source[max(0, at - 20) : at + 20].replace("\n", " ").strip()
        raise RequestError(f"{self.place}, {where}: {what}", hint=f"near: {around}")

    def pipeline(self) -> list[WrittenTerm]:
        terms = list[WrittenTerm]()
        self._skip_newlines()
        while self.peek().kind != "end":
            if terms and self.peek().kind == "arrow":
                self.take()
                self._skip_newlines()
            terms.append(self._term())
            if self.peek().kind not in ("arrow", "newline", "end"):
                self.fail("-> or the end")
            self._skip_newlines()
        return terms

    def _skip_newlines(self) -> None:
        while self.peek().kind == "newline":
            self.take()

    def _term(self) -> WrittenTerm:
        call = self.call()
        if not self.accept("as"):
            return WrittenTerm(call, None)
        if self.peek().kind != "word":
            self.fail("a name after as")
        return WrittenTerm(call, self.take().text)

    def call(self, depth: int = 0) -> Call:
        if self.peek().kind != "word":
            self.fail("a name")
        name = self.take()
        values, settings = list[Any](), dict[str, Any]()
        if self.accept("("):
            while not self.accept(")"):
                self._argument(values, settings, depth + 1)
                if self.peek().text != ")" and not self.accept(","):
                    self.fail("',' or ')'")
        end = self.tokens[self.at - 1]
        written = self.source[name.start : end.start + len(end.text)]
        tidy = re.sub(r"\s*,\s*", ", ", re.sub(r"\s+", " ", re.sub(r"#[^\n]*", "", written)))
        return Call(name.text, tuple(values), settings, tidy)

    def _argument(self, values: list[Any], settings: dict[str, Any], depth: int) -> None:
        if self.peek().kind == "word" and self.tokens[self.at + 1].text == "=":
            name = self.take().text
            self.take()
            if name in settings:
                self._complain(self.peek().start, f"{name} is given twice")
            settings[name] = self.value(depth)
        elif settings:
            self.fail("name=value (values without a name come first)")
        else:
            values.append(self.value(depth))

    def value(self, depth: int) -> Any:
        if depth > DEEPEST:
            self._complain(self.peek().start, f"more than {DEEPEST} parentheses deep")
        match self.peek().kind:
            case "number":
                return self._number()
            case "string":
                return re.sub(r"\\(.)", r"\1", self.take().text[1:-1])
            case "word" if self.tokens[self.at + 1].text == "(":
                return self.call(depth)
            case "word" | "file":
                return self.take().text
        return self._group(depth)

    def _group(self, depth: int) -> tuple[Any, ...]:
        if not self.accept("("):
            self.fail("a value")
        group = [self.value(depth + 1)]
        while self.accept(",") and self.peek().text != ")":
            group.append(self.value(depth + 1))
        if not self.accept(")"):
            self.fail("',' or ')'")
        return tuple(group)

    def _number(self) -> int | float:
        number = number_of(self.take().text)
        if self.peek().text == "/" and self.accept("/"):
            if self.peek().kind != "number":
                self.fail("a number after /")
            below = number_of(self.take().text)
            if not below:
                self._complain(self.peek().start, "division by 0")
            return number / below
        return number


def number_of(text: str) -> int | float:
    """Return the number a token spells; very long ones become floats."""
    plain = len(text) < 20 and not set(text) & set(".eE")
    return int(text) if plain else float(text)


# --- single values ------------------------------------------------------------------------------


def parse_value(text: str) -> Any:
    """Read a flag's value as the language would: numbers, ``2,1`` as a pair, else a word.

    >>> parse_value("2,1"), parse_value("same"), parse_value("0.5")
    ((2, 1), 'same', 0.5)
    """
    parts = [part.strip() for part in text.strip().strip("()").split(",")]
    if all(
        re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", part, re.IGNORECASE | re.ASCII)
        for part in parts
    ):
        numbers = tuple(number_of(part) for part in parts)
        return numbers if len(numbers) > 1 else numbers[0]
    return text.strip()


def parse_size(text: str, name: str) -> tuple[int, int]:
    """Read HxW, rows first; one number means a square.

    >>> parse_size("28x32", "--resize")
    (28, 32)
    """
    match = re.fullmatch(r"\s*(\d{1,6})(?:\s*[x×,]\s*(\d{1,6}))?\s*", text, re.ASCII)
    if not match or not int(match[1]) or not int(match[2] or match[1]):
        raise RequestError(f"{name} is {text!r}", hint="write rows x columns, such as 224x224")
    return int(match[1]), int(match[2] or match[1])


def parse_shape(text: str) -> tuple[int, int, int]:
    """Read CxHxW (or HxW, one channel; or N, a vector) as ``--input`` takes it.

    >>> parse_shape("3x224x224"), parse_shape("28x28"), parse_shape("784")
    ((3, 224, 224), (1, 28, 28), (784, 1, 1))
    """
    parts = re.split(r"\s*[x×,]\s*", text.strip().strip("[]()"))
    if len(parts) > 3 or not all(re.fullmatch(r"\d{1,7}", p, re.ASCII) for p in parts):
        raise RequestError(
            f"--input is {text!r}", hint="write channels x rows x columns: 3x224x224"
        )
    sizes = [int(part) for part in parts]
    shape = [*sizes, 1, 1] if len(sizes) == 1 else [1, *sizes][-3:]
    if not all(shape):
        raise RequestError(f"--input is {text!r}", hint="every size must be at least 1")
    return shape[0], shape[1], shape[2]
