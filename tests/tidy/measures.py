"""Measure how the code reads: `python -m tests.tidy.measures [--root DIR] [--beside DIR] [--json]`.

The script needs the standard library alone and reads sources without importing them. It measures
any checkout: of Anju, or of another project, whose package folders `--packages` names. Its figures
are a mirror and no target. Each function below documents how it counts. Figures per 1,000 refer to
lines that are not blank.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean

MAX_LINE = 100
MAX_NODES = 60
MAX_FUNCTION_LINES = 70
MAX_PARAMETERS = 6
MAX_COMPLEXITY = 10
PRIVATE_WORDS = ("told", "held", "heard", "asked", "said", "who")
ROUTE_METHODS = {"get", "post", "put", "patch", "delete"}
UNTYPED_ANSWERS = {"dict", "Dict", "Mapping", "MutableMapping", "Any", "object", "JSONResponse"}
TEST_FOLDERS = {"tests", "test"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Branch = ast.If | ast.For | ast.AsyncFor | ast.While | ast.ExceptHandler | Function


@dataclass(frozen=True)
class Measure:
    """One figure. `whole` is what it is counted out of, `anchors` the range of five projects."""

    name: str
    value: float
    anchors: str = ""
    whole: int | None = None

    def __str__(self) -> str:
        return str(self.value) if self.whole is None else f"{self.value} of {self.whole}"


@dataclass(frozen=True)
class Project:
    """The texts of the product and of its tests, by their paths below the root."""

    sources: Mapping[Path, str]
    tests: Mapping[Path, str]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        trees = [ast.parse(text, str(path)) for path, text in self.sources.items()]
        return [node for tree in trees for node in ast.walk(tree)]

    @cached_property
    def lines(self) -> list[str]:
        return [line for text in self.sources.values() for line in text.splitlines()]

    def per_thousand(self, count: int) -> float:
        """Return `count` per 1,000 lines that are not blank."""
        return round(1000 * count / max(_count_lines(self.lines, r"\S"), 1), 1)


def read_project(root: Path, packages: Sequence[str] = ()) -> Project:
    """Read the packages (folders under `root`; else those with an `__init__.py`) and the tests.

    A file below a folder named `tests` is a test. Raises SystemExit if a package is missing.
    """
    inits = root.glob("*/__init__.py")
    discovered = [init.parent for init in inits if init.parent.name not in TEST_FOLDERS]
    folders = [root / name for name in packages] or discovered
    if not folders or not all(folder.is_dir() for folder in folders):
        raise SystemExit(f"{root}: a package folder is missing; name the folders with --packages")
    product = {path for folder in folders for path in folder.rglob("*.py")}
    outside = {path for name in TEST_FOLDERS for path in (root / name).rglob("*.py")}
    inside = {path for path in product if TEST_FOLDERS & set(path.relative_to(root).parts)}
    return Project(_read(root, product - inside), _read(root, outside | inside))


def _read(root: Path, paths: set[Path]) -> dict[Path, str]:
    return {path.relative_to(root): path.read_text("utf-8") for path in sorted(paths)}


def measure(project: Project) -> list[Measure]:
    """Take all measures, in the order of the table."""
    return [
        *measure_statements(project),
        *measure_names(project),
        *measure_lines(project),
        *measure_routes(project),
        *measure_tests(project),
        *measure_functions(project),
        *measure_words(project),
    ]


def measure_statements(project: Project) -> Iterator[Measure]:
    """Count ternaries, ternaries anywhere inside another, tuple assignments, long statements.

    A tuple assignment gives as many values as it has targets: `a, b = x, 0`. The size of a
    statement is the number of its nodes, as `ast.walk` gives them; a compound statement counts by
    its header. `def` and `class` are not counted.
    """
    ternaries = [node for node in project.nodes if isinstance(node, ast.IfExp)]
    inner = {id(part) for outer in ternaries for part in ast.walk(outer) if part is not outer}
    nested = sum(1 for ternary in ternaries if id(ternary) in inner)
    assignments = sum(1 for node in project.nodes if _is_tuple_assignment(node))
    statements = [node for node in project.nodes if isinstance(node, ast.stmt)]
    counted = [node for node in statements if not isinstance(node, Function | ast.ClassDef)]
    large = sum(1 for node in counted if count_nodes(node) > MAX_NODES)
    per_thousand = project.per_thousand
    yield Measure("ternaries per 1,000 lines", per_thousand(len(ternaries)), "0-7")
    yield Measure("nested ternaries", nested)
    yield Measure("tuple assignments per 1,000 lines", per_thousand(assignments), "0-2.2")
    yield Measure("statements over 60 nodes per 1,000 lines", per_thousand(large), "0.2-3.2")


def _is_tuple_assignment(node: ast.AST) -> bool:
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
        return False
    tuples = [target for target in node.targets if isinstance(target, ast.Tuple)]
    return any(len(target.elts) == len(node.value.elts) for target in tuples)


def count_nodes(node: ast.AST) -> int:
    """Count the syntax nodes of a statement without those of the statements inside it."""
    inner = ast.stmt | ast.excepthandler | ast.match_case
    parts = [part for part in ast.iter_child_nodes(node) if not isinstance(part, inner)]
    return 1 + sum(count_nodes(part) for part in parts)


def measure_names(project: Project) -> Iterator[Measure]:
    """Take the mean length of names where they are defined, once per definition, `_` apart.

    The first figure is of variables alone: names that are assigned, loops and `with` included. The
    anchors are counted so. The second adds parameters (without `self` and `cls`), functions,
    classes and assigned attributes. The third counts the public class names of modules that stand
    more than once in the tree.
    """
    definitions = [(node, _defined_name(node)) for node in project.nodes]
    defined = [len(name) for _, name in definitions if name]
    variables = [len(name) for node, name in definitions if name and isinstance(node, ast.Name)]
    modules = [node for node in project.nodes if isinstance(node, ast.Module)]
    classes = [node for module in modules for node in module.body if isinstance(node, ast.ClassDef)]
    uses = Counter(node.name for node in classes if not node.name.startswith("_"))
    repeated = sum(1 for count in uses.values() if count > 1)
    yield Measure("mean letters of a variable", round(fmean(variables or [0]), 2), "6.4-11.1")
    yield Measure("mean letters of a defined name", round(fmean(defined or [0]), 2))
    yield Measure("public class names used twice", repeated)


def _defined_name(node: ast.AST) -> str:
    """Return the name that a node defines, or nothing."""
    match node:
        case ast.Name(id="_") | ast.arg(arg="_" | "self" | "cls"):
            return ""
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.arg(arg=name):
            return name
    return ""


def measure_lines(project: Project) -> Iterator[Measure]:
    """Count lines by what they hold. The share of long lines is one of all lines, blank or not."""
    long = _count_lines(project.lines, rf".{{{MAX_LINE + 1}}}")
    share = round(100 * long / max(len(project.lines), 1), 2)
    outside = [text for path, text in project.sources.items() if path.parts[0] != "store"]
    rows = sum(_count_lines(text.splitlines(), r"\brow\[[\"']") for text in outside)
    untyped = _count_lines(project.lines, r"dict\[str, Any\]")
    yield Measure("lines over 100 characters, percent", share, "0-0.3")
    yield Measure("lines with `# fmt: skip`", _count_lines(project.lines, r"#\s*fmt:\s*skip"))
    yield Measure("lines with `dict[str, Any]`", untyped)
    yield Measure('lines with `row["…"]` outside store/', rows)


def _count_lines(lines: Iterable[str], pattern: str) -> int:
    search = re.compile(pattern).search
    return sum(1 for line in lines if search(line))


def measure_routes(project: Project) -> Iterator[Measure]:
    """Count the FastAPI routes (`@router.get(…)` and its like) without an answer for OpenAPI.

    An answer is typed by `response_model`, `response_class` or the return annotation, unless that
    holds `dict`, `Mapping`, `Any`, `object` or `JSONResponse`. `None` is typed: such a route has no
    body, and is counted apart.
    """
    routes = [
        (node, decorator)
        for node in project.nodes
        if isinstance(node, Function)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in ROUTE_METHODS
    ]
    untyped = sum(1 for function, route in routes if not _is_typed(function, route))
    empty = sum(1 for function, _ in routes if _answer(function) == "None")
    yield Measure("routes without a typed answer", untyped, whole=len(routes))
    yield Measure("routes without a body (204)", empty, whole=len(routes))


def _is_typed(function: Function, route: ast.Call) -> bool:
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in route.keywords}
    declared = {keywords.get("response_model"), keywords.get("response_class")}
    words = set(re.findall(r"\w+", _answer(function)))
    return bool(declared - {None, "None"}) or not words & UNTYPED_ANSWERS


def _answer(function: Function) -> str:
    return ast.unparse(function.returns or ast.Name("Any"))


def measure_tests(project: Project) -> Iterator[Measure]:
    """Compare lines of tests with lines of sources, and find modules without a test of their own.

    A module's own test is `tests/<package>/test_<module>.py`. `__init__`, `__main__` need none.
    """
    test_lines = sum(len(text.splitlines()) for text in project.tests.values())
    ratio = round(test_lines / max(len(project.lines), 1), 2)
    modules = [path for path in project.sources if not path.name.startswith("__")]
    own = [Path("tests") / module.parent / f"test_{module.name}" for module in modules]
    missing = sum(1 for path in own if path not in project.tests)
    yield Measure("test lines to source lines", ratio, "1.1-2.2")
    yield Measure("modules without a test of their own", missing, whole=len(modules))


def measure_functions(project: Project) -> Iterator[Measure]:
    """Count long, wide and branching functions, as ruff does by PLR0913 and C901."""
    functions = [node for node in project.nodes if isinstance(node, Function)]
    lengths = [(node.end_lineno or node.lineno) - node.lineno + 1 for node in functions]
    long = sum(1 for length in lengths if length > MAX_FUNCTION_LINES)
    wide = sum(1 for node in functions if _count_parameters(node) > MAX_PARAMETERS)
    branching = sum(1 for node in functions if complexity(node) > MAX_COMPLEXITY)
    yield Measure("functions over 70 lines", long)
    yield Measure("functions over 6 parameters", wide)
    yield Measure("functions of complexity over 10", branching)


def _count_parameters(function: Function) -> int:
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(1 for parameter in parameters if parameter.arg not in ("self", "cls"))


def complexity(function: Function) -> int:
    """Return McCabe's number: one, and one for each branch, loop, handler, case, inner function."""
    nodes = list(ast.walk(function))
    branches = sum(1 for node in nodes if isinstance(node, Branch))
    cases = [node for node in nodes if isinstance(node, ast.match_case)]
    refutable = sum(1 for case in cases if case.guard or ast.unparse(case.pattern) != "_")
    tries = [node for node in nodes if isinstance(node, ast.Try | ast.TryStar)]
    return branches + refutable + sum(1 for node in tries if node.orelse)


def measure_words(project: Project) -> Iterator[Measure]:
    """Count the lines (code, comment, docstring) with a private word standing by itself."""
    for word in PRIVATE_WORDS:
        yield Measure(f'lines with "{word}"', _count_lines(project.lines, rf"\b{word}\b"))


def format_table(columns: Mapping[str, Sequence[Measure]]) -> str:
    """Return a plain table: one row per measure, one column per checkout, the anchors' range."""
    rows = [["measure", *columns, "psycopg, procrastinate, h11, import-linter, pvanalytics"]]
    for measures in zip(*columns.values(), strict=True):
        rows.append([measures[0].name, *map(str, measures), measures[0].anchors])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or JSON: a list of measures per column."""
    parser = argparse.ArgumentParser(prog="python -m tests.tidy.measures", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], metavar="DIR")
    parser.add_argument("--beside", type=Path, metavar="DIR", help="a checkout of before")
    parser.add_argument("--packages", nargs="+", default=(), metavar="FOLDER")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    columns = {"value": measure(read_project(options.root, options.packages))}
    if options.beside:
        before = measure(read_project(options.beside, options.packages))
        columns = {"before": before, "after": columns["value"]}
    if options.json:
        print(json.dumps(columns, default=asdict, indent=2, ensure_ascii=False))
    else:
        print(format_table(columns))


if __name__ == "__main__":
    main()
