"""The page of the API: signatures and docstrings of what is public, read as text."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

Definition = ast.FunctionDef | ast.ClassDef
PACKAGE = Path(__file__).resolve().parents[2] / 'mmmsmlp'
INTRODUCTION = """\
# API

Written by `python tools/docs.py` from the docstrings; do not edit.

Importing `mmmsmlp` registers the backbones and loads nothing heavy. A letter and number
in brackets, (A14), is a decision of [decisions.md](decisions.md).
"""
MODULES = (
    'mmmsmlp', 'mmmsmlp.ops', 'mmmsmlp.checkpoints', 'mmmsmlp.swap', 'mmmsmlp.deploy'
)  # fmt: skip
WIDEST = 78  # columns of a signature on one line


def page() -> str:
    """Its text."""
    parts = [INTRODUCTION]
    for module in MODULES:
        parts.append(f'## {module}\n')
        parts += [_entry(module, find(module, name)) for name in public(module)]
    parts.append('## What a config can name\n')
    parts += [_entry('mmmsmlp', node) for node in registered()]
    return '\n'.join(parts).rstrip() + '\n'


def public(module: str) -> list[str]:
    """Names in ``__all__``, without the version."""
    table, names = _lazy(module), []
    for node in _parse(module).body:
        if isinstance(node, ast.Assign) and _target(node) == '__all__':
            cells = ast.walk(node.value)
            names = [cell.value for cell in cells if isinstance(cell, ast.Constant)]
    return sorted({*names, *table} - {'__version__'}, key=str.lower)


def find(module: str, name: str) -> Definition:
    """The definition of a name that a module defines or imports."""
    if name in (table := _lazy(module)):
        return find(table[name], name)
    for node in _parse(module).body:
        if isinstance(node, Definition) and node.name == name:
            return node
        from_below = isinstance(node, ast.ImportFrom) and node.level == 1
        if from_below and name in {alias.name for alias in node.names}:
            return find(f'{module}.{node.module}', name)
    raise LookupError(f'{module} neither defines {name} nor imports it')


def registered() -> Iterator[ast.ClassDef]:
    """Hooks, constructors, strategies and runners of the engine, by name."""
    nodes = (
        node
        for file in (PACKAGE / 'engine').glob('*.py')
        for node in ast.parse(file.read_text('utf-8')).body
        if isinstance(node, ast.ClassDef)
        and any('register' in ast.unparse(mark) for mark in node.decorator_list)
    )
    yield from sorted(nodes, key=lambda node: node.name)


def _parse(module: str) -> ast.Module:
    path = PACKAGE.parent.joinpath(*module.split('.'))
    file = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
    return ast.parse(file.read_text('utf-8'))


def _target(node: ast.Assign) -> str:
    return ast.unparse(node.targets[0])


def _lazy(module: str) -> dict[str, str]:
    """What loads on first use, and from where."""
    for node in _parse(module).body:
        if isinstance(node, ast.Assign) and _target(node) == '_LAZY':
            return ast.literal_eval(node.value)
    return {}


def _entry(module: str, node: Definition) -> str:
    made = node
    if isinstance(node, ast.ClassDef):
        inits = (n for n in node.body if getattr(n, 'name', '') == '__init__')
        made = next(inits, None)
    text = _markdown(ast.get_docstring(node) or '')
    return f'### {module}.{node.name}\n\n{_signature(node.name, made)}{text}\n'


def _signature(name: str, made: ast.FunctionDef | None) -> str:
    if made is None:
        return ''
    given = made.args
    given.args = [arg for arg in given.args if arg.arg != 'self']
    end = f' -> {ast.unparse(made.returns)}' if made.returns else ''
    line = f'{name}({ast.unparse(given)}){end}'
    if len(line) > WIDEST:
        line = f'{name}(\n{"".join(map(_line, _arguments(given)))}){end}'
    return f'```python\n{line}\n```\n\n'


def _line(argument: str) -> str:
    return f'    {argument},\n'


def _arguments(given: ast.arguments) -> list[str]:
    """Each argument as it stands, cut at the commas outside of brackets."""
    pieces, depth = [''], 0
    for letter in ast.unparse(given):
        depth += (letter in '([{') - (letter in ')]}')
        if letter == ',' and not depth:
            pieces.append('')
        else:
            pieces[-1] += letter
    return [piece.strip() for piece in pieces]


def _markdown(doc: str) -> str:
    """A docstring in Google's style."""
    doc = re.sub(r'`([^`<]+?)\s+<(\S+)>`_', r'[\1](\2)', doc)
    doc = re.sub(r':\w+:`~?([^`]+)`', r'`\1`', doc).replace('``', '`')
    lines = []
    for line in doc.splitlines():
        item = re.match(r' {4}(\**\w[\w*, .]*): ', line)
        if re.fullmatch(r'(Args|Attributes|Returns|Raises|Yields):', line):
            lines += [f'**{line[:-1]}**', '']
        elif item:
            lines.append(f'- `{item[1]}`: {line[item.end() :]}')
        else:
            lines.append(f'  {line.strip()}' if line.startswith(' ' * 8) else line)
    return re.sub(r'(?m)^ {4}(?=\S)', '', '\n'.join(lines)) + '\n'
