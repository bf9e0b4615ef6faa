"use strict";
// Theme, sorting, filtering and the drill-down. Text from records enters the page as text nodes alone.

const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

function add(created, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
  created.append(...children.flat().filter((child) => child !== null));
  return created;
}
const html = (name, attributes = {}, ...children) => add(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  add(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

// --- theme: the system's, unless one is chosen; a page from disk may not be allowed to remember it ---

const THEMES = ["system", "light", "dark"];

function remembered(theme) {
  try {
    if (theme) localStorage.setItem("report-theme", theme);
    return localStorage.getItem("report-theme");
  } catch {
    return null;
  }
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  document.getElementById("theme").textContent = `Theme: ${theme}`;
}

function startTheme() {
  const button = document.getElementById("theme");
  let theme = THEMES.includes(remembered()) ? remembered() : "system";
  setTheme(theme);
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    remembered(theme);
    setTheme(theme);
  });
}

// --- sorting: numbers best first, text from A, missing values last in both directions ---

function sortBy(heading) {
  const numeric = heading.dataset.kind === "number";
  const before = heading.getAttribute("aria-sort");
  const descending = before ? before === "ascending" : numeric;
  const body = heading.closest("table").tBodies[0];
  const key = (row) => {
    const value = row.cells[heading.cellIndex].dataset.sort;
    return value === undefined ? null : numeric ? Number(value) : value;
  };
  const compare = (a, b) => (numeric ? a - b : a.localeCompare(b, "en", { numeric: true })) * (descending ? -1 : 1);
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : compare(a, b)));
  body.append(...rows.map(([, row]) => row));
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

// --- filter: rows by words and method, columns by task ---

function filter(form) {
  const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
  const excluded = (name) => new Set(all(`input[name=${name}]:not(:checked)`, form).map((box) => box.value));
  const [methods, tasks] = [excluded("methods"), excluded("tasks")];
  const rows = all("table.scores tbody tr");
  for (const row of rows) {
    const label = row.cells[0].textContent.toLowerCase();
    row.hidden = methods.has(row.dataset.method) || !words.every((word) => label.includes(word));
  }
  for (const cell of all("table.scores [data-task], details.plots")) cell.hidden = tasks.has(cell.dataset.task);
  for (const table of all("table.scores")) {
    const empty = !all("tbody tr:not([hidden]) > td[data-task]:not([hidden])", table).length;
    table.parentElement.hidden = empty;
    table.parentElement.nextElementSibling.hidden = !empty;
  }
  form.querySelector("output").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
}

// --- the drill-down: a cell's runs, each with all that its record says ---

function text(key, value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
  const number = Number.isInteger(value) ? value.toLocaleString("en-US") : String(Number(value.toPrecision(6)));
  if (/(^|_)bytes/.test(key) && value >= 1e6) return `${(value / 1e6).toLocaleString("en-US", { maximumFractionDigits: 1 })} MB`;
  return key.endsWith("_seconds") ? `${value.toLocaleString("en-US", { maximumFractionDigits: 1 })} s` : number;
}

function leaves(value, prefix = "") {
  if (value === null || typeof value !== "object" || (Array.isArray(value) && typeof value[0] !== "object"))
    return [[prefix, value]];
  return Object.entries(value).flatMap(([name, item]) => leaves(item, prefix ? `${prefix}.${name}` : name));
}

function pairs(title, value) {
  const rows = leaves(value).filter(([key]) => key);
  if (!rows.length) return null;
  const shown = ([key, item]) =>
    html("div", {}, html("dt", {}, key), html("dd", {}, text(key.split(".").pop(), item)));
  return html("div", {}, html("h4", {}, title), html("dl", { class: "pairs" }, rows.map(shown)));
}

function folded(title, content, open = false) {
  const entries = Object.entries(content);
  const nested = (value) => value !== null && typeof value === "object" && (!Array.isArray(value) || typeof value[0] === "object");
  const general = Object.fromEntries(entries.filter(([, value]) => !nested(value)));
  const groups = entries.filter(([, value]) => nested(value)).flatMap(([key, value]) =>
    Array.isArray(value) ? value.map((item, i) => pairs(`${key}: ${item.point ?? i + 1}`, item)) : pairs(key, value));
  const shown = [pairs("general", general), ...groups].filter((group) => group !== null);
  const view = html("details", { class: "more" }, html("summary", {}, title), html("div", { class: "columns" }, shown));
  view.open = open;
  return view;
}

function chart(title, curve, best) {
  const drawn = curve.points.filter(([, y]) => y !== null);
  if (!drawn.length) return null;
  const [xs, ys] = [drawn.map(([x]) => x), drawn.map(([, y]) => y)];
  const [left, right, top, bottom] = [Math.min(0, ...xs), Math.max(...xs), Math.max(...ys), Math.min(...ys)];
  const x = (value) => 60 + (332 * (value - left)) / (right - left || 1);
  const y = (value) => (top === bottom ? 60 : 12 + (96 * (top - value)) / (top - bottom));
  let pen = "M";
  const path = curve.points.map(([a, b]) => {
    if (b === null) return (pen = "M"), "";
    const step = `${pen}${x(a).toFixed(1)} ${y(b).toFixed(1)}`;
    pen = "L";
    return step;
  });
  const label = (value, attributes) => svg("text", attributes, String(Number(value.toPrecision(4))));
  const thinned = curve.of > curve.points.length ? ` (${curve.points.length} of ${curve.of} points)` : "";
  const name = `${title}: ${text("", ys[0])} to ${text("", ys.at(-1))} over ${text("", right)} epochs`;
  return html("div", {}, html("h4", {}, title + thinned),
    svg("svg", { class: "chart", viewBox: "0 0 400 132", role: "img", "aria-label": name },
      svg("path", { class: "axis", d: "M60 8 V112 H396" }),
      best ? svg("line", { class: "kept", x1: x(best), x2: x(best), y1: 8, y2: 112 }) : null,
      svg("path", { class: "curve", d: path.join("") }),
      drawn.length <= 12 ? drawn.map(([a, b]) => svg("circle", { cx: x(a), cy: y(b), r: 2.5 })) : null,
      label(top, { x: 54, y: 16, "text-anchor": "end" }),
      top === bottom ? null : label(bottom, { x: 54, y: 114, "text-anchor": "end" }),
      label(left, { x: 60, y: 128 }),
      svg("text", { x: 226, y: 128, "text-anchor": "middle" }, best ? `epoch (dashed: kept, ${best})` : "epoch"),
      label(right, { x: 396, y: 128, "text-anchor": "end" })));
}

function runView(run, open) {
  const seeds = [...new Set(Object.values(run.seeds))];
  const score = run.score === null ? run.state : run.score.toFixed(2);
  const view = html("details", { class: "run", "data-id": run.id },
    html("summary", {},
      html("b", { class: run.state === "ok" ? "score" : "score bad" }, score),
      html("span", {}, seeds.length === 1 ? `seed ${seeds[0]}` : "several seeds"),
      html("span", {}, html("code", {}, run.id)),
      html("span", { class: run.state === "ok" ? "state" : "state bad" }, run.state)));
  if (open) view.append(...runContent(run));
  else view.addEventListener("toggle", () => view.append(...runContent(run)), { once: true });
  view.open = open;
  return view;
}

function runContent(run) {
  const { curves, differing } = run;
  return [
    html("p", {}, "Record: ", html("code", { class: "record" }, run.record), " ", html("a", { href: `#run-${run.id}` }, "Link to this run")),
    run.error ? html("p", { class: "error" }, `${run.error.type}: ${run.error.message}`) : null,
    html("div", { class: "charts" },
      chart("Training loss", curves.loss, curves.best_epoch),
      chart(`Selection: ${curves.selection.name}${curves.selection.name === "loss" ? "" : " × 100"}`, curves.selection, curves.best_epoch)),
    html("div", { class: "columns" },
      pairs("Settings not shared by the column", differing),
      pairs("Metrics (fractions)", { selection: run.metrics.selection ?? {}, test: run.metrics.test ?? {}, ...run.metrics.further_tests }),
      pairs("Seeds", run.seeds),
      pairs("Sizes", run.sizes),
      pairs("Cost", run.cost),
      pairs("Round trip", run.round_trip)),
    ...Object.entries(run.diagnostics).map(([name, value]) => folded(`Diagnostics: ${name}`, value, name === "isometry")),
    folded("Full configuration", run.config),
    folded("Provenance", run.provenance),
  ].filter((part) => part !== null);
}

const dialog = document.getElementById("drilldown");
let wanted = null;

// A block of runs stays compressed until it is looked at.
async function unpacked(number) {
  const packed = atob(document.getElementById(`block-${number}`).textContent);
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

// Links to the first run of each block, where a cell has more runs than are shown at once.
function further(cell, shown) {
  if (cell.runs.length <= data.together) return null;
  const starts = cell.runs.map((_, i) => i).filter((i) => i % data.together === 0);
  const range = (start) => `${start + 1} to ${Math.min(start + data.together, cell.runs.length)}`;
  const link = (start, number) => html("a", number === shown ? { "aria-current": "true" } : { href: `#run-${cell.runs[start]}` }, range(start));
  return html("nav", { class: "further", "aria-label": "runs" }, `${cell.runs.length} runs:`, starts.map(link));
}

async function showRun(id) {
  wanted = id;
  const cell = data.cells.find((entry) => entry.runs.includes(id));
  const message = document.getElementById("message");
  message.hidden = Boolean(cell);
  if (!cell) return (message.textContent = `No run ${id} in the tables of this report.`);
  document.getElementById("drilldown-title").textContent = cell.row;
  const numbers = cell.numbers.map(([title, shown]) => html("div", {}, html("dt", {}, title), html("dd", {}, shown)));
  const block = Math.floor(cell.runs.indexOf(id) / data.together);
  const head = [html("p", { class: "key" }, cell.about), html("dl", { class: "numbers" }, numbers), further(cell, block)].filter((part) => part !== null);
  const body = dialog.querySelector(".body");
  body.replaceChildren(...head);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  try {
    const runs = await unpacked(cell.block + block);
    if (wanted !== id) return;
    body.replaceChildren(...head, ...runs.map((run) => runView(run, run.id === id)));
    if (id !== runs[0].id) body.querySelector(".run[open]").scrollIntoView();
  } catch (error) {
    body.append(html("p", { class: "error" }, `This browser cannot open the runs of a cell (${error.message}).`));
  }
}

function followLink() {
  const id = location.hash.startsWith("#run-") ? location.hash.slice(5) : null;
  if (id !== null) showRun(id);
  else if (dialog.open) dialog.close();
}

function start() {
  startTheme();
  for (const button of all("button.sort")) button.addEventListener("click", () => sortBy(button.closest("th")));
  const form = document.getElementById("filter");
  form.hidden = !document.querySelector("table.scores");
  form.addEventListener("input", () => filter(form));
  form.addEventListener("reset", () => setTimeout(() => filter(form)));
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(form);
  for (const button of all("button.cell"))
    button.addEventListener("click", () => {
      const link = `#run-${button.dataset.run}`;
      // Setting location.hash would open the runs only once the browser gets round to telling of it.
      if (location.hash !== link) history.pushState(null, "", link);
      followLink();
    });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  addEventListener("hashchange", followLink);
  followLink();
}

start();
