"""`--where` expressions: a small, safe language over the columns of a table of clips.

    fold != 4
    fold in (1, 2) and label == "dog"
    not (seconds < 1.5 or label is None)

Python's syntax, of which only comparisons, `and`, `or`, `not`, names of columns and literals are
let through: the tree is checked node by node before anything is evaluated, and evaluated by this
module, never by `eval`. A missing value equals only None; ordering against it is false. Comparing
text with a number is an error and not a silent "no row", since it is always a mistake.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGEST = 2000  # characters; also bounds how deep the tree can be
_EXAMPLE = 'Write it as in: fold in (1, 2) and label != "dog"'

_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

Row = Callable[[int], Any]


def matching_rows(
    expression: str, columns: Mapping[str, Sequence[Any]], n: int
) -> NDArray[np.bool_]:
    """Which rows an expression selects.

    Args:
        expression: The expression.
        columns: Values by column name, `n` each.
        n: How many rows there are.

    Returns:
        bool [n].

    Raises:
        UsageError: If the expression is not in the language, names an unknown column, or compares
            text with a number.
    """
    if len(expression) > _LONGEST:
        raise _fault(expression[:40] + "...", f"it is longer than {_LONGEST} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        evaluate = _Compiler(expression, columns).compile(tree)
    except (SyntaxError, ValueError) as error:
        raise _fault(expression, f"it is not an expression ({error.args[0]})") from error
    except (RecursionError, MemoryError) as error:
        raise _fault(expression, "it is nested too deeply") from error
    return np.fromiter((bool(evaluate(row)) for row in range(n)), dtype=bool, count=n)


def _fault(expression: str, why: str) -> UsageError:
    return UsageError(f"cannot select by `{expression}`: {why}", hint=_EXAMPLE)


class _Compiler:
    """Turns a checked tree into a function of the row number."""

    def __init__(self, expression: str, columns: Mapping[str, Sequence[Any]]) -> None:
        self.expression = expression
        self.columns = columns

    def compile(self, node: ast.expr) -> Row:
        if isinstance(node, ast.BoolOp):
            parts = [self.compile(value) for value in node.values]
            every = isinstance(node.op, ast.And)
            return lambda row: (all if every else any)(part(row) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.compile(node.operand)
            return lambda row: not inner(row)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        return self._value(node)

    def _comparison(self, node: ast.Compare) -> Row:
        values = [self._value(part) for part in (node.left, *node.comparators)]
        steps = [
            (left, self._operation(op), right)
            for left, op, right in zip(values, node.ops, values[1:], strict=False)
        ]
        return lambda row: all(compare(left(row), right(row)) for left, compare, right in steps)

    def _operation(self, op: ast.cmpop) -> Callable[[Any, Any], bool]:
        if isinstance(op, ast.Eq | ast.Is):
            return self._equal
        if isinstance(op, ast.NotEq | ast.IsNot):
            return lambda left, right: not self._equal(left, right)
        if isinstance(op, ast.In):
            return self._contains
        if isinstance(op, ast.NotIn):
            return lambda left, right: not self._contains(left, right)
        return self._ordered(_ORDER[type(op)])

    def _ordered(self, compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
        def ordered(left: Any, right: Any) -> bool:
            if left is None or right is None:
                return False
            self._check_kinds(left, right)
            try:
                return bool(compare(left, right))
            except TypeError as error:
                raise _fault(self.expression, f"{left!r} and {right!r} have no order") from error

        return ordered

    def _equal(self, left: Any, right: Any) -> bool:
        self._check_kinds(left, right)
        return bool(left == right)

    def _contains(self, item: Any, group: Any) -> bool:
        if isinstance(group, str):
            self._check_kinds(item, group)
            return item is not None and item in group
        if not isinstance(group, tuple | list):
            raise _fault(self.expression, f"`in` needs a list such as (1, 2), found {group!r}")
        return any(self._equal(item, member) for member in group)

    def _check_kinds(self, left: Any, right: Any) -> None:
        if left is None or right is None:
            return
        if isinstance(left, str) != isinstance(right, str):
            raise _fault(
                self.expression, f"it compares text with something else: {left!r}, {right!r}"
            )

    def _value(self, node: ast.expr) -> Row:
        if isinstance(node, ast.Name):
            return self._column(node.id)
        literal = self._literal(node)
        return lambda _row: literal

    def _column(self, name: str) -> Row:
        try:
            values = self.columns[name]
        except KeyError as error:
            known = ", ".join(sorted(self.columns))
            raise _fault(
                self.expression, f"there is no column `{name}`; the columns are {known}"
            ) from error
        return lambda row: values[row]

    def _literal(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(
            node.value, str | int | float | bool | None
        ):
            return node.value
        if (
            isinstance(node, ast.UnaryOp)
            and isinstance(node.op, ast.USub | ast.UAdd)
            and isinstance(node.operand, ast.Constant)
            and isinstance(node.operand.value, int | float)
        ):
            value = node.operand.value
            return -value if isinstance(node.op, ast.USub) else value
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return tuple(self._literal(item) for item in node.elts)
        kind = type(node).__name__
        raise _fault(
            self.expression,
            f"{kind} is not allowed, only comparisons, and, or, not, columns, literals",
        )
