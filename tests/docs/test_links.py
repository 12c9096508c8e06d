"""Do the pages' links lead somewhere, is each page listed, and short enough to read?"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers.commands import ROOT
from tests.helpers.pages import PAGES, generated, outside_fences, section

LINK = re.compile(r'\]\(([^)\s]+)\)')
LONG = {  # what is looked up; others: 150 lines
    'docs/decisions.md': 170,
    'docs/notes/cpu_t_default.md': 170,
    'docs/notes/cpu_t_tuned.md': 220,
}


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    found = set()
    for heading in re.findall(r'(?m)^#+ +(.+)$', outside_fences(page.read_text())):
        words = re.sub(r'[^\w\- ]', '', re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading))
        slug = base = words.strip().lower().replace(' ', '-')
        count = 0
        while slug in found:
            count += 1
            slug = f'{base}-{count}'
        found.add(slug)
    return found


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere; addresses in the network are not asked."""
    faults = []
    for target in LINK.findall(outside_fences(page.read_text())):
        name, _, anchor = target.partition('#')
        if re.match(r'\w+:', target):
            continue
        file = (page.parent / name) if name else page
        known = file.suffix == '.md' and file.exists() and anchors(file)
        if not file.exists() or (anchor and anchor not in (known or ())):
            faults.append(target)
    return faults


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        '# One `--two` three\n## A\n## A\n[a](#one---two-three) [b](#a-1) [c](#a-2)\n'
        '[d](gone.md) ![e](page.md) [f](https://example.org/x)\n```\n[g](gone.py)\n```\n'
    )
    assert broken(page) == ['#a-2', 'gone.md']


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_read_in_one_sitting(page):
    name = page.relative_to(ROOT).as_posix()
    if name.startswith('docs/') and not generated(page):
        assert len(page.read_text().splitlines()) <= LONG.get(name, 150)


def pages_of(nav) -> list[str]:
    """Files of a navigation, in its order."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [name for part in parts for name in pages_of(part)]


def test_the_index_and_the_site_list_every_page_once():
    docs = ROOT / 'docs'
    every = {page.relative_to(docs).as_posix() for page in docs.rglob('*.md')}
    linked = LINK.findall((docs / 'index.md').read_text())
    assert {name for name in linked if name in every} == every - {'index.md'}
    nav = pages_of(yaml.safe_load((ROOT / 'mkdocs.yml').read_text())['nav'])
    assert sorted(nav) == sorted(every)


def test_pictures_are_small_enough_for_a_page():
    kept = {'receptive_field.png'}  # seven models by four stages
    for file in (ROOT / 'docs').rglob('*.*'):
        if file.suffix in ('.png', '.svg') and file.name not in kept:
            assert file.stat().st_size < 150_000, file.name


def test_the_badges_say_what_the_package_takes():
    readme, setup = (ROOT / 'README.md').read_text(), (ROOT / 'setup.py').read_text()
    (first,) = re.findall(r"python_requires='>=([\d.]+)'", setup)
    assert f'badge/python-{first}_to_3.13-' in readme
    (torch,) = re.findall(r"'torch>=([\d.]+)'", setup)
    assert f'badge/torch-from_{torch}-' in readme
    assert f'{first} to 3.13 supported' in section(readme, '## Tested stack')
    assert 'Apache License' in (ROOT / 'LICENSE').read_text()[:400]


@pytest.mark.full
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip('material', reason="pip install -e '.[docs]'")
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict']
    command += ['--site-dir', tmp_path / 'site']
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    index = json.loads((tmp_path / 'site/search/search_index.json').read_text())
    places = {entry['location'].partition('#')[0] for entry in index['docs']}
    assert {'index.html', 'api.html', 'notes/kernels.html'} <= places
    page = (tmp_path / 'site' / 'model_zoo.html').read_text()
    assert 'href="source/configs/retinanet_msmlp_t_1x.py"' in page
    assert (tmp_path / 'site/source/configs/retinanet_msmlp_t_1x.py').is_file()
