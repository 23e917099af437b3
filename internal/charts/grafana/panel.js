// Processes a panel and the frames of its queries with Grafana's own transformations,
// overrides, mappings, thresholds and units. Two things are not part of Grafana's
// open-source packages and are implemented here: the defaults of the panel types, and
// variables in links and names.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  createTheme,
  FieldConfigOptionsRegistry,
  formattedValueToString,
  getFieldDisplayName,
  getFieldDisplayValues,
  locationUtil,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';

const standard = [
  'unit',
  'mappings',
  'color',
  'min',
  'max',
  'decimals',
  'displayName',
  'thresholds',
  'noValue',
  'links',
  'filterable',
  'fieldMinMax',
];

// The settings that panel types add to fields, with Grafana's defaults.
const custom = {
  hideFrom: {},
  // tables
  width: undefined,
  minWidth: undefined,
  align: 'auto',
  cellOptions: { type: 'auto' },
  inspect: false,
  wrapText: undefined,
  footer: undefined,
  // lines and timelines
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  lineStyle: undefined,
  fillOpacity: 0,
  gradientMode: 'none',
  spanNulls: false,
  insertNulls: undefined,
  showPoints: 'auto',
  pointSize: 5,
  stacking: { mode: 'none', group: 'A' },
  axisPlacement: 'auto',
  axisLabel: '',
  axisColorMode: 'text',
  axisBorderShow: false,
  axisCenteredZero: false,
  axisGridShow: undefined,
  axisWidth: undefined,
  axisSoftMin: undefined,
  axisSoftMax: undefined,
  scaleDistribution: { type: 'linear' },
  barAlignment: 0,
  thresholdsStyle: { mode: 'off' },
};

// The thresholds of a panel that sets none.
const thresholds = {
  mode: 'absolute',
  steps: [
    { value: null, color: 'green' },
    { value: 80, color: 'red' },
  ],
};
const colorModes = { timeseries: 'palette-classic', 'state-timeline': 'continuous-GrYlRd' };

function fieldConfigRegistry() {
  const item = (id, path, isCustom) => ({
    id,
    path,
    isCustom,
    name: id,
    override: () => null,
    editor: () => null,
    process: (v) => v,
    shouldApply: () => true,
  });
  return new FieldConfigOptionsRegistry(() => [
    ...standard.map((id) => item(id, id, false)),
    ...Object.keys(custom).flatMap((id) => [
      item('custom.' + id, id, true),
      ...(id === 'hideFrom' ? [item('custom.hideFrom.viz', 'hideFrom.viz', true)] : []),
    ]),
  ]);
}

export function begin() {
  standardTransformersRegistry.setInit(() =>
    [...new Map(Object.values(standardTransformers).map((t) => [t.id, t])).values()].map((t) => ({
      id: t.id,
      name: t.name,
      description: '',
      editor: () => null,
      transformation: () => Promise.resolve(t),
    })),
  );
  locationUtil.initialize({ config: { appSubUrl: '' }, getVariablesUrlParams: () => ({}), getTimeRangeForUrl: () => ({}) });
}

export const themeOf = (mode) => createTheme({ colors: { mode } });

// JSON does not have these numbers.
const numbers = { NaN: NaN, '+Inf': Infinity, '-Inf': -Infinity };

function read(frame) {
  for (const field of frame.fields) {
    if (field.type === 'number') {
      field.values = field.values.map((v) => numbers[v] ?? v);
    }
  }
  return toDataFrame(frame);
}

// replacer replaces the variables that we use.
function replacer(variables) {
  return (text, scoped, format) => {
    const encode = format === 'uriencode' ? encodeURIComponent : String;
    return text.replace(/\$\{([^}]+)\}|\$(\w+)/g, (whole, braced, plain) => {
      const [, name, way] = (braced ?? plain).match(/^(.*?)(?::(\w+))?$/);
      const context = scoped?.__dataContext?.value;
      const column = name.match(/^__data\.fields(?:\.(\w+)|\["?(.*?)"?\])$/);
      if (column && context) {
        const field = context.frame.fields.find(
          (f) => getFieldDisplayName(f, context.frame) === (column[1] ?? column[2]) || f.name === (column[1] ?? column[2]),
        );
        return field ? encode(formattedValueToString(field.display(field.values[context.rowIndex]))) : '';
      }
      if (/^__value(\.|$)/.test(name) && context) {
        const value = context.field.values[context.rowIndex];
        return encode(name === '__value.text' ? formattedValueToString(context.field.display(value)) : value);
      }
      if (name.startsWith('__field.labels.') && context) {
        return encode(context.field.labels?.[name.slice('__field.labels.'.length)] ?? '');
      }
      if (!(name in variables)) {
        return whole;
      }
      return name === '__url_time_range'
        ? variables[name]
        : way === 'queryparam'
          ? `var-${name}=${encodeURIComponent(variables[name])}`
          : encode(variables[name]);
    });
  };
}

const types = ['stat', 'table', 'timeseries', 'state-timeline'];

// check fails if the panel uses something that is not implemented here.
function check(panel, registry) {
  const { defaults, overrides } = panel.fieldConfig;
  const settings = [
    ...Object.keys(defaults)
      .filter((key) => key !== 'custom')
      .concat(Object.keys(defaults.custom ?? {}).map((key) => 'custom.' + key)),
    ...overrides.flatMap((o) => o.properties.map((p) => p.id)),
  ];
  const unknown = [
    ...(types.includes(panel.type) ? [] : [panel.type]),
    ...settings.filter((id) => !registry.getIfExists(id)),
    ...(panel.transformations ?? []).map((t) => t.id).filter((id) => !standardTransformersRegistry.getIfExists(id)),
  ];
  if (unknown.length > 0) {
    throw new Error(`${panel.title}: not supported: ${unknown}`);
  }
}

// process returns the frames of a panel as Grafana shows them.
export async function process(panel, input, theme) {
  const registry = fieldConfigRegistry();
  check(panel, registry);
  const { from, to } = input;
  const replaceVariables = replacer({ ...input.variables, __from: from, __to: to, __url_time_range: `from=${from}&to=${to}` });
  const defaults = { thresholds, color: { mode: colorModes[panel.type] ?? 'thresholds' }, ...panel.fieldConfig?.defaults };
  defaults.custom = { ...custom, ...defaults.custom };
  const fieldConfig = { defaults: structuredClone(defaults), overrides: panel.fieldConfig?.overrides ?? [] };
  for (const place of [
    fieldConfig.defaults,
    ...fieldConfig.overrides.flatMap((o) => o.properties.filter((p) => p.id === 'thresholds').map((p) => ({ thresholds: p.value }))),
  ]) {
    if (place.thresholds.steps[0]) {
      place.thresholds.steps[0].value = -Infinity; // null in JSON
    }
  }
  const transformations = (panel.transformations ?? []).filter((t) => !t.disabled);
  const frames = await lastValueFrom(
    transformDataFrame(transformations, (panel.frames ?? []).map(read), { interpolate: (s) => replaceVariables(s) }),
  );
  const options = { fieldConfig, replaceVariables, theme, timeZone: 'utc', fieldConfigRegistry: registry };
  const done = applyFieldOverrides({ ...options, data: frames });
  cacheFieldDisplayNames(done);
  return { options, fieldConfig, frames: done };
}

export const hasData = (frames) => frames.some((f) => f.length > 0);

// stats returns the values of a panel of numbers.
export function stats(panel, done) {
  return getFieldDisplayValues({
    ...done.options,
    data: done.frames,
    reduceOptions: panel.options.reduceOptions,
    sparkline: panel.options.graphMode === 'area',
  });
}

// finite removes infinite values, which lines leave out.
export const finite = (frames) =>
  frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((f) => (f.type === 'number' ? { ...f, values: f.values.map((v) => (Number.isFinite(v) ? v : null)) } : f)),
  }));

export const name = (field, frame, frames) => getFieldDisplayName(field, frame, frames);

export const columns = (frame) => frame.fields.filter((f) => f.config.custom?.hideFrom?.viz !== true);

// cell returns the text of a value, and its colour if it is visible.
export function cell(field, row) {
  const value = field.values[row];
  const shown = field.display(value);
  const type = field.config.custom?.cellOptions?.type ?? 'auto';
  const links = (field.getLinks?.({ valueRowIndex: row }) ?? []).map((l) => l.href);
  return {
    text: formattedValueToString(shown),
    ...(type === 'color-text' && { color: shown.color }),
    ...(type === 'color-background' && { background: shown.color }),
    ...(links.length > 0 && { links }),
  };
}

// rows returns the order of the rows in a table, sorted like TableNG does.
export function rows(frame, sortBy = []) {
  const order = [...Array(frame.length).keys()];
  const text = new Intl.Collator('en', { sensitivity: 'base', numeric: true }).compare;
  const compare = {
    string: (a, b) => text(String(a ?? ''), String(b ?? '')),
    number: (a, b) => (a === b ? 0 : a == null ? -1 : b == null ? 1 : a - b),
  };
  const keys = sortBy.flatMap(({ displayName, desc }) => {
    const field = frame.fields.find((f) => name(f, frame) === displayName);
    return field ? [{ field, sign: desc ? -1 : 1, compare: compare[field.type === 'string' ? 'string' : 'number'] }] : [];
  });
  return order.sort((a, b) => {
    for (const k of keys) {
      const less = k.sign * k.compare(k.field.values[a], k.field.values[b]);
      if (less !== 0) {
        return less;
      }
    }
    return 0;
  });
}

// panels returns all panels of a dashboard, including those in collapsed rows.
export const panels = (list) => list.flatMap((p) => (p.type === 'row' ? panels(p.panels ?? []) : [p]));

export { formattedValueToString };
