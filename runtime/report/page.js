"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const NARROW = 560;
  const LEGEND_ROW = 19;
  // A4 less the margins of page.css, 186 mm; Letter is wider. A plot is not scaled to the paper, it would be cut off.
  const PAPER = 700;
  // Of a plot's strings only this one is markup, and it is ours; all others may come from a file.
  const MARKUP = new Set(["hovertemplate"]);
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const escapeText = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // A copy with the scheme's colours for `var(--NAME)` and all text escaped.
  const resolve = (value, key) => {
    if (typeof value === "string") {
      const variable = /^var\((--[a-z0-9-]+)\)$/.exec(value);
      if (variable) return style(variable[1]);
      return MARKUP.has(key) ? value : escapeText(value);
    }
    if (Array.isArray(value)) return value.map((one) => resolve(one, key));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, resolve(one, name)]));
    }
    return value;
  };

  const printing = () => document.documentElement.dataset.print !== undefined;

  const shorten = (text, length) => (text.length > length ? text.slice(0, length - 1) + "…" : text);

  const axis = (given) => ({
    gridcolor: style("--grid"), zerolinecolor: style("--rule"), linecolor: style("--rule"), automargin: true, ...given,
  });

  const layoutOf = (figure, width) => {
    const narrow = width < NARROW;
    const given = structuredClone(figure.layout);
    const rows = given.yaxis && given.yaxis.ticktext;
    if (rows) given.yaxis.ticktext = rows.map((text) => shorten(text, narrow ? 18 : 44));
    const layout = resolve(given, "layout");
    const below = layout.legend && layout.legend.y < 0;
    // A row of the legend holds one entry in a narrow window, about two in a wide one: the plot keeps its height.
    const entries = figure.data.filter((trace) => trace.showlegend !== false).length;
    const extra = below ? LEGEND_ROW * (narrow ? entries : Math.max(0, Math.ceil(entries / 2) - 2)) : 0;
    // Under the axis and its title, whatever the plot's height: a legend's place is a share of that.
    if (below) layout.legend = { ...layout.legend, y: -60 / (figure.height - 140), yanchor: "top" };
    if (narrow && layout.legend) layout.legend.font = { size: 10 };
    return {
      ...layout,
      xaxis: axis(layout.xaxis), yaxis: axis(layout.yaxis), width, height: figure.height + extra,
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow ? 11 : 13, color: style("--text") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: narrow ? 44 : 60, r: 16, t: 24, b: 48 },
      hoverlabel: { bgcolor: style("--panel"), bordercolor: style("--rule"), font: { color: style("--text") }, align: "left" },
      hovermode: "closest",
      // A finger that scrolls the page must not zoom the plot.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    };
  };

  const draw = () => {
    for (const [name, figure] of Object.entries(figures)) {
      const place = document.getElementById(name);
      const width = printing() ? PAPER : place.clientWidth;
      const data = structuredClone(figure.data);
      const layout = layoutOf(figure, width);
      place.style.height = `${layout.height}px`;
      if (width < NARROW) for (const trace of data) if (trace.name) trace.name = shorten(trace.name, 38);
      Plotly.react(place, resolve(data, "data"), layout, { displayModeBar: false });
    }
  };

  const compare = (a, b, direction) => {
    // What is unknown comes last, whichever way the rest goes.
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
    return direction * order;
  };

  const keyOf = (cell, number) => {
    if (number) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    return cell.textContent;
  };

  const sortBy = (table, heading, column) => {
    const number = heading.classList.contains("number");
    const now = heading.getAttribute("aria-sort");
    // Numbers first fall: the largest is what one looks for.
    const next = now === "descending" ? "ascending" : now === "ascending" ? "descending" : number ? "descending" : "ascending";
    const direction = next === "ascending" ? 1 : -1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", next);
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compare(keyOf(a.cells[column], number), keyOf(b.cells[column], number), direction));
    table.tBodies[0].append(...rows);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      if (!heading.textContent) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      heading.replaceChildren(button);
      button.addEventListener("click", () => sortBy(table, heading, column));
    });
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  // All plots are as wide as the column: one of them tells when it changes.
  const first = document.querySelector(".plot");
  let width = first ? first.clientWidth : 0;
  if (first) new ResizeObserver(() => {
    if (!printing() && first.clientWidth !== width) { width = first.clientWidth; draw(); }
  }).observe(first);
  addEventListener("beforeprint", () => { document.documentElement.dataset.print = ""; draw(); });
  addEventListener("afterprint", () => { delete document.documentElement.dataset.print; draw(); });
  document.documentElement.dataset.drawn = "";
})();
