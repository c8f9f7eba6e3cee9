"""Which codes a resource's method can refuse with, read off the code: what it calls, and what those call.

Every name and attribute that stands in a function is followed where it leads to more of `api`; types come
from annotations. What is only mentioned is followed too: better a code too many, which the comparison shows.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from types import FunctionType, ModuleType, UnionType
from typing import Any, get_args, get_type_hints

from access.tokens import Tokens
from api.errors import AWAY, BadParameter, Busy, Refusal
from api.parameters import read_parameters
from database.connect import translated_errors
from database.errors import DatabaseUnavailable
from storage.bucket import Bucket
from storage.parts import PartedUpload, begin_upload
from storage.work_queue import WorkQueue

Code = tuple[int, str]
# Whatever asks these may be told that they are away.
MAY_BE_AWAY = (Bucket, PartedUpload, WorkQueue, Tokens, translated_errors, begin_upload, *AWAY)
SERVICE_UNAVAILABLE = (503, "service_unavailable")
# What asks the database may be told that it takes too long.
TOO_SLOW = (503, "too_slow")


class Reach:
    """All that is reached from a class's method; `codes` by status, and whether it `reads_parameters`."""

    def __init__(self, method: Any) -> None:
        self.codes: set[Code] = set()
        self.reads_parameters = False
        self._seen: set[Any] = set()
        owner = getattr(sys.modules[method.__module__], method.__qualname__.split(".")[0])
        self._visit(method, owner)

    def _visit(self, function: Any, owner: type | None) -> None:
        function = inspect.unwrap(function)
        generated = function.__code__.co_filename.startswith("<")  # a dataclass's __init__
        if function in self._seen or generated:
            return
        self._seen.add(function)
        scope = Scope(function, owner)
        for node in nodes_let_through(scope.tree):
            if isinstance(node, ast.Call):
                self._note_code(node, scope)
            if isinstance(node, ast.Name | ast.Attribute):
                self._follow(*scope.target(node))
            if isinstance(node, ast.Call) and isinstance(made := scope.target(node.func)[0], type):
                for name in ("__init__", "__post_init__"):
                    self._follow(made.__dict__.get(name), made)

    def _note_code(self, call: ast.Call, scope: Scope) -> None:
        kind = scope.target(call.func)[0]
        given = {each.arg: each.value for each in call.keywords}
        if kind is BadParameter:
            self.codes.add((400, literal(given["code"])))
        if kind is Refusal:
            self.codes.add((literal(call.args[0]), literal(call.args[1])))

    def _follow(self, target: Any, owner: type | None) -> None:
        if isinstance(target, property):
            target = target.fget
        if target is read_parameters:
            self.reads_parameters = True
        elif target is Busy:
            self.codes.add((503, "busy"))
        elif target in MAY_BE_AWAY or owner in MAY_BE_AWAY:
            self.codes.add(SERVICE_UNAVAILABLE)
            self.codes |= {TOO_SLOW} if target is translated_errors else set()
        elif isinstance(target, FunctionType) and target.__module__.startswith("api."):
            self._visit(target, owner)


def nodes_let_through(tree: ast.AST) -> Iterator[ast.AST]:
    """All but what is asked of a database that may be away, where nothing comes of that."""
    if isinstance(tree, ast.Try):
        caught = [
            one for one in tree.handlers if one.type and DatabaseUnavailable.__name__ in ast.dump(one.type)
        ]
        if caught and not any(isinstance(node, ast.Raise) for one in caught for node in ast.walk(one)):
            return
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from nodes_let_through(child)


class Scope:
    """A function's source, and what the names in it mean."""

    def __init__(self, function: Any, owner: type | None) -> None:
        self.tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        assert isinstance(self.tree, ast.FunctionDef)
        self.tree.decorator_list = []
        self._globals = function.__globals__
        self._types: dict[str, Any] = get_type_hints(function) | {"self": owner}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._types.setdefault(node.targets[0].id, self.type_of(node.value))
            if isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
                self._types.setdefault(node.optional_vars.id, self.type_of(node.context_expr))

    def target(self, node: ast.AST) -> tuple[Any, type | None]:
        """What stands there, and the class that it is found in."""
        if isinstance(node, ast.Name):
            return (None, None) if node.id in self._types else (self._globals.get(node.id), None)
        if isinstance(node, ast.Attribute):
            value = self.target(node.value)[0]
            if isinstance(value, ModuleType | type):
                return getattr(value, node.attr, None), None
            kind = self.type_of(node.value)
            return inspect.getattr_static(kind, node.attr, None) if kind else None, kind
        return None, None

    def type_of(self, node: ast.AST) -> Any:
        """By annotations alone; None where they do not say."""
        if isinstance(node, ast.Call):
            made, _ = self.target(node.func)
            return made if isinstance(made, type) else returned(made)
        if isinstance(node, ast.Name):
            return only_class(self._types.get(node.id))
        if isinstance(node, ast.Attribute) and (kind := self.type_of(node.value)):
            found = inspect.getattr_static(kind, node.attr, None)
            return (
                returned(found.fget)
                if isinstance(found, property)
                else only_class(hints(kind).get(node.attr))
            )
        return None


def hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind) if kind.__module__.startswith(("api.", "storage.", "access.")) else {}


def returned(function: Any) -> Any:
    if not isinstance(function, FunctionType) or not function.__module__.startswith(("api.", "storage.")):
        return None
    return only_class(get_type_hints(inspect.unwrap(function)).get("return"))


def only_class(kind: Any) -> type | None:
    """Of `X | None`, X."""
    if isinstance(kind, UnionType):
        kind = next((each for each in get_args(kind) if each is not type(None)), None)
    return kind if isinstance(kind, type) else None


def literal(node: ast.expr) -> Any:
    assert isinstance(node, ast.Constant), f"a code or status that is no literal: {ast.unparse(node)}"
    return node.value


def all_codes(modules: Iterator[ModuleType]) -> set[str]:
    """Every code that is written down anywhere in these."""
    found: set[Any] = set()
    for module in modules:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                codes = [each.value for each in node.keywords if each.arg == "code"]
                codes += node.args[1:2] if node.func.id == Refusal.__name__ else []
                found |= {each.value for each in codes if isinstance(each, ast.Constant)}
    return found
