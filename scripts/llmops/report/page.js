// The case browser and the plots. Answers are untrusted: they are only ever put in as text.
'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const PAGE = 50;
let shown = PAGE;

const make = (tag, props = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...children);
  return element;
};
const mean = (side, metric) => {
  const values = side.map((each) => each.scores[metric]).filter((value) => value !== undefined);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined;
};
const suites = new Map(data.suites.map((suite) => [suite.id, suite]));
const headline = (item) => suites.get(item.suite).gates[0]?.metric ?? 'pass';
const delta = (item, metric) => {
  const [base, head] = [mean(item.base, metric), mean(item.head, metric)];
  return base === undefined || head === undefined ? undefined : head - base;
};
const key = (item) => `${item.suite}/${item.id}`;

// --- filters

for (const [id, values, all] of [
  ['suite', [...suites.keys()], 'all suites'],
  ['metric', [...new Set(data.suites.flatMap((suite) => suite.metrics.map((each) => each.metric)))], 'by its gate'],
]) {
  byId(id).append(make('option', { value: '', textContent: all }));
  for (const value of values) byId(id).append(make('option', { value, textContent: value }));
}
const metricOf = (item) => byId('metric').value || headline(item);
const KINDS = {
  all: () => true,
  regressed: (item) => delta(item, metricOf(item)) < 0,
  improved: (item) => delta(item, metricOf(item)) > 0,
  unchanged: (item) => delta(item, metricOf(item)) === 0,
  failing: (item) => item.head.some((each) => !each.passed),
  errors: (item) => [...item.base, ...item.head].some((each) => each.error),
  flaky: (item) => suites.get(item.suite).flaky.includes(item.id),
};
const matching = () => {
  const wanted = byId('search').value.toLowerCase();
  const suite = byId('suite').value;
  const kind = KINDS[byId('kind').value];
  const text = (item) => [item.id, item.title, ...item.base.map((s) => s.text), ...item.head.map((s) => s.text)].join('\n').toLowerCase();
  return data.cases
    .filter((item) => (!suite || item.suite === suite) && kind(item) && (!wanted || text(item).includes(wanted)))
    .sort((a, b) => (delta(a, metricOf(a)) ?? 0) - (delta(b, metricOf(b)) ?? 0));
};

// --- one case

const words = (text) => text.match(/\s+|[^\s]+/g) ?? [];
// The longest common subsequence of words: what both sides say stays plain.
const difference = (before, after) => {
  const [a, b] = [words(before).slice(0, 400), words(after).slice(0, 400)];
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  const [left, right] = [[], []];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { left.push(a[i]); right.push(b[j]); i++; j++; }
    else if (j >= b.length || (i < a.length && table[i + 1][j] >= table[i][j + 1])) left.push(make('del', { textContent: a[i++] }));
    else right.push(make('ins', { textContent: b[j++] }));
  }
  return [left, right];
};
const side = (name, content, observation) => {
  const box = make('div', { className: 'side' }, make('h4', { textContent: name }), ...content);
  const checks = make('ul', { className: 'checks' });
  for (const [metric, passed, score, reason] of observation.checks)
    checks.append(make('li', { className: passed ? 'dim' : 'fail', textContent: `${passed ? '✓' : '✕'} ${metric} ${score.toFixed(3)}: ${reason}` }));
  box.append(checks);
  return box;
};
const inside = (item) => {
  const box = make('div', { className: 'inside' });
  for (const [name, value] of Object.entries(item.variables))
    box.append(make('p', { className: 'dim', textContent: `${name}: ${value}` }));
  for (let repeat = 0; repeat < item.head.length; repeat++) {
    const [base, head] = [item.base[repeat], item.head[repeat]];
    const tell = (each) => each.error ? `error: ${each.error}` : each.text;
    const [left, right] = base ? difference(tell(base), tell(head)) : [[], [tell(head)]];
    const sides = make('div', { className: 'sides' });
    if (base) sides.append(side(`base, ${Math.round(base.ms)} ms`, left, base));
    sides.append(side(`head, ${Math.round(head.ms)} ms`, right, head));
    box.append(sides);
  }
  return box;
};
const row = (item) => {
  const change = delta(item, metricOf(item));
  const said = change === undefined ? '' : `${change > 0 ? '+' : change < 0 ? '−' : ''}${Math.abs(change).toFixed(3)}`;
  const summary = make('summary', {}, make('b', { textContent: item.title }),
    make('span', { className: 'dim', textContent: item.suite }),
    make('span', { className: `delta ${change < 0 ? 'fail' : change > 0 ? 'pass' : 'dim'}`, textContent: `${metricOf(item)} ${said}` }));
  const details = make('details', { className: 'case' }, summary);
  details.dataset.key = key(item);
  details.addEventListener('toggle', () => {
    if (details.open && details.children.length === 1) details.append(inside(item));
    if (details.open) history.replaceState(null, '', `#case=${encodeURIComponent(key(item))}`);
  });
  return details;
};

const render = () => {
  const found = matching();
  byId('list').replaceChildren(...found.slice(0, shown).map(row));
  byId('count').textContent = `${found.length} of ${data.cases.length} cases`;
  byId('more').hidden = found.length <= shown;
};
const restart = () => { shown = PAGE; render(); };
for (const id of ['search', 'suite', 'metric', 'kind']) byId(id).addEventListener('input', restart);
byId('more').addEventListener('click', () => { shown += PAGE; render(); });

const openCase = (wanted) => {
  const place = matching().findIndex((item) => key(item) === wanted);
  if (place < 0) return;
  if (place >= shown) { shown = place + 1; render(); }
  const details = [...document.querySelectorAll('.case')].find((each) => each.dataset.key === wanted);
  details.open = true;
  details.scrollIntoView({ block: 'start' });
};
const follow = () => {
  const found = /^#case=(.+)$/.exec(location.hash);
  if (found) openCase(decodeURIComponent(found[1]));
};
window.addEventListener('hashchange', follow);

// --- plots

const COLOURS = { pass: 'var(--pass)', fail: 'var(--fail)', inconclusive: 'var(--inconclusive)' };
const figure = (caption, plot) => make('figure', {}, make('figcaption', { textContent: caption }), plot);
// Shares, not counts: two data sets of different sizes are alike where their shapes are.
const shares = (caption, { bins, before, after }, options) => {
  const rows = [['before', before], ['after', after]].flatMap(([side, counts]) => {
    const all = counts.reduce((sum, count) => sum + count, 0);
    return all ? bins.map((bin, index) => ({ side, bin, count: counts[index], share: counts[index] / all })).filter(({ bin }) => bin !== options.without) : [];
  });
  const sides = { domain: ['before', 'after'], range: ['var(--dim)', 'var(--accent)'], legend: true };
  const title = (row) => `${row.bin}, ${row.side}: ${row.count} rows, ${(100 * row.share).toFixed(1)}%`;
  return figure(caption, options.sideways
    ? Plot.plot({ height: 50 + bins.length * 30, marginLeft: 110, color: sides, style: { background: 'transparent', fontSize: '12px' }, x: { label: '% of the rows', percent: true, grid: true }, y: { axis: null, domain: sides.domain }, fy: { label: null, domain: bins.filter((bin) => bin !== options.without) },
      marks: [Plot.barX(rows, { x: 'share', y: 'side', fy: 'bin', fill: 'side', title }), Plot.ruleX([0])] })
    : Plot.plot({ height: 260, marginBottom: 50, color: sides, style: { background: 'transparent', fontSize: '12px' }, y: { label: '% of the rows', percent: true, grid: true }, x: { axis: null, domain: sides.domain }, fx: { label: options.label, domain: bins, tickRotate: -30 },
      marks: [Plot.barY(rows, { y: 'share', x: 'side', fx: 'bin', fill: 'side', title }), Plot.ruleY([0])] }));
};
for (const holder of document.querySelectorAll('.plots[data-pointer]')) {
  const pointer = data.pointers.find((each) => each.path === holder.dataset.pointer);
  holder.append(
    shares('Words an answer', pointer.words, { label: 'words' }),
    shares('The largest topics', pointer.topics, { sideways: true, without: 'all others' }),
  );
}
for (const holder of document.querySelectorAll('.plots[data-suite]')) {
  const suite = suites.get(holder.dataset.suite);
  if (!suite.hasBase) continue;
  const gates = new Map(suite.gates.map((gate) => [gate.metric, gate]));
  const rows = suite.metrics.filter((metric) => Number.isFinite(metric.low) && Number.isFinite(metric.high));
  const colour = (metric) => COLOURS[gates.get(metric.metric)?.verdict] ?? 'var(--accent)';
  holder.append(figure('Difference, head − base, with its 95% interval; dashed: what the gate allows', Plot.plot({
    height: 60 + rows.length * 34, marginLeft: 96, x: { label: 'difference', grid: true, nice: true }, y: { label: null, domain: rows.map((metric) => metric.metric) },
    style: { background: 'transparent', fontSize: '12px' },
    marks: [
      Plot.ruleX([0]),
      Plot.tickX(rows.filter((metric) => gates.has(metric.metric)), { x: (metric) => -gates.get(metric.metric).max_drop, y: 'metric', stroke: 'var(--fail)', strokeDasharray: '3,3' }),
      Plot.ruleY(rows, { x1: 'low', x2: 'high', y: 'metric', stroke: colour, strokeWidth: 3 }),
      Plot.dot(rows, { x: 'difference', y: 'metric', fill: colour, r: 5, title: (metric) => `${metric.metric}: ${metric.difference.toFixed(3)} [${metric.low.toFixed(3)}, ${metric.high.toFixed(3)}]` }),
    ],
  })));
  const metric = suite.metrics.find((each) => each.kind === 'mean' && gates.has(each.metric));
  if (!metric) continue;
  const pairs = data.cases.filter((item) => item.suite === suite.id && delta(item, metric.metric) !== undefined)
    .map((item) => ({ item, base: mean(item.base, metric.metric), head: mean(item.head, metric.metric) }));
  const scatter = Plot.plot({
    height: 320, aspectRatio: 1, grid: true, x: { label: `${metric.metric}, base`, domain: [0, 1] }, y: { label: 'head', domain: [0, 1] },
    style: { background: 'transparent', fontSize: '12px' },
    marks: [
      Plot.line([[0, 0], [1, 1]], { stroke: 'currentColor', strokeOpacity: 0.4 }),
      Plot.dot(pairs, { x: 'base', y: 'head', r: 4, fillOpacity: 0.6, fill: (pair) => pair.head < pair.base ? 'var(--fail)' : pair.head > pair.base ? 'var(--pass)' : 'var(--dim)', title: (pair) => pair.item.title }),
    ],
  });
  scatter.querySelectorAll('circle').forEach((circle, index) => {
    circle.dataset.case = '';
    circle.addEventListener('click', () => { byId('kind').value = 'all'; byId('search').value = ''; byId('suite').value = ''; restart(); openCase(key(pairs[index].item)); });
  });
  holder.append(figure(`${metric.metric} of each case: above the line head is better; click one to read it`, scatter));
}
render();
follow();
