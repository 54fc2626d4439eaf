"""The upgrade of Python declarations: keyword arguments and dict keys of parts, and reads of their fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

import libcst as cst
from libcst.codemod import CodemodContext, VisitorBasedCodemodCommand
from libcst.codemod.visitors import AddImportsVisitor, RemoveImportsVisitor
from libcst.metadata import PositionProvider, QualifiedNameProvider

from cli.upgrading import (
    Finding,
    UnreadableSourceError,
    Upgraded,
    explain_retirement,
    find_unit,
    make_automatic_finding,
    make_duplicate_finding,
    make_manual_finding,
    parts,
)
from cli.upgrading.arguments import remove_items
from millrace.deprecations import Entry, Table, get_current_name
from millrace.part import Part

#: The name of the declaration in a use case's package.
_DECLARED = "USE_CASE"
_PARTIAL = "functools.partial"
#: Calls that have no side effect.
_HARMLESS = frozenset({"datetime.timedelta", "datetime.datetime", "datetime.date"})


def upgrade_module(content: bytes, module: str, table: Table) -> Upgraded:
    """Upgrade a Python module to the current names.

    Args:
        content: The content of the file.
        module: The module's dotted name, e.g. `stacks.churn`.
        table: The renamed and the retired fields.

    Returns:
        The new content, equal to the old one if nothing changes, and the findings in the order of their lines.

    Raises:
        UnreadableSourceError: When the content is not valid Python.
    """
    try:
        # Python's own parser first: its error messages are better.
        ast.parse(content)
        tree = cst.parse_module(content)
    except SyntaxError as error:
        raise UnreadableSourceError(error.lineno, f"SyntaxError: {error.msg}") from error
    except cst.ParserSyntaxError as error:
        raise UnreadableSourceError(error.raw_line, error.message) from error
    # ValueError: null bytes, in older releases.
    except ValueError as error:
        raise UnreadableSourceError(None, str(error)) from error
    # Skip the slow analysis if no old name occurs in the file.
    if not any(entry.old.encode() in content for entry in table.entries):
        return Upgraded(content)
    command = _Upgrade(CodemodContext(full_module_name=module, full_package_name=module), table)
    changed = command.transform_module(tree)
    findings = command.findings + [each for each in command.unseen if _occurs_in(changed.code, each.old)]
    return Upgraded(changed.bytes, sorted(findings, key=lambda each: each.line))


def _occurs_in(code: str, name: str) -> bool:
    """Return True if a name occurs in the code as a key or keyword."""
    return re.search(rf"""(["']){name}\1|\b{name}\s*=""", code) is not None


class _Upgrade(VisitorBasedCodemodCommand):
    METADATA_DEPENDENCIES = (PositionProvider, QualifiedNameProvider)

    def __init__(self, context: CodemodContext, table: Table) -> None:
        super().__init__(context)
        self.findings: list[Finding] = []
        #: Findings about old names that may be in a `**` argument, whose content is not known here.
        self.unseen: list[Finding] = []
        self._table, self._parts, self._starred = table, parts.list_parts(), False

    # -- where parts are made ------------------------------------------------------------------------------------------

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        if isinstance(node.names, cst.ImportStar) and node.module is not None:
            module = cst.helpers.get_full_name_for_node(node.module)
            self._starred = self._starred or module in parts.MODULES

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        part, skipped = self._part(original_node.func), 0
        if part is None and self._names(original_node.func) == {_PARTIAL} and original_node.args:
            part, skipped = self._part(original_node.args[0].value), 1
        if part is None:
            return updated_node
        args, before = self._arguments(part, original_node, updated_node, skipped)
        return updated_node.with_changes(args=args, whitespace_before_args=before)

    def _arguments(self, part: type[Part], original: cst.Call, updated: cst.Call, skipped: int) -> tuple[Any, Any]:
        splats = [arg.value for arg in original.args if arg.star == "**"]
        given = {arg.keyword.value for arg in original.args if arg.keyword}
        given |= {name for each in splats if isinstance(each, cst.Dict) for name in _keys(each)}
        args, dropped = list(updated.args), set()
        for place, (old, new) in enumerate(zip(original.args, updated.args, strict=True)):
            if place < skipped:
                continue
            if old.star == "**":
                args[place] = new.with_changes(value=self._splat(part, old.value, new.value, given))
            elif old.keyword is not None and (route := self._table.trace(part.__name__, old.keyword.value)):
                fixed = self._fix_value(part, old.keyword, route, old.value, new.value, given)
                if fixed is None:
                    dropped.add(place)
                elif self._is_renamed(route, given):
                    args[place] = new.with_changes(keyword=cst.Name(get_current_name(route) or ""), value=fixed)
            elif old.keyword is not None:
                args[place] = new.with_changes(value=self._held(part, old.keyword.value, old.value, new.value))
        return remove_items(args, dropped, updated.whitespace_before_args)

    def _splat(
        self, part: type[Part], old: cst.BaseExpression, new: cst.BaseExpression, given: set[str]
    ) -> cst.BaseExpression:
        if isinstance(old, cst.Dict) and isinstance(new, cst.Dict):
            return self._dict(part, old, new, given)
        code, line = cst.Module([]).code_for_node(old), self._line(old)
        for name in self._table.get_entries(part.__name__):
            route = self._table.trace(part.__name__, name)
            reason = (
                f"{name} is now called {get_current_name(route)}"
                if get_current_name(route)
                else f"{name} has no effect any more"
            )
            reason += f"; it may be in **{code}, which cannot be determined here: check it, and change it by hand"
            self.unseen.append(make_manual_finding(line, part.__name__, name, route, reason))
        return new

    def _held(
        self, part: type[Part], field: str, old: cst.BaseExpression, new: cst.BaseExpression
    ) -> cst.BaseExpression:
        """Return the value of a field, upgraded where literal dicts are given for parts."""
        inner = parts.find_held_part(part, field)
        if inner is None:
            return new
        if isinstance(old, cst.Dict) and isinstance(new, cst.Dict):
            return self._dict(inner, old, new, set(_keys(old)))
        if isinstance(old, cst.List | cst.Tuple) and isinstance(new, cst.List | cst.Tuple):
            elements = [
                after.with_changes(value=self._held(part, field, before.value, after.value))
                if isinstance(before.value, cst.Dict)
                else after
                for before, after in zip(old.elements, new.elements, strict=True)
            ]
            return new.with_changes(elements=elements)
        return new

    def _dict(self, part: type[Part], old: cst.Dict, new: cst.Dict, given: set[str]) -> cst.Dict:
        elements: list[cst.BaseDictElement] = list(new.elements)
        dropped = set()
        for place, (before, after) in enumerate(zip(old.elements, new.elements, strict=True)):
            if not isinstance(before, cst.DictElement) or not isinstance(after, cst.DictElement):
                continue
            if not isinstance(before.key, cst.SimpleString):
                continue
            name = str(before.key.evaluated_value)
            route = self._table.trace(part.__name__, name)
            if not route:
                elements[place] = after.with_changes(value=self._held(part, name, before.value, after.value))
                continue
            fixed = self._fix_value(part, before.key, route, before.value, after.value, given)
            if fixed is None:
                dropped.add(place)
            elif self._is_renamed(route, given):
                key = before.key.with_changes(value=before.key.value.replace(name, get_current_name(route) or name))
                elements[place] = after.with_changes(key=key, value=fixed)
        kept, space = remove_items(elements, dropped, new.lbrace.whitespace_after)
        return new.with_changes(elements=kept, lbrace=new.lbrace.with_changes(whitespace_after=space))

    @staticmethod
    def _is_renamed(route: list[Entry], given: set[str]) -> bool:
        new = get_current_name(route)
        return new is not None and new not in given

    def _fix_value(
        self,
        part: type[Part],
        key: cst.Name | cst.SimpleString,
        route: list[Entry],
        old: cst.BaseExpression,
        new: cst.BaseExpression,
        given: set[str],
    ) -> cst.BaseExpression | None:
        """Add a finding about an old field and return its upgraded value; None if it has to be removed."""
        name, line = str(key.value if isinstance(key, cst.Name) else key.evaluated_value), self._line(key)
        target = get_current_name(route)
        if target is None and not self._is_harmless(old):
            code = cst.Module([]).code_for_node(old)
            reason = (
                f"{name} has no effect any more: {explain_retirement(route)}; {code} may have an effect, so "
                "remove it by hand"
            )
            self.findings.append(make_manual_finding(line, part.__name__, name, route, reason))
            return new
        if target in given:
            self.findings.append(make_duplicate_finding(line, part.__name__, name, route))
            return new
        self.findings.append(make_automatic_finding(line, part.__name__, name, route))
        if target is None:
            RemoveImportsVisitor.remove_unused_import_by_node(self.context, old)
            return None
        value = self._converted(route, new)
        # A value that was not converted may contain parts, which are upgraded too.
        return value if value is not new else self._held(part, target, old, new)

    def _converted(self, route: list[Entry], value: cst.BaseExpression) -> cst.BaseExpression:
        of = find_unit(route)
        if of is None or (isinstance(value, cst.Name) and value.value == "None"):
            return value
        AddImportsVisitor.add_needed_import(self.context, "datetime", "timedelta")
        equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
        return cst.Call(cst.Name("timedelta"), [cst.Arg(value, cst.Name(of), equal)])

    # -- where fields are read -----------------------------------------------------------------------------------------

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        part = self._read(original_node.value)
        name = original_node.attr.value
        if part is None or not (route := self._table.trace(part.__name__, name)):
            return updated_node
        new, line = get_current_name(route), self._line(original_node.attr)
        if new is None or find_unit(route):
            became = "has no effect any more" if new is None else f"is now called {new} and is a duration"
            reason = f"{name} {became}, and is read here; change this by hand"
            self.findings.append(make_manual_finding(line, part.__name__, name, route, reason))
            return updated_node
        self.findings.append(make_automatic_finding(line, part.__name__, name, route))
        return updated_node.with_changes(attr=cst.Name(new))

    def _read(self, node: cst.BaseExpression) -> type[Part] | None:
        """Return the part that an expression such as `USE_CASE.monitoring` reads; None if it reads no part."""
        if isinstance(node, cst.Subscript):
            return self._read(node.value)
        if isinstance(node, cst.Name):
            named = {name.rpartition(".")[2] for name in self._names(node)}
            return self._parts["UseCase"] if named == {_DECLARED} else None
        if isinstance(node, cst.Attribute):
            if node.attr.value == _DECLARED:
                return self._parts["UseCase"]
            whole = self._read(node.value)
            if whole is not None:
                route = self._table.trace(whole.__name__, node.attr.value)
                return parts.find_held_part(whole, (get_current_name(route) if route else None) or node.attr.value)
        return None

    # -- what a node is ------------------------------------------------------------------------------------------------

    def _part(self, node: cst.BaseExpression) -> type[Part] | None:
        names = self._names(node)
        if not names and self._starred and isinstance(node, cst.Name):
            return self._parts.get(node.value)
        for name in names:
            module, _, part = name.rpartition(".")
            if module in parts.MODULES and part in self._parts:
                return self._parts[part]
        return None

    def _names(self, node: cst.CSTNode) -> set[str]:
        found = self.get_metadata(QualifiedNameProvider, node, set())
        return {each.name for each in (found() if callable(found) else found)}

    def _line(self, node: cst.CSTNode) -> int:
        position = self.get_metadata(PositionProvider, node)
        return int(position.start.line)

    def _is_harmless(self, node: cst.BaseExpression) -> bool:
        """Return True if the expression has no side effect, so that it can be removed."""
        if isinstance(node, cst.Name | cst.BaseNumber | cst.SimpleString | cst.Ellipsis | cst.ConcatenatedString):
            return True
        if isinstance(node, cst.Attribute):
            return self._is_harmless(node.value)
        if isinstance(node, cst.UnaryOperation):
            return self._is_harmless(node.expression)
        if isinstance(node, cst.BinaryOperation):
            return self._is_harmless(node.left) and self._is_harmless(node.right)
        if isinstance(node, cst.List | cst.Tuple | cst.Set):
            return all(isinstance(each, cst.Element) and self._is_harmless(each.value) for each in node.elements)
        if isinstance(node, cst.Dict):
            return all(
                isinstance(each, cst.DictElement) and self._is_harmless(each.key) and self._is_harmless(each.value)
                for each in node.elements
            )
        if isinstance(node, cst.Call):
            makes = self._names(node.func) <= _HARMLESS and bool(self._names(node.func))
            return (makes or self._part(node.func) is not None) and all(self._is_harmless(a.value) for a in node.args)
        return False


def _keys(node: cst.Dict) -> Sequence[str]:
    """Return the keys of a literal dict that are string literals."""
    return [
        str(each.key.evaluated_value)
        for each in node.elements
        if isinstance(each, cst.DictElement) and isinstance(each.key, cst.SimpleString)
    ]
