"""Small changes to a module's source, each of which the tests should notice: cosmic-ray's operators and one more."""

import ast
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Name

Position = tuple[int, int]
Node = Any  # parso's types do not say which nodes have children

# One or two partners for every operator: with all eleven that cosmic-ray has, most mutants of numerical code are of the
# kind `a << b` on floats, which every test kills, and the score would say little. `RemoveDecorator` is left out for the
# same reason: no test passes without @dataclass, and none needs @torch.inference_mode.
CHOSEN = (
    "NumberReplacer",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "ZeroIterationForLoop",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_Mul_Div",
    "ReplaceBinaryOperator_Div_Mul",
    "ReplaceBinaryOperator_Pow_Mul",
    "ReplaceBinaryOperator_FloorDiv_Mul",
    "ReplaceBinaryOperator_RShift_LShift",
    "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Lt_LtE",
    "ReplaceComparisonOperator_Lt_GtE",
    "ReplaceComparisonOperator_LtE_Lt",
    "ReplaceComparisonOperator_LtE_Gt",
    "ReplaceComparisonOperator_Gt_GtE",
    "ReplaceComparisonOperator_Gt_LtE",
    "ReplaceComparisonOperator_GtE_Gt",
    "ReplaceComparisonOperator_GtE_Lt",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceUnaryOperator_Delete_USub",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_Invert",
)


@dataclass(frozen=True)
class Mutant:
    """A module's whole source with one change: operator, first changed line, how it reads before and after."""

    operator: str
    line: int
    before: str
    after: str
    source: str


class DropStatement(Operator):  # type: ignore[misc]  # cosmic-ray has no type information
    """Replaces a call, a raise, and an assignment to an attribute or in place by `pass`."""

    def mutation_positions(self, node: Node) -> Iterator[tuple[Position, Position]]:
        if _is_droppable(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Node, index: int) -> Node:
        return Name("pass", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (
            Example("f(x)", "pass"),
            Example("a.b = 1", "pass"),
            Example("a += 1", "pass"),
            Example("if x:\n    raise ValueError", "if x:\n    pass"),
        )


def _is_droppable(node: Node) -> bool:
    if node.parent is None or node.parent.type != "simple_stmt":
        return False
    if node.type == "expr_stmt":
        target, sign = node.children[0], node.children[1]
        in_place: bool = sign.type == "operator" and sign.value != "="
        return in_place or bool(target.type == "atom_expr" and sign.type == "operator")
    return bool(node.type == "raise_stmt") or (node.type == "atom_expr" and node.children[-1].type == "trailer")


def mutants_of(source: str) -> list[Mutant]:
    """Every mutant of the chosen operators, but for those that change a type or a decorator only."""
    provider = OperatorProvider()
    operators = {name: provider[name]() for name in CHOSEN} | {"DropStatement": DropStatement()}
    declarations = _declarations(source)
    return [
        mutant
        for name, operator in operators.items()
        for number, position in enumerate(_positions(source, operator))
        if not any(start <= position < end for start, end in declarations)
        and not _is_keyword_marker(source, position)
        and (mutant := _mutant(source, name, operator, number)) is not None
    ]


def replaced(source: str, before: str, after: str) -> Mutant:
    """A mutant written by hand. Raises ValueError unless the text stands in the source exactly once."""
    if source.count(before) != 1:
        raise ValueError(f"{before!r} stands {source.count(before)} times in the module, not once")
    line = source[: source.index(before)].count("\n") + 1
    return Mutant("by hand", line, before, after, source.replace(before, after))


def _positions(source: str, operator: Operator) -> list[Position]:
    return [start for node in ast_nodes(get_ast(source)) for start, _ in operator.mutation_positions(node)]


def _is_keyword_marker(source: str, position: Position) -> bool:
    """Whether the `*` here stands before keyword-only parameters, which cosmic-ray takes for a product."""
    node = get_ast(source).get_leaf_for_position(position)
    return bool(node.value == "*" and node.parent.type == "parameters")


def _mutant(source: str, name: str, operator: Operator, number: int) -> Mutant | None:
    changed = mutate_code(source, operator, number)
    if changed is None or changed == source:
        return None
    lines, changed_lines = source.splitlines(), changed.splitlines()
    for kind, start, end, changed_start, changed_end in difflib.SequenceMatcher(
        None, lines, changed_lines, autojunk=False
    ).get_opcodes():
        if kind != "equal":
            before, after = "\n".join(lines[start:end]), "\n".join(changed_lines[changed_start:changed_end])
            return Mutant(name, start + 1, before.strip(), after.strip(), changed)
    return None


def _declarations(source: str) -> list[tuple[Position, Position]]:
    """Where annotations, aliases of types and decorators stand, from and to (line, column)."""
    tree = ast.parse(source)
    found: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            found.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            found += [node.returns, *node.decorator_list]
        elif isinstance(node, ast.ClassDef):
            found += node.decorator_list
    found += [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr)
    ]
    return [
        ((each.lineno, each.col_offset), (each.end_lineno or 0, each.end_col_offset or 0))
        for each in found
        if each is not None
    ]
