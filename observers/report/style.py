"""The report page's style sheet: colours for light and dark, no external fonts."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #1d2429; --soft: #66717a;
  --rule: #e4e1d9; --line: #2f6db3; --good: #15805a; --bad: #bf3b33; --mark: #b7791f; --down: #bf3b3322; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181b; --card: #1c2226; --ink: #e4e8ea; --soft: #93a0a8;
  --rule: #2d353b; --line: #6fa8e6; --good: #4cc38a; --bad: #f0776e; --mark: #e0ac55; --down: #f0776e26; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 20px 60px; max-width: 1240px; background: var(--paper); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 24px; margin: 0; letter-spacing: -.01em; } h2 { font-size: 16px; margin: 34px 0 10px; }
h3 { font-size: 14px; margin: 0 0 6px; } p { margin: 4px 0; } .soft { color: var(--soft); }
.tiles { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0 0; } .tile { flex: 1 1 150px; }
.tile, .card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; } .card { margin: 0 0 12px; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--rule); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12px; }
th, td { padding: 7px 9px; border-bottom: 1px solid var(--rule); } tr:last-child td { border-bottom: 0; }
td.n, th.n { text-align: right; } td.wrap { white-space: normal; min-width: 210px; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--mark); }
.alarm { border-color: var(--bad); color: var(--bad); }
svg { display: block; width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); }
svg .mid { text-anchor: middle; }
.grid { stroke: var(--rule); } .base { stroke: var(--soft); stroke-dasharray: 3 4; }
.line { fill: none; stroke: var(--line); stroke-width: 1.8; stroke-linejoin: round; } .dot { fill: var(--line); }
.down { fill: var(--down); stroke: var(--bad); stroke-width: .5; }
.rise line, .rise rect { stroke: var(--good); fill: var(--good); opacity: .6; }
.fall line, .fall rect { stroke: var(--bad); fill: var(--bad); opacity: .6; }
.pivot, .stop, .target { stroke-width: 1.2; stroke-dasharray: 5 4; } .pivot { stroke: var(--mark); }
.stop { stroke: var(--bad); } .target { stroke: var(--good); }
.entry { fill: var(--line); stroke: var(--card); stroke-width: 1.5; } .win, .loss { stroke: var(--card);
  stroke-width: 1.5; } .win { fill: var(--good); } .loss { fill: var(--bad); }
.bar { display: inline-block; height: 9px; border-radius: 2px; background: var(--line); vertical-align: middle; }
"""
