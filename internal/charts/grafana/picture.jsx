// Draws a dashboard with the frames of its panels in Grafana's layout.
import 'uplot/dist/uPlot.min.css';
import { dateTime, getDisplayValueAlignmentFactors, ThemeContext } from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, PanelContextProvider, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { createRoot } from 'react-dom/client';
import { begin, finite, hasData, process, stats, themeOf } from './panel.js';
import { Timeline } from './timeline.jsx';

const cell = 30;
const gap = 8;

function Stat({ panel, done, width, height, theme }) {
  const { orientation = 'auto', colorMode, graphMode, justifyMode, textMode, wideLayout } = panel.options;
  return (
    <VizRepeater
      getValues={() => stats(panel, done)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      source={done}
      width={width}
      height={height}
      itemSpacing={3}
      autoGrid
      orientation={orientation}
      renderValue={({ value, alignmentFactors, width, height, count, orientation }) => (
        <BigValue
          value={value.display}
          sparkline={value.sparkline}
          count={count}
          alignmentFactors={alignmentFactors}
          parentOrientation={orientation}
          {...{ width, height, theme, colorMode, graphMode, justifyMode, textMode, wideLayout }}
        />
      )}
    />
  );
}

// marks draws annotations over lines.
const marks = (annotations, theme) => (config) => {
  config.addHook('draw', (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    for (const { time, color } of annotations) {
      const x = Math.round(u.valToPos(time, 'x', true));
      if (x < bbox.left || x > bbox.left + bbox.width) {
        continue;
      }
      ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(color);
      ctx.setLineDash([4, 4]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x, bbox.top + bbox.height - 1);
      ctx.lineTo(x - 4, bbox.top + bbox.height + 5);
      ctx.lineTo(x + 4, bbox.top + bbox.height + 5);
      ctx.fill();
    }
    ctx.restore();
  });
  return null;
};

function Content({ panel, done, input, width, height, theme }) {
  if (panel.type === 'stat') {
    return <Stat {...{ panel, done, width, height, theme }} />;
  }
  if (!hasData(done.frames)) {
    return (
      <div style={{ width, height, display: 'grid', placeItems: 'center', color: theme.colors.text.secondary }}>
        {done.fieldConfig.defaults.noValue || 'No data'}
      </div>
    );
  }
  if (panel.type === 'table') {
    const { cellHeight, enablePagination, footer, frozenColumns, showHeader, sortBy } = panel.options;
    return (
      <TableNG
        data={done.frames[0]}
        noHeader={showHeader === false}
        enablePagination={enablePagination ?? footer?.enablePagination}
        frozenColumns={frozenColumns?.left}
        getActions={() => []}
        structureRev={1}
        timeRange={input.range}
        {...{ width, height, cellHeight, sortBy }}
      />
    );
  }
  if (panel.type === 'state-timeline') {
    return <Timeline frames={done.frames} options={panel.options} range={input} {...{ width, height, theme }} />;
  }
  return (
    <TimeSeries
      frames={finite(done.frames)}
      timeRange={input.range}
      timeZone="utc"
      legend={{ calcs: [], ...panel.options.legend }}
      options={panel.options}
      {...{ width, height }}
    >
      {marks(input.annotations ?? [], theme)}
    </TimeSeries>
  );
}

const box = ({ x, y, w, h }, width) => {
  const column = (width - gap) / 24;
  return {
    position: 'absolute',
    left: gap + x * column,
    top: gap + y * (cell + gap),
    width: w * column - gap,
    height: h * (cell + gap) - gap,
  };
};

function Row({ panel, width, theme }) {
  const closed = panel.collapsed ? ` (${panel.panels.length} panels)` : '';
  return (
    <div style={{ ...box(panel.gridPos, width), display: 'flex', alignItems: 'center', gap: 8, fontWeight: 500 }}>
      <span style={{ width: 12 }}>{panel.collapsed ? '›' : '⌄'}</span>
      {panel.title}
      <span style={{ color: theme.colors.text.secondary, fontStyle: 'italic', fontWeight: 400 }}>{closed}</span>
    </div>
  );
}

async function draw() {
  const input = window.input;
  begin();
  const theme = themeOf(input.theme);
  input.range = { from: dateTime(input.from), to: dateTime(input.to), raw: { from: dateTime(input.from), to: dateTime(input.to) } };
  const panels = await Promise.all(
    input.dashboard.panels.map(async (panel) => ({ panel, done: panel.type === 'row' ? null : await process(panel, input, theme) })),
  );
  const page = (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {panels.map(({ panel, done }) => {
        if (panel.type === 'row') {
          return <Row key={panel.id} {...{ panel, theme }} width={input.width} />;
        }
        const style = box(panel.gridPos, input.width);
        return (
          <div key={panel.id} style={style}>
            <PanelChrome
              title={panel.title}
              description={panel.description}
              width={style.width}
              height={style.height}
              padding={panel.type === 'table' ? 'none' : 'md'}
            >
              {(width, height) => <Content {...{ panel, done, input, width, height, theme }} />}
            </PanelChrome>
          </div>
        );
      })}
    </ThemeContext.Provider>
  );
  document.body.style.background = theme.colors.background.canvas;
  const root = createRoot(document.getElementById('page'));
  root.render(<GlobalStyles />); // loads the fonts, which are needed to measure texts
  await new Promise(requestAnimationFrame);
  await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 14px Inter`)));
  root.render(page);
}

window.onerror = (message) => console.log('failed: ' + message);
draw().then(
  () => setTimeout(() => console.log('drawn'), 1000), // by then, all components have measured themselves
  (e) => console.log('failed: ' + e.stack),
);
