"""The page's style sheet: one accent a split, light and dark by the reader's system."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1d2126; --soft: #626b76; --line: #e3e5e8;
  --s0: #2f6fd6; --s1: #e08a2b; --s2: #5a9e57;
  --error: #c4314b; --repair: #167f78; --warning: #9a6a00; --tile: #eceef1; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #15181c; --card: #1c2026; --ink: #e6e9ed; --soft: #98a2ae; --line: #2e343c;
  --s0: #6ea3f5; --s1: #f0ac5e; --s2: #86c783;
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
  margin-right: 8px; background: var(--s0); }
.key.s1 { background: var(--s1); } .key.s2 { background: var(--s2); }
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
.chart .s0 { fill: var(--s0); } .chart .s1 { fill: var(--s1); }
.chart .s2 { fill: var(--s2); }
.chart circle { fill-opacity: .55; }
.classes { border-collapse: collapse; width: 100%; font-size: 14px; }
.classes td, .classes th { padding: 3px 10px 3px 0; text-align: left;
  font-weight: 400; }
.classes .bars { width: 50%; }
.classes thead th { color: var(--soft); font-size: 13px; padding-bottom: 6px; }
.classes .name { width: 1%; white-space: nowrap; max-width: 280px; overflow: hidden;
  text-overflow: ellipsis; }
.classes .count { width: 1%; text-align: right; font-variant-numeric: tabular-nums; }
.classes .none { color: var(--error); font-weight: 600; }
.bar { height: 11px; border-radius: 3px; background: var(--s0); min-width: 1px; }
.bar.s1 { background: var(--s1); } .bar.s2 { background: var(--s2); }
.bar.nil { visibility: hidden; }
.lead { margin-bottom: 14px; }
.sample { padding: 14px 0; border-top: 1px solid var(--line); }
footer { color: var(--soft); font-size: 13px; margin: 56px 0 40px; }
@media (max-width: 600px) { main, header, nav > div { padding: 0 14px; }
  .shot { height: 104px; } .classes .name { max-width: 120px; } }
"""
