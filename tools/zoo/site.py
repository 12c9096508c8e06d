"""Hooks of mkdocs: files of the checkout that the pages link to come into the site.

They lie in ``source/`` there; pages of Markdown among them become pages.
"""

import os
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r'(?<=\]\()(?!\w+:|#)([^)#\s]+)')
PAGES = ('README.md', 'CONTRIBUTING.md', 'CHANGELOG.md')


def on_config(config):
    """Anchors as GitHub makes them: a dash for each space."""
    config.mdx_configs['toc']['slugify'] = slugify(case='lower')
    return config


def on_files(files, config):
    """Add what is linked and lies outside of docs."""
    names = set(PAGES)
    for page in [*(ROOT / 'docs').rglob('*.md'), *(ROOT / name for name in PAGES)]:
        place = page.parent.relative_to(ROOT).as_posix()
        for target in LINK.findall(page.read_text('utf-8')):
            name = posixpath.normpath(posixpath.join(place, target))
            if not name.startswith('docs/') and (ROOT / name).is_file():
                names.add(name)
    for name in sorted(names):
        content = (ROOT / name).read_bytes()
        made = File.generated(config, f'source/{name}', content=content)
        if name in PAGES:  # found from the index, not from the navigation
            made.inclusion = made.inclusion.NOT_IN_NAV
        files.append(made)
    return files


def on_page_markdown(markdown, page, **_):
    """Let links lead to where the files lie in the site."""
    here = posixpath.dirname(page.file.src_uri)
    inside = page.file.src_uri.removeprefix('source/')
    of_docs = inside == page.file.src_uri
    place = posixpath.dirname(posixpath.join('docs', inside) if of_docs else inside)

    def moved(match: re.Match[str]) -> str:
        name = posixpath.normpath(posixpath.join(place, match[1]))
        known = name.startswith('docs/') or os.path.isfile(ROOT / name)
        if not known:
            return match[1]
        target = name.removeprefix('docs/')
        if target == name:
            target = f'source/{name}'
        return posixpath.relpath(target, here or '.')

    return LINK.sub(moved, markdown)
