"""The pages of Markdown, and what stands in them."""

import re
from pathlib import Path
from typing import NamedTuple

from tests.helpers.commands import ROOT

PAGES = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')])
FENCE = re.compile(r'(?ms)^( *)```(\w*)\n(.*?)^ *```$')


class Snippet(NamedTuple):
    """A fenced block: its page, the line it starts at, language, text, and mark.

    The mark is the comment in front, without its arrows; '' where there is none.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str


def snippets(page: Path) -> list[Snippet]:
    """Every fenced block of a page."""
    text, found = page.read_text(encoding='utf-8'), []
    name = page.relative_to(ROOT).as_posix() if ROOT in page.parents else page.name
    for match in FENCE.finditer(text):
        before = text[: match.start()].rstrip('\n ')
        mark = re.search(r'<!-- (.*?) -->$', before)
        line = text.count('\n', 0, match.start()) + 1
        body = re.sub(f'(?m)^{match[1]}', '', match[3])
        found.append(Snippet(name, line, match[2], body, mark[1] if mark else ''))
    return found


def outside_fences(text: str) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub('', text)


def generated(page: Path) -> bool:
    """A tool writes it, as it says near its top."""
    return 'ritten by `python tools/' in page.read_text(encoding='utf-8')[:3000]


def section(text: str, heading: str) -> str:
    """From a heading to the next of its level."""
    level = heading.partition(' ')[0]
    start = text.index(f'{heading}\n')
    end = re.search(f'(?m)^{level} ', text[start + len(heading) :])
    return text[start : start + len(heading) + end.start()] if end else text[start:]
