"use strict";
// Draws the table of a figure: its first column is the time, each other one a line.
(() => {
  const shown = new WeakMap();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const figures = () => document.querySelectorAll("figure.chart");

  const data = (table) => {
    const columns = [...table.tHead.rows[0].cells].map(() => []);
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((cell, at) => {
        const value = Number(cell.dataset.at ?? cell.textContent);
        columns[at].push(Number.isNaN(value) ? null : value);
      });
    }
    return columns;
  };

  const two = (number) => String(number).padStart(2, "0");
  const clock = (seconds, step) => {
    const at = new Date(seconds * 1000);
    if (step >= 86400) return at.toLocaleDateString("en-GB", { weekday: "short", day: "numeric" });
    return `${two(at.getHours())}:${two(at.getMinutes())}`;
  };

  const options = (figure, table) => {
    const heads = [...table.tHead.rows[0].cells];
    const unit = figure.dataset.unit ?? "";
    const format = (value) => (value == null ? "–" : `${Number(value.toPrecision(3)).toLocaleString("en")}${unit}`);
    const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    return {
      width: figure.clientWidth, height: 190, cursor: { points: { size: 6 }, drag: { x: false, y: false } },
      legend: { show: false }, padding: [10, 8, 0, 0],
      scales: { y: { range: (plot, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
      axes: [{ ...axis, size: 28, values: (plot, ticks, at, space, step) => ticks.map((tick) => clock(tick, step)) }, { ...axis, size: 54, values: (plot, ticks) => ticks.map(format) }],
      series: heads.map((head, at) => at === 0 ? {} : {
        label: head.textContent, stroke: colour(head.dataset.colour), width: head.dataset.usual === undefined ? 1.6 : 1,
        dash: head.dataset.usual === undefined ? undefined : [4, 4], points: { show: false }, spanGaps: true,
      }),
      hooks: {
        setCursor: [(plot) => {
          const at = plot.cursor.idx;
          heads.forEach((head, column) => {
            const key = figure.querySelector(`[data-legend="${column}"]`);
            if (key) key.textContent = format(at == null ? plot.data[column].at(-1) : plot.data[column][at]);
          });
        }],
      },
    };
  };

  const draw = (again) => {
    for (const figure of figures()) {
      const table = figure.querySelector("table");
      const place = figure.querySelector(".plot");
      if (!table || !place || !window.uPlot) continue;
      const known = shown.get(place);
      if (known && !again && known.root.isConnected) { known.setData(data(table)); continue; }
      known?.destroy();
      place.replaceChildren();
      shown.set(place, new uPlot(options(figure, table), data(table), place));
    }
  };
  draw(true);
  document.addEventListener("htmx:after:swap", () => draw(false));
  document.addEventListener("wopr:theme", () => draw(true));
  new ResizeObserver(() => {
    for (const figure of figures()) shown.get(figure.querySelector(".plot"))?.setSize({ width: figure.clientWidth, height: 190 });
  }).observe(document.querySelector("main"));
})();
