// The charts of a result: plain options for ECharts, made from the samples. The page and the README's drawings share
// them, so that neither can show what the other does not.
'use strict';

const ENGINE_PARTS = ['api', 'worker', 'redis', 'replica', 'postgres'];
const PEERS = ['bullmq-lock', 'lua-bullmq', 'postgres-update', 'postgres-skip-locked'];
// The engine, and what it is held against in the same case.
const COSTING = ['engine', 'one-sku', 'engine, grown', 'engine, new'];
const LABELS = {
  engine: 'Doorbuster',
  'one-sku': 'all on one SKU',
  'engine, grown': 'afterwards',
  'engine, new': 'a new engine',
  'bullmq-lock': 'Express + BullMQ + FOR UPDATE',
  'lua-bullmq': 'Fastify + Lua + BullMQ',
  'postgres-update': 'Postgres, conditional UPDATE',
  'postgres-skip-locked': 'Postgres, SKIP LOCKED',
  'batch-script': 'claim script, 256 a call',
  'redis-benchmark': 'claim script, 1 a call',
};
const COLOURS = ['#2f6fdf', '#e0812b', '#2f9e6e', '#b04ac0', '#c0392b', '#7a7a7a'];

const label = (subject) => LABELS[subject] ?? subject;
const thousands = (value) => Math.round(value).toLocaleString('en');

function median(numbers) {
  if (numbers.length === 0) return undefined;
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

function samplesOf(results, name, subject) {
  return results.samples.filter((sample) => sample.case === name && sample.subject === subject
    && Object.keys(sample.figures).length > 0);
}

function figure(results, name, subject, key) {
  const numbers = samplesOf(results, name, subject).map((sample) => sample.figures[key]);
  return median(numbers.filter((number) => number !== undefined));
}

const base = () => ({
  color: COLOURS,
  animation: false,
  backgroundColor: 'transparent',
  grid: { left: 16, right: 32, top: 48, bottom: 16, containLabel: true },
  legend: { top: 8 },
  tooltip: { trigger: 'axis', valueFormatter: (value) => (value === undefined ? '' : Number(value).toLocaleString('en')) },
});

/** Orders a second by time: of one run, the last. */
function overTime(results, name) {
  const sample = samplesOf(results, name, 'engine').at(-1);
  if (!sample?.timeline?.accepted?.length) return undefined;
  const { slot_ms: slot, accepted, persisted } = sample.timeline;
  const perSecond = accepted.map((count, i) => [(i + 1) * slot / 1000, count * 1000 / slot]);
  // Looks at what is persisted come in their own rhythm; close ones are taken together.
  const stored = [];
  let last = [0, 0];
  for (const [ms, orders] of persisted ?? []) {
    if (ms - last[0] < 2 * slot) continue;
    stored.push([ms / 1000, (orders - last[1]) * 1000 / (ms - last[0])]);
    last = [ms, orders];
  }
  return {
    ...base(),
    xAxis: { type: 'value', name: 's', min: 0 },
    yAxis: { type: 'value', name: 'orders/s' },
    series: [
      { name: 'accepted', type: 'line', showSymbol: false, areaStyle: { opacity: 0.15 }, data: perSecond },
      { name: 'persisted', type: 'line', showSymbol: false, data: stored },
    ],
  };
}

/** Latency from the intended time, by arrivals a second. */
function latency(results) {
  const subjects = [...new Set(results.samples.filter((one) => one.case === 'latency').map((one) => one.subject))];
  const points = subjects
    .map((subject) => ({ subject, offered: figure(results, 'latency', subject, 'offered_per_s') }))
    .filter((point) => point.offered !== undefined)
    .sort((a, b) => a.offered - b.offered);
  if (points.length === 0) return undefined;
  const line = (name, key) => ({
    name,
    type: 'line',
    data: points.map(({ subject, offered }) => [Math.round(offered), figure(results, 'latency', subject, key)]),
  });
  return {
    ...base(),
    xAxis: { type: 'value', name: 'arrivals/s', nameLocation: 'middle', nameGap: 28 },
    yAxis: { type: 'log', name: 'ms' },
    grid: { ...base().grid, bottom: 36 },
    series: [line('p50', 'p50_ms'), line('p90', 'p90_ms'), line('p99', 'p99_ms'), line('p99.9', 'p999_ms')],
  };
}

/** Processor time of an order, by component. */
function cost(results) {
  // In a drop nearly all the work is refusals: by the order it would say nothing.
  const rows = Object.keys(results.cases)
    .filter((name) => results.cases[name].kind !== 'burst')
    .flatMap((name) => COSTING.map((subject) => [name, subject]))
    .filter(([name, subject]) => figure(results, name, subject, 'cpu_us_per_order') !== undefined);
  if (rows.length === 0) return undefined;
  const share = ([name, subject], part) => figure(results, name, subject, `cpu_us_per_order.${part}`) ?? 0;
  const parts = ENGINE_PARTS.filter((part) => rows.some((row) => share(row, part) > 0));
  return {
    ...base(),
    tooltip: { trigger: 'axis', axisPointer: { type: 'shadow' } },
    xAxis: { type: 'value', name: 'µs', nameLocation: 'end' },
    yAxis: {
      type: 'category',
      data: rows.map(([name, subject]) => (subject === 'engine' ? name : `${name}: ${label(subject)}`)),
      inverse: true,
    },
    series: parts.map((part) => ({
      name: part,
      type: 'bar',
      stack: 'cost',
      barMaxWidth: 28,
      data: rows.map((row) => Number(share(row, part).toFixed(1))),
    })),
  };
}

function bars(rows, unit, log) {
  const known = rows.filter(([, value]) => value !== undefined);
  if (known.length < 2) return undefined;
  return {
    ...base(),
    legend: undefined,
    grid: { left: 28, right: 72, top: 16, bottom: 28, containLabel: true },
    tooltip: { trigger: 'axis', axisPointer: { type: 'shadow' }, valueFormatter: thousands },
    xAxis: { type: log ? 'log' : 'value', name: unit, nameLocation: 'middle', nameGap: 26, min: log ? 10 : 0 },
    yAxis: { type: 'category', data: known.map(([name]) => name), inverse: true },
    series: [{
      type: 'bar',
      barMaxWidth: 28,
      label: { show: true, position: 'right', formatter: ({ value }) => thousands(value) },
      data: known.map(([name, value]) => ({
        value: Math.round(value),
        itemStyle: { color: COLOURS[name.startsWith(LABELS.engine) ? 0 : 5] },
      })),
    }],
  };
}

/** Orders accepted and persisted a second, beside the peers. */
function peers(results) {
  const rows = ['engine', ...PEERS].map((subject) => [
    label(subject), figure(results, 'accept', subject, 'persisted_per_s'),
  ]);
  return bars(rows, 'orders accepted and persisted a second (log scale)', true);
}

/** The engine beside what its parts could do alone. */
function limits(results) {
  return bars([
    ['Doorbuster, accepted', figure(results, 'accept', 'engine', 'accepted_per_s')],
    ['bare hyper server beside it', figure(results, 'accept', 'bare', 'answers_per_s')],
    ['Doorbuster, sold out', figure(results, 'sold-out', 'engine', 'answers_per_s')],
    ['bare server beside sold out', figure(results, 'sold-out', 'bare', 'answers_per_s')],
    ['Doorbuster, drain', figure(results, 'backlog', 'engine', 'drain_per_s')],
    ['binary COPY beside it', figure(results, 'backlog', 'copy', 'orders_per_s')],
    [label('batch-script'), figure(results, 'accept', 'batch-script', 'claims_per_s')],
    [label('redis-benchmark'), figure(results, 'accept', 'redis-benchmark', 'claims_per_s')],
  ], 'a second', false);
}

/** Cost and memory of an order, from the first to the last of a long run. */
function long(results) {
  const points = samplesOf(results, 'long', 'engine').at(-1)?.timeline?.cost ?? [];
  if (points.length < 2) return undefined;
  return {
    ...base(),
    xAxis: { type: 'value', name: 'orders', nameLocation: 'middle', nameGap: 28 },
    yAxis: [{ type: 'value', name: 'µs', min: 0 }, { type: 'value', name: 'bytes', min: 0 }],
    grid: { ...base().grid, bottom: 36 },
    series: [
      { name: 'processor time of an order', type: 'line', showSymbol: false, data: points.map(([n, us]) => [n, us]) },
      {
        name: 'Redis bytes of an order', type: 'line', showSymbol: false, yAxisIndex: 1,
        data: points.map(([n, , bytes]) => [n, bytes]),
      },
    ],
  };
}

/** All charts that this result has data for. */
function charts(results) {
  return [
    ['peers', 'Beside the peers', 'Orders from the first request until the last is in Postgres. The same machine, servers, settings, load and check for all; medians over the rounds.', peers(results)],
    ['limits', 'Beside the limits', 'What the parts could do alone, in the same run.', limits(results)],
    ['cost', 'Processor time of an order', 'By component, from the accounting of the system, for each case. The load generator is left out.', cost(results)],
    ['over-time', 'Throughput over time', 'Case accept, the last round: claims answered with 202, and rows in Postgres.', overTime(results, 'accept')],
    ['latency', 'Latency by load', 'Buyers arrive on their own; counted from the moment at which the request should have been sent.', latency(results)],
    ['drop', 'A drop', 'Case drop, the last round: until the last unit is sold and persisted.', overTime(results, 'drop')],
    ['backlog', 'A backlog', 'Case backlog, the last round: the worker stands still, then drains.', overTime(results, 'backlog')],
    ['long', 'From the first order to the last', 'Case long.', long(results)],
  ].filter(([, , , option]) => option !== undefined).map(([id, title, note, option]) => ({ id, title, note, option }));
}

if (typeof module !== 'undefined') module.exports = { charts };
