// Charts of a native benchmark, as SVG: what is on them is what the rows say, losses like wins.

import * as vega from 'vega';
import * as vegaLite from 'vega-lite';

const ROLES = { reference: '#8a8a8a', peer: '#1f6feb', subject: '#c2410c' };

const CONFIG = {
  background: 'white',
  font: 'sans-serif',
  axis: { labelLimit: 400, titleFontWeight: 'normal' },
  header: { labelFontWeight: 'bold', labelAnchor: 'start', labelLimit: 600 },
};

const color = {
  field: 'role',
  type: 'nominal',
  title: null,
  scale: { domain: Object.keys(ROLES), range: Object.values(ROLES) },
};

/** Time of littoral through time of each other side: one panel for each workload. */
export function comparisons(chart, rows) {
  const values = rows
    .filter((row) => row.kind === 'comparison' && row.chart === chart)
    .map(({ question, reference, role, ratio, low, high }) => ({
      question,
      side: reference,
      role,
      ratio,
      low,
      high,
    }));
  const scale = { type: 'log', nice: false };
  const x = (field) => ({ field, type: 'quantitative', scale, title: TITLE });
  const y = { field: 'side', type: 'nominal', title: null, sort: null };
  return svg({
    title: { text: chart, anchor: 'start' },
    data: { values },
    facet: {
      row: { field: 'question', type: 'nominal', title: null, sort: null, header: HEADER },
    },
    resolve: { scale: { y: 'independent' } },
    spec: {
      width: 560,
      height: { step: 16 },
      layer: [
        { mark: { type: 'rule', color: '#444' }, encoding: { x: { datum: 1, scale } } },
        { mark: 'rule', encoding: { x: x('low'), x2: { field: 'high' }, y, color } },
        { mark: { type: 'point', filled: true, size: 60 }, encoding: { x: x('ratio'), y, color } },
      ],
    },
  });
}

const TITLE = 'time of littoral through time of the other: left of the line littoral is faster';
const HEADER = { labelOrient: 'top' };

/** A figure of every side, one panel for each workload of a chart that has it. */
export function figures(chart, figure, title, rows) {
  const values = rows
    .filter((row) => row.kind === 'figures' && row.chart === chart && row[figure] > 0)
    .map((row) => {
      const { question, subject, role, [figure]: value } = row;
      return { question, side: subject, role, value };
    });
  if (values.length === 0) return undefined;
  const y = { field: 'side', type: 'nominal', title: null, sort: null };
  return svg({
    title: { text: `${chart}: ${title}`, anchor: 'start' },
    data: { values },
    facet: {
      row: { field: 'question', type: 'nominal', title: null, sort: null, header: HEADER },
    },
    resolve: { scale: { y: 'independent' } },
    spec: {
      width: 560,
      height: { step: 16 },
      layer: [
        {
          mark: { type: 'point', filled: true, size: 60 },
          encoding: {
            x: { field: 'value', type: 'quantitative', scale: { type: 'log' }, title },
            y,
            color,
          },
        },
      ],
    },
  });
}

async function svg(spec) {
  // It warns of panels with scales of their own, which is what is wanted.
  const logger = vega.logger(vega.Error);
  const { spec: compiled } = vegaLite.compile({ ...spec, config: CONFIG }, { logger });
  const view = new vega.View(vega.parse(compiled), { renderer: 'none' });
  const text = await view.toSVG();
  view.finalize();
  return `${text}\n`;
}
