"use strict";
// Draws the columns of a table that the legend of a figure names, over the time in its first one.
(() => {
  const shown = new WeakMap();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const figures = () => document.querySelectorAll("figure.chart");
  const keys = (figure) => [...figure.querySelectorAll(".key")];
  const tableOf = (figure) => document.getElementById(figure.dataset.table);

  const data = (figure, table) => {
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.dataset.column);
    const places = [0, ...keys(figure).map((key) => heads.indexOf(key.dataset.column))];
    const columns = places.map(() => []);
    for (const row of table.tBodies[0].rows) {
      places.forEach((place, at) => {
        const cell = row.cells[place];
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

  const options = (figure) => {
    const unit = figure.dataset.unit ?? "";
    const format = (value) => (value == null ? "–" : `${Number(value.toPrecision(3)).toLocaleString("en")}${unit}`);
    const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    return {
      width: figure.querySelector(".plot").clientWidth, height: 170, cursor: { points: { size: 6 }, drag: { x: false, y: false } },
      legend: { show: false }, padding: [10, 14, 0, 0],
      scales: { y: { range: (plot, least, most) => [0, most > 0 ? most * 1.1 : 1] } },
      axes: [{ ...axis, size: 26, values: (plot, ticks, at, space, step) => ticks.map((tick) => clock(tick, step)) },
        { ...axis, size: 60, values: (plot, ticks) => ticks.map(format) }],
      series: [{}, ...keys(figure).map((key) => {
        const usual = key.dataset.column === "usual";
        return { label: key.dataset.column, stroke: colour(key.dataset.colour), width: usual ? 1 : 1.6,
          dash: usual ? [4, 4] : undefined, points: { show: false }, spanGaps: true };
      })],
      hooks: {
        setCursor: [(plot) => {
          const at = plot.cursor.idx;
          keys(figure).forEach((key, number) => {
            const values = plot.data[number + 1];
            key.querySelector("b").textContent = format(at == null ? values.at(-1) : values[at]);
          });
        }],
      },
    };
  };

  const draw = (again) => {
    for (const figure of figures()) {
      const table = tableOf(figure);
      const place = figure.querySelector(".plot");
      if (!table || !place || !window.uPlot) continue;
      const known = shown.get(place);
      if (known && !again && known.root.isConnected) { known.setData(data(figure, table)); continue; }
      known?.destroy();
      place.replaceChildren();
      shown.set(place, new uPlot(options(figure), data(figure, table), place));
    }
  };
  draw(true);
  document.addEventListener("htmx:after:swap", () => draw(false));
  document.addEventListener("wopr:theme", () => draw(true));
  new ResizeObserver(() => {
    for (const figure of figures()) {
      const place = figure.querySelector(".plot");
      shown.get(place)?.setSize({ width: place.clientWidth, height: 170 });
    }
  }).observe(document.querySelector("main"));
})();
