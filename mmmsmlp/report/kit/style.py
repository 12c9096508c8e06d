"""A page's frame and style sheet: light and dark by the reader's system."""

from collections.abc import Mapping
from html import escape

STYLE = """
:root { color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1d2126; --soft: #626b76; --line: #e3e5e8;
  --s0: #2f6fd6; --s1: #e08a2b; --s2: #5a9e57; --s3: #b0479e;
  --s4: #1f9aa8; --s5: #c4413f; --s6: #7a5bd0; --s7: #7d7a3c; --heat: 47 111 214;
  --error: #c4314b; --repair: #167f78; --warning: #9a6a00; --tile: #eceef1; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #15181c; --card: #1c2026; --ink: #e6e9ed; --soft: #98a2ae; --line: #2e343c;
  --s0: #6ea3f5; --s1: #f0ac5e; --s2: #86c783; --s3: #e08fd2;
  --s4: #5cc8d4; --s5: #f28482; --s6: #ab94f2; --s7: #bdb96e; --heat: 110 163 245;
  --error: #ff7d92; --repair: #53c7bd; --warning: #e5b454; --tile: #262b32; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
main, header, nav > div { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 40px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 48px 0 14px; scroll-margin-top: 56px; }
h3 { font-size: 15px; margin: 0; font-weight: 600; }
p { margin: 0; }
.soft, figcaption { color: var(--soft); }
.verdict { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0 20px; padding: 0; }
.verdict li { list-style: none; border: 1px solid var(--line); border-radius: 999px;
  padding: 4px 14px; background: var(--card); }
.verdict b { font-variant-numeric: tabular-nums; }
.error b, .tag.error { color: var(--error); }
.repair b, .tag.repair { color: var(--repair); }
.warning b, .tag.warning { color: var(--warning); }
nav { position: sticky; top: 0; z-index: 1; background: var(--paper);
  border-bottom: 1px solid var(--line); }
nav a { display: inline-block; padding: 10px 18px 10px 0; color: var(--soft);
  text-decoration: none; }
nav a:hover, nav a:focus { color: var(--ink); text-decoration: underline; }
.cards { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
.card, .problem, .chart { background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; padding: 16px 18px; margin: 0; min-width: 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px;
  margin: 10px 0 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 3px;
  margin-right: 8px; background: var(--k, var(--s0)); }
.s0 { --k: var(--s0); } .s1 { --k: var(--s1); } .s2 { --k: var(--s2); }
.s3 { --k: var(--s3); } .s4 { --k: var(--s4); } .s5 { --k: var(--s5); }
.s6 { --k: var(--s6); } .s7 { --k: var(--s7); }
.problem { border-left: 4px solid var(--line); margin-bottom: 14px; }
.problem.error { border-left-color: var(--error); }
.problem.repair { border-left-color: var(--repair); }
.problem.warning { border-left-color: var(--warning); }
.tag { font-size: 12px; font-weight: 600; letter-spacing: .05em;
  text-transform: uppercase; margin-right: 10px; }
.problem .where { font-size: 13px; overflow-wrap: anywhere; }
.problem p { margin-top: 6px; max-width: 80ch; }
.problem ul { margin: 8px 0 0; padding-left: 20px; font-size: 13px; color: var(--soft);
  overflow-wrap: anywhere; }
.grid { display: flex; flex-wrap: wrap; gap: 10px; margin-top: 10px; }
.grid figure { margin: 0; }
.shot, .unread { display: block; height: 128px; width: auto; max-width: 100%;
  border-radius: 6px; overflow: hidden; background: var(--tile); }
.unread { width: 150px; display: grid; place-items: center; color: var(--soft);
  border: 1px dashed var(--soft); }
.grid figcaption { font-size: 12px; max-width: 200px; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.problem .grid figcaption { max-width: 230px; white-space: normal;
  overflow-wrap: anywhere; }
.mark rect, .mark polygon { fill: none; stroke: var(--c); stroke-width: 2;
  vector-effect: non-scaling-stroke; }
.mark polygon { fill: var(--c); fill-opacity: .3; stroke-width: 1; }
.mark.faint rect { stroke-width: 1; stroke-dasharray: 3 3; opacity: .8; }
.chart svg { display: block; width: 100%; height: auto; margin-top: 8px; }
.chart figcaption { color: var(--ink); font-weight: 600; }
.chart line { stroke: var(--line); } .chart text { fill: var(--soft); font-size: 11px; }
.chart .mid { text-anchor: middle; } .chart .end { text-anchor: end; }
.chart rect, .chart circle { fill: var(--k); }
.chart circle { fill-opacity: .55; }
.chart path { fill: none; stroke: var(--k); stroke-width: 1.6;
  stroke-linejoin: round; }
.chart .band { fill: var(--k); fill-opacity: .2; stroke: none; }
.wide { overflow-x: auto; }
.numbers { border-collapse: collapse; width: 100%; font-size: 13px; margin-top: 8px;
  font-variant-numeric: tabular-nums; }
.numbers th, .numbers td { text-align: right; padding: 2px 0 2px 12px;
  font-weight: 400; white-space: nowrap; }
.numbers th:first-child, .numbers td:first-child { text-align: left; padding-left: 0;
  white-space: normal; overflow-wrap: anywhere; min-width: 64px; }
.numbers th { color: var(--soft); }
.matrix { border-collapse: collapse; font-size: 13px; margin-top: 10px;
  font-variant-numeric: tabular-nums; }
.matrix th { color: var(--soft); font-weight: 400; text-align: right; padding: 2px 8px;
  white-space: nowrap; }
.matrix td { min-width: 34px; height: 30px; text-align: center; }
.card > .chart svg { max-width: 640px; }
.chart .cell { fill: rgb(var(--heat)); }
.shots { display: grid; gap: 14px; margin: 10px 0 26px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.shots .grid { flex-wrap: nowrap; } .shots figure { flex: 1; min-width: 0; }
.shots .shot { height: auto; width: 100%; }
.shots figcaption { max-width: none; white-space: normal; overflow-wrap: anywhere; }
.file { overflow-wrap: anywhere; font-size: 13px; }
details { margin-top: 12px; } summary { cursor: pointer; color: var(--soft); }
pre { overflow-x: auto; font-size: 12px; line-height: 1.45; }
.changed td { white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.classes { border-collapse: collapse; width: 100%; font-size: 14px; }
.classes td, .classes th { padding: 3px 10px 3px 0; text-align: left;
  font-weight: 400; }
.classes .bars { width: 50%; }
.classes thead th { color: var(--soft); font-size: 13px; padding-bottom: 6px; }
.classes .name { width: 1%; white-space: nowrap; max-width: 280px; overflow: hidden;
  text-overflow: ellipsis; }
.classes .count { width: 1%; text-align: right; font-variant-numeric: tabular-nums; }
.classes .none { color: var(--error); font-weight: 600; }
.bar { height: 11px; border-radius: 3px; background: var(--k); min-width: 1px; }
.bar.nil { visibility: hidden; }
.lead { margin-bottom: 14px; }
.sample { padding: 14px 0; border-top: 1px solid var(--line); }
footer { color: var(--soft); font-size: 13px; margin: 56px 0 40px; }
@media (max-width: 600px) { main, header, nav > div { padding: 0 14px; }
  .shot { height: 104px; } .classes .name { max-width: 120px; } }
"""


def document(
    title: str, kind: str, heading: str, verdict: str, parts: Mapping[str, str], by: str
) -> str:
    """A page that needs nothing beside itself.

    Args:
        title: Of the window.
        kind: What sort of page it is.
        heading: What it is about.
        verdict: HTML of what matters most.
        parts: HTML of the sections by their headings; empty ones are left out.
        by: The tool that wrote it.
    """
    shown = {name: part for name, part in parts.items() if part}
    links = ''.join(f'<a href="#{name.lower()}">{name}</a>' for name in shown)
    sections = ''.join(
        f'<section id="{name.lower()}"><h2>{name}</h2>{part}</section>'
        for name, part in shown.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,">'
        f'<style>{STYLE}</style></head><body><header><p class="soft">{kind}</p>'
        f'<h1>{escape(heading)}</h1>{verdict}</header><nav><div>{links}</div>'
        f'</nav><main>{sections}<footer>Written by mmmsmlp, tools/{by}.'
        '</footer></main></body></html>\n'
    )
