"""Finds tests that a slow machine fails: what compares measured seconds with a bound that is too small.

A figure belongs into `make bench`. A test asks for an order of events, for a ratio within the test, or for a
bound of SECONDS_MIN or more, which no machine misses that does its work at all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path

from tests.house.files import ROOT, parsed

SECONDS_MIN = 30
CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time", "now", "total_seconds"}
# Names of what was measured, as the house has them: the unit comes last.
MEASURED = re.compile(r"(^|_)(s|ms|us|seconds|seconds_left|elapsed|took)$")
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")
CONSTANT_SECONDS = re.compile(r"[A-Z][A-Z0-9_]*_S")
# Calls that fail a test after this argument's seconds; by name, the argument's position.
WAITS = {"wait_until": 1}


def timed(path: Path) -> list[str]:
    """`line: source` of each comparison in a module of tests that a slow machine fails."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for function in functions(parsed(path).body)
        for node in faults_in(list(ast.walk(function)), constants_of(path))
    ]


def functions(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of a module and its classes, each with what is defined inside of it."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node
            case ast.ClassDef(body=inner):
                yield from functions(inner)


def faults_in(nodes: list[ast.AST], constants: Mapping[str, float]) -> Iterator[ast.expr]:
    """`nodes` are all those of a function."""
    measured = names_measured([node for node in nodes if isinstance(node, ast.Assign)])
    for node in nodes:
        match node:
            case ast.Assert(test=test):
                compared = (each for each in ast.walk(test) if isinstance(each, ast.Compare))
                yield from (each for each in compared if is_timed(each, measured, constants))
            case ast.Call(func=ast.Name(id=name)) if name in WAITS:
                bound = bound_of(node, WAITS[name])
                if bound is not None and is_small(bound, constants):
                    yield node


def bound_of(call: ast.Call, position: int) -> ast.expr | None:
    """The argument with the seconds, wherever it stands in the call."""
    by_name = [keyword.value for keyword in call.keywords if keyword.arg == "timeout_s"]
    return (call.args[position:] + by_name or [None])[0]


def names_measured(assignments: list[ast.Assign]) -> set[str]:
    """Names that a clock's reading has gone into, also by way of others."""
    names: set[str] = set()
    before = -1
    while len(names) != before:
        before = len(names)
        for node in assignments:
            if reads_clock(node.value, names):
                targets = [each for target in node.targets for each in ast.walk(target)]
                names |= {each.id for each in targets if isinstance(each, ast.Name)}
    return names


def reads_clock(expression: ast.expr, names: set[str]) -> bool:
    return any(
        (isinstance(node, ast.Attribute) and node.attr in CLOCKS)
        or (isinstance(node, ast.Name) and node.id in names)
        for node in ast.walk(expression)
    )


def is_measured(expression: ast.expr, names: set[str]) -> bool:
    """Reads a clock, or has a name that ends with a unit of time and is no constant."""
    if reads_clock(expression, names):
        return True
    return any(MEASURED.search(name) and not CONSTANT.fullmatch(name) for name in words_of(expression))


def words_of(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        match node:
            case (
                ast.Name(id=name)
                | ast.Attribute(attr=name)
                | ast.Subscript(slice=ast.Constant(value=str(name)))
            ):
                yield name


def is_timed(node: ast.Compare, names: set[str], constants: Mapping[str, float]) -> bool:
    """Whether what was measured has to be less than, or about, a small number of seconds."""
    sides = [node.left, *node.comparators]
    for (left, right), sign in zip(pairwise(sides), node.ops, strict=True):
        match sign:
            case ast.Lt() | ast.LtE():
                lower, upper = left, right
            case ast.Gt() | ast.GtE():
                lower, upper = right, left
            case ast.Eq():
                lower, upper = left, tolerance_of(right)
            case _:
                continue
        if upper is None or not is_small(upper, constants):
            continue
        if is_measured(lower, names) or (has_unit(upper) and not is_constant(lower)):
            return True
    return False


def has_unit(bound: ast.expr) -> bool:
    """Whether a constant of seconds is in it: what is compared with that was measured, whatever its name."""
    return any(CONSTANT_SECONDS.fullmatch(name) for name in words_of(bound))


def is_constant(expression: ast.expr) -> bool:
    """A number or a constant's name, of this module or another."""
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return CONSTANT.fullmatch(name) is not None
    return isinstance(expression, ast.Constant)


def tolerance_of(expression: ast.expr) -> ast.expr | None:
    """What `pytest.approx` allows in seconds; a share of the value is no time."""
    if isinstance(expression, ast.Call) and ast.unparse(expression.func) in {"pytest.approx", "approx"}:
        return next((keyword.value for keyword in expression.keywords if keyword.arg == "abs"), None)
    return None


def is_small(bound: ast.expr, constants: Mapping[str, float]) -> bool:
    value = value_of(bound, constants)
    return value is not None and value < SECONDS_MIN


def value_of(expression: ast.expr, constants: Mapping[str, float]) -> float | None:
    """Of a number, a constant's name, or what is reckoned of these; None where it is something else."""
    match expression:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return constants.get(name)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as sign, right=right):
            first, second = value_of(left, constants), value_of(right, constants)
            return None if first is None or second is None else reckon(sign, first, second)
    return None


def reckon(sign: ast.operator, left: float, right: float) -> float:
    match sign:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
    return left / right if right else float("inf")


@cache
def constants_of(path: Path) -> dict[str, float]:
    """The numbers that a module's constants are, its own and those of ours that it imports."""
    found: dict[str, float] = {}
    for node in parsed(path).body:
        match node:
            case ast.ImportFrom(module=str(module), names=names):
                origin = ROOT / f"{module.replace('.', '/')}.py"
                if origin.is_file() and origin != path:
                    theirs = constants_of(origin)
                    found |= {
                        each.asname or each.name: theirs[each.name] for each in names if each.name in theirs
                    }
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                number = value_of(value, found)
                if number is not None:
                    found[name] = number
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                numbers = [value_of(value, found) for value in values]
                found |= {
                    target.id: number
                    for target, number in zip(targets, numbers, strict=False)
                    if isinstance(target, ast.Name) and number is not None
                }
    return found
