// Reads a dashboard with the frames of its panels, and writes the visible content
// of each panel: texts, colours, names and their order.
import fs from 'fs';
import {
  begin,
  cell,
  columns,
  finite,
  formattedValueToString,
  hasData,
  name,
  panels,
  process as processPanel,
  rows,
  stats,
  themeOf,
} from './panel.js';

const shows = {
  stat: (panel, done) => {
    const values = stats(panel, done);
    const named = values.length > 1 || /name/.test(panel.options.textMode);
    return {
      values: values.map(({ display }) => ({
        title: named ? display.title : '',
        text: formattedValueToString(display),
        color: display.color,
      })),
    };
  },
  table: (panel, done) => {
    const { sortBy = [], enablePagination, footer } = panel.options;
    const frame = done.frames[0] ?? { fields: [], length: 0 };
    const shown = columns(frame);
    return {
      columns: shown.map((f) => name(f, frame, done.frames)),
      rows: rows(frame, sortBy).map((row) => shown.map((f) => cell(f, row))),
      sorted: sortBy.map((s) => s.displayName + (s.desc ? ' down' : ' up')),
      paged: Boolean(enablePagination ?? footer?.enablePagination),
    };
  },
};

// lines returns the names and the displayed values of lines and timelines.
function lines(panel, done) {
  const frames = panel.type === 'timeseries' ? finite(done.frames) : done.frames;
  const series = frames.flatMap((frame) =>
    columns(frame)
      .filter((f) => f.type !== 'time')
      .map((field) => {
        const looks = field.values
          .filter((v) => v !== null && v !== undefined)
          .map((v) => {
            const { color, ...shown } = field.display(v);
            return { text: formattedValueToString(shown), color };
          });
        const values = [...new Map(looks.map((l) => [l.text, l])).values()];
        return { name: name(field, frame, frames), values, last: looks.at(-1) };
      }),
  );
  return { series };
}

async function main() {
  const input = JSON.parse(fs.readFileSync(0, 'utf8'));
  begin();
  const theme = themeOf(input.theme);
  const shown = [];
  for (const panel of panels(input.dashboard.panels)) {
    const done = await processPanel(panel, input, theme);
    shown.push({ title: panel.title, type: panel.type, empty: !hasData(done.frames), ...(shows[panel.type] ?? lines)(panel, done) });
  }
  process.stdout.write(JSON.stringify(shown));
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
