// Draws the state timeline, because Grafana's own is not in its open-source packages.
// Grafana's code computes the texts and colours.
import { formattedValueToString, getFieldDisplayName } from '@grafana/data';
import { VizLayout, VizLegend } from '@grafana/ui';

// spans returns the periods in which a field had a value. A gap in the measurements
// is a gap in the row.
function spans(frame, field, to) {
  const time = frame.fields.find((f) => f.type === 'time');
  const interval = time.config.interval;
  const all = [];
  field.values.forEach((value, i) => {
    if (value === null || value === undefined) {
      return;
    }
    const next = time.values[i + 1] ?? to;
    const end = interval && next - time.values[i] > 1.5 * interval ? time.values[i] + interval : next;
    const last = all.at(-1);
    if (last && last.value === value && last.end === time.values[i]) {
      last.end = end;
    } else {
      all.push({ value, start: time.values[i], end });
    }
  });
  return all;
}

function ticks(from, to, count) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((s) => s * 1000);
  const step = steps.find((s) => (to - from) / s <= count) ?? steps.at(-1);
  const all = [];
  for (let at = Math.ceil(from / step) * step; at < to; at += step) {
    all.push({ at, text: new Date(at).toISOString().slice(11, step < 60000 ? 19 : 16) });
  }
  return all;
}

const measure = document.createElement('canvas').getContext('2d');

export function Timeline({ frames, options, width, height, range, theme }) {
  const all = frames.flatMap((frame) =>
    frame.fields.filter((f) => f.type !== 'time').map((field) => ({ frame, field, name: getFieldDisplayName(field, frame, frames) })),
  );
  const perPage = options.perPage ?? 20;
  const shown = all.slice(0, perPage);
  const font = `${theme.typography.size.sm} ${theme.typography.fontFamily}`;
  measure.font = font;
  const left = Math.min(width / 3, 16 + Math.max(0, ...shown.map((s) => measure.measureText(s.name).width)));
  const items = new Map();
  for (const { frame, field } of shown) {
    for (const span of spans(frame, field, range.to)) {
      const v = field.display(span.value);
      items.set(formattedValueToString(v), v.color);
    }
  }
  const legend = options.legend?.showLegend !== false && (
    <VizLayout.Legend placement={options.legend?.placement ?? 'bottom'}>
      <VizLegend displayMode="list" placement="bottom" items={[...items].map(([label, color]) => ({ label, color, yAxis: 1 }))} />
    </VizLayout.Legend>
  );
  return (
    <VizLayout width={width} height={height} legend={legend || null}>
      {(w, h) => {
        const pager = all.length > perPage ? 32 : 0;
        const bottom = 20;
        const x = (at) => left + ((Math.max(range.from, Math.min(range.to, at)) - range.from) / (range.to - range.from)) * (w - left);
        const tall = (h - bottom - pager) / Math.max(1, shown.length);
        const bar = tall * (options.rowHeight ?? 0.9);
        return (
          <>
            <svg width={w} height={h - pager} style={{ font, letterSpacing: 0, display: 'block' }}>
              {ticks(range.from, range.to, w / 120).map(({ at, text }) => (
                <g key={at}>
                  <line x1={x(at)} x2={x(at)} y1={0} y2={h - bottom - pager} stroke={theme.colors.border.weak} />
                  <text x={x(at)} y={h - pager - 5} fill={theme.colors.text.primary} textAnchor="middle">
                    {text}
                  </text>
                </g>
              ))}
              {shown.map(({ frame, field, name }, i) => (
                <g key={i}>
                  <text x={left - 8} y={tall * (i + 0.5)} fill={theme.colors.text.primary} textAnchor="end" dominantBaseline="central">
                    {name}
                  </text>
                  {spans(frame, field, range.to).map((span, k) => {
                    const v = field.display(span.value);
                    const wide = x(span.end) - x(span.start);
                    const text = formattedValueToString(v);
                    return (
                      <g key={k}>
                        <rect
                          x={x(span.start)}
                          width={Math.max(1, wide)}
                          y={tall * i + (tall - bar) / 2}
                          height={bar}
                          fill={v.color}
                          fillOpacity={(field.config.custom?.fillOpacity ?? 70) / 100}
                        />
                        {options.showValue !== 'never' && bar > 12 && measure.measureText(text).width + 8 < wide && (
                          <text
                            x={x(span.start) + 4}
                            y={tall * (i + 0.5)}
                            fill={theme.colors.getContrastText(v.color)}
                            dominantBaseline="central"
                          >
                            {text}
                          </text>
                        )}
                      </g>
                    );
                  })}
                </g>
              ))}
            </svg>
            {pager > 0 && <div style={{ textAlign: 'center', lineHeight: pager + 'px' }}>‹ 1 of {Math.ceil(all.length / perPage)} ›</div>}
          </>
        );
      }}
    </VizLayout>
  );
}
