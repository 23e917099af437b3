// Reads a dashboard with the frames of its panels, and writes what is seen in
// each of them: texts, colours, names and their order.
import fs from 'fs';
import { begin, cell, columns, formattedValueToString, hasData, name, panels, process as processPanel, rows, stats, themeOf } from './panel.js';

const shows = {
  stat: (panel, done) => ({
    values: stats(panel, done).map((v) => ({ title: v.display.title, text: formattedValueToString(v.display), color: v.display.color })),
  }),
  table: (panel, done) => {
    const frame = done.frames[0];
    if (!frame || frame.length === 0) {
      return { columns: frame ? columns(frame).map((f) => name(f, frame)) : [], rows: [] };
    }
    const shown = columns(frame);
    return {
      columns: shown.map((f) => name(f, frame, done.frames)),
      rows: rows(frame, panel.options.sortBy).map((row) => shown.map((f) => cell(f, row))),
      sorted: (panel.options.sortBy ?? []).map((s) => s.displayName + (s.desc ? ' down' : ' up')),
      paged: Boolean(panel.options.enablePagination ?? panel.options.footer?.enablePagination),
      tables: done.frames.length,
    };
  },
};

// series are lines and timelines.
function series(panel, done) {
  const all = [];
  for (const frame of done.frames) {
    for (const field of frame.fields) {
      if (field.type === 'time' || field.config.custom?.hideFrom?.viz) {
        continue;
      }
      const seen = new Map();
      for (const value of field.values) {
        if (value !== null && value !== undefined) {
          const shown = field.display(value);
          const text = formattedValueToString(shown);
          seen.set(text, { text, color: shown.color });
        }
      }
      const values = [...seen.values()];
      all.push({ name: name(field, frame, done.frames), color: field.display(field.values.findLast((v) => v != null)).color, last: values.length ? formattedValueToString(field.display(field.values.findLast((v) => v != null))) : '', values });
    }
  }
  return { series: all };
}

async function main() {
  const input = JSON.parse(fs.readFileSync(0, 'utf8'));
  begin();
  const theme = themeOf(input.theme);
  const shown = [];
  for (const panel of panels(input.dashboard.panels)) {
    const done = await processPanel(panel, input, theme);
    shown.push({ title: panel.title, type: panel.type, empty: !hasData(done.frames), ...(shows[panel.type] ?? series)(panel, done) });
  }
  process.stdout.write(JSON.stringify(shown));
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
