// Draws the charts of a result as SVG: node draw.cjs RESULT.json DIRECTORY
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const echarts = require('./vendor/echarts.min.js');
const { charts } = require('./charts.js');

const [, , result, directory] = process.argv;
const results = JSON.parse(fs.readFileSync(result, 'utf8'));
fs.mkdirSync(directory, { recursive: true });
for (const { id, option } of charts(results)) {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 800, height: 340 });
  // White: the page around it may be dark.
  chart.setOption({ ...option, backgroundColor: '#ffffff' });
  fs.writeFileSync(path.join(directory, `${id}.svg`), chart.renderToSVGString());
  chart.dispose();
}
