"use strict";
// Texts of run folders are foreign: they become text nodes and data of charts, never HTML, and no expression is made of them.
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
for (const entry of data.board)
  entry.times = entry.times.map(([machine, over, badge, batch, ms, speedup, claimed, executed, ranks, seeds]) => ({machine: data.texts[machine], over: data.texts[over], badge: data.texts[badge], batch, ms, speedup, claimed, executed, ranks, seeds}));
const $ = id => document.getElementById(id);
const state = {dataset: "", machine: "", batch: Number($("batch").value || 1), seeds: "merged", search: "", budget: null, sort: "speedup", rising: false, all: false, bars: false, cost: "macs_executed"};
const SHOWN = 30, BARS = 14, TIMES = 16, PANELS = 9, LABELS = 5, NARROW = 520, WIDEST = 880;
const COLOUR = {claimed: "var(--claimed)", executed: "var(--executed)", realised: "var(--realised)", front: "var(--realised)", tied: "var(--executed)", other: "var(--other)"};
const CONFIG = {
  background: null, font: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", view: {stroke: null},
  axis: {labelColor: "var(--ink)", titleColor: "var(--muted)", gridColor: "var(--line)", domain: false, ticks: false, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 400, labelPadding: 6},
  text: {fill: "var(--ink)", fontSize: 11}, rule: {stroke: "var(--ink)"},
};

function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}
const number = (value, digits) => value === null || value === undefined ? "-" : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1");
const between = (triple, digits) => triple[1] === triple[2] ? "" : `${number(triple[1], digits)} to ${number(triple[2], digits)}`;
const ms = value => value === null || value === undefined ? "-" : `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ms`;
const saved = speedup => 100 * (1 - 1 / speedup);

// What the filters leave

function timing(entry) {
  const own = entry.times.filter(each => each.batch === state.batch && (!state.machine || each.machine === state.machine));
  return own.find(each => each.speedup) || own[0] || null;
}
const badge = (entry, time) => time ? time.badge : entry.untimed;
function left() {
  return data.board.filter(entry => (state.seeds === "merged" ? entry.kind !== "seed" : entry.kind !== "merged")
    && (!state.dataset || entry.dataset === state.dataset)).map(entry => ({entry, time: timing(entry)})).filter(row => !state.machine || row.time);
}

// Charts

const drawn = new Map();
function draw(place, spec) {
  if (!place) return Promise.resolve();
  for (const [old, view] of drawn) if (old === place || !old.isConnected) { view.finalize(); drawn.delete(old); }
  place.replaceChildren();
  const whole = {autosize: {type: typeof spec.height === "number" ? "fit" : "pad", contains: "padding"}, config: CONFIG, ...spec};
  return vegaEmbed(place, whole, {mode: "vega-lite", actions: false, renderer: "svg", tooltip: {offsetX: 14}}).then(result => { drawn.set(place, result); });
}
const room = place => Math.min(WIDEST, Math.max(240, Math.floor(place.getBoundingClientRect().width || 640)));
const twoLines = {labelExpr: "split(datum.label, '\\n')", title: null, grid: false, labelLineHeight: 13};
const fixed = (width, labels) => ({axis: {labelLimit: labels - 10, minExtent: labels, maxExtent: labels}, plot: width - labels - 16}); // what Vega-Lite does not fit where heights are steps
const names = width => Math.min(300, Math.floor(width * 0.4));

function bars() {
  const rows = left().filter(row => row.time && row.time.speedup);
  rows.sort((a, b) => b.time.speedup[0] - a.time.speedup[0]);
  const cut = !state.bars && rows.length > BARS;
  const shown = cut ? [...rows.slice(0, BARS / 2), ...rows.slice(-BARS / 2)] : rows;
  const faster = rows.filter(row => row.time.badge === "faster").length, slower = rows.filter(row => row.time.badge === "slower").length;
  $("bars-message").textContent = rows.length ? `${faster} of ${rows.length} networks save time, ${slower} ${slower === 1 ? "takes" : "take"} more` + (cut ? `; the ${BARS / 2} that save most and the ${BARS / 2} that save least` : "") : "Nothing was timed here.";
  $("bars-more").hidden = rows.length <= BARS;
  $("bars-more").textContent = state.bars ? `Show ${BARS}` : `Show all ${rows.length}`;
  const values = [];
  for (const {entry, time} of shown) {
    const [speed, low, high] = time.speedup;
    const over = time.over === "its static twin" ? "" : `over ${time.over}`;
    const name = lines(entry.label, [state.dataset ? "" : entry.dataset, over]);
    const common = {name, oneLine: name.replace("\n", ", "), network: entry.label, data: entry.dataset, over: time.over, machine: time.machine};
    for (const [kind, value, ends] of [["claimed", time.claimed, null], ["executed", time.executed, null], ["realised", saved(speed), [saved(low), saved(high)]]]) {
      if (value === null) continue;
      const bound = each => Math.max(-110, each);
      values.push({...common, first: values.at(-1)?.name !== name, kind, saving: bound(value), text: `${number(value, 0)} %`, low: ends ? bound(ends[0]) : null, high: ends ? bound(ends[1]) : null, at: ends ? bound(value < 0 ? ends[0] : ends[1]) : bound(value),
        said: `${number(value, 1)} %` + (ends ? ` (${number(ends[0], 1)} to ${number(ends[1], 1)})` : "")});
    }
  }
  const place = $("bars"), width = room(place), narrow = width < NARROW;
  if (!values.length) { place.replaceChildren(); return Promise.resolve(); }
  const space = fixed(width, narrow ? 8 : names(width)), axis = narrow ? {...twoLines, ...space.axis, labels: false} : {...twoLines, ...space.axis};
  const y = {field: "name", type: "nominal", sort: null, axis, scale: {paddingInner: narrow ? 0.5 : 0.28, paddingOuter: narrow ? 0.5 : 0.15}};
  const yOffset = {field: "kind", sort: ["claimed", "executed", "realised"], scale: {paddingInner: 0.1}};
  const tooltip = [["network", "network"], ["data", "data"], ["kind", "saving"], ["said", "percent"], ["over", "over"], ["machine", "timed on"]].map(([field, title]) => ({field, title}));
  const x = field => ({field, type: "quantitative", axis: {title: "saving (%)", tickCount: narrow ? 5 : 9, labelOverlap: true, gridColor: {condition: {test: "datum.value === 0", value: "var(--ink)"}, value: "var(--line)"}}, scale: {nice: false, padding: 42}});
  const text = (test, align, dx) => ({transform: [{filter: test}], mark: {type: "text", align, dx, fontSize: 10.5}, encoding: {x: x("at"), yOffset, text: {field: "text"}}});
  const above = {transform: [{filter: "datum.first"}], mark: {type: "text", align: "left", baseline: "bottom", dy: -9, fontSize: 11.5, limit: width - 40}, encoding: {x: {value: 0}, yOffset, text: {field: "oneLine"}}};
  return draw(place, {
    description: $("bars-message").textContent, width: space.plot, height: {step: narrow ? 13 : 11.5, for: "offset"}, data: {values}, encoding: {y},
    layer: [
      {mark: {type: "bar", cursor: "default"}, encoding: {x: x("saving"), yOffset, tooltip, color: {field: "kind", type: "nominal", legend: null, scale: {domain: ["claimed", "executed", "realised"], range: [COLOUR.claimed, COLOUR.executed, COLOUR.realised]}}}},
      {transform: [{filter: "datum.low !== null"}], mark: {type: "rule", strokeWidth: 1.25}, encoding: {x: x("low"), x2: {field: "high"}, yOffset}},
      ...(values.some(each => each.saving >= 0) ? [text("datum.saving >= 0", "left", 4)] : []), ...(values.some(each => each.saving < 0) ? [text("datum.saving < 0", "right", -4)] : []), ...(narrow ? [above] : []),
    ],
  });
}
function lines(label, more) {
  const [first, ...rest] = label.split(", ");
  const second = [...rest, ...more].filter(Boolean).join(", ");
  return second ? `${first}\n${second}` : first;
}

function fronts() {
  const place = $("front-panels");
  const panels = data.fronts.filter(panel => panel.cost === state.cost && (!state.dataset || panel.dataset === state.dataset)
    && (panel.cost === "macs_executed" || (panel.batch === state.batch && (!state.machine || panel.machine === state.machine))));
  place.replaceChildren();
  if (!panels.length) place.append(make("p", {class: "note"}, "Fewer than two networks compare here."));
  place.style.gridTemplateColumns = panels.length === 1 ? "1fr" : "";
  const charts = panels.slice(0, PANELS).map(panel => {
    const chart = make("div", {class: "chart"}), note = make("span", {class: "muted"}, panel.machine ? `${panel.machine}, batch ${panel.batch}` : "");
    place.append(make("figure", {}, make("figcaption", {}, make("strong", {}, `${panel.dataset}: ${panel.message}`), note), chart));
    return [chart, panel, note];
  });
  if (panels.length > PANELS) place.append(make("p", {class: "note"}, `${panels.length - PANELS} more: choose a data set.`));
  return Promise.all(charts.map(each => front(...each)));
}
function front(chart, panel, note) {
  const width = room(chart), height = Math.min(380, Math.round(width * 0.62)), unit = panel.cost === "latency_ms" ? "ms" : "M";
  const values = panel.points.map(([network, x, xlow, xhigh, y, ylow, yhigh, status, fixed]) => ({
    network, x, xlow, xhigh, y, ylow, yhigh, status: status in COLOUR ? status : "other", kind: fixed ? "static" : "gated",
    accuracy: `${number(y, 2)} %` + (ylow < yhigh ? ` (${number(ylow, 2)} to ${number(yhigh, 2)})` : ""),
    cost: `${x.toPrecision(4)} ${unit}` + (xlow < xhigh ? ` (${xlow.toPrecision(3)} to ${xhigh.toPrecision(3)})` : ""), state: status === "constant" ? "runs nothing" : status,
  })).filter(each => each.x > 0);
  const onFront = values.filter(each => each.status === "front").map(each => each.y), best = Math.max(...onFront), floor = Math.min(...onFront) - 0.15 * (best - Math.min(...onFront)) - 2;
  const kept = values.filter(each => each.y >= floor);
  if (kept.length < values.length) note.textContent = [note.textContent, `${values.length - kept.length} more below ${number(floor, 0)} %`].filter(Boolean).join("; ");
  if (!kept.length) return Promise.resolve();
  const smallest = Math.min(...kept.map(each => each.x)), largest = Math.max(...kept.map(each => each.x)), log = largest > 4 * smallest;
  const low = Math.min(...kept.map(each => each.y)), high = Math.max(...kept.map(each => each.y)), margin = 0.12 * (high - low) || 0.5;
  const span = log ? [smallest * (smallest / largest) ** 0.06, largest * (largest / smallest) ** 0.06] : [smallest - 0.06 * (largest - smallest || smallest), largest + 0.06 * (largest - smallest || smallest)];
  const scale = {type: log ? "log" : "linear", nice: false, domain: span, ...(log ? {} : {zero: false})};
  const at = value => log ? Math.log(value / span[0]) / Math.log(span[1] / span[0]) : (value - span[0]) / (span[1] - span[0]);
  const placed = [], inner = width - 55;
  for (const each of kept.filter(each => each.status === "front").sort((a, b) => b.y - a.y)) {
    const px = at(each.x) * inner, py = (high + margin - each.y) / (high - low + 2 * margin) * height, right = px > 0.5 * inner;
    const short = each.network.length > 30 ? `${each.network.slice(0, 29)}…` : each.network, length = short.length * 6.2 + 8;
    const from = right ? px - length : px, to = from + length;
    if (placed.length < LABELS && from > -8 && to < inner + 8 && placed.every(other => Math.abs(other.py - py) > 16 || other.to < from || other.from > to)) placed.push({...each, py, from, to, right, short});
  }
  const x = {field: "x", type: "quantitative", scale, axis: {title: panel.cost === "latency_ms" ? "time of a call (ms)" : "executed MACs of an input (M)", tickCount: 5, labelOverlap: true, grid: false, format: "~g"}};
  const y = {field: "y", type: "quantitative", scale: {zero: false, nice: false, domain: [low - margin, high + margin]}, axis: {title: "accuracy (%)", tickCount: 5}};
  const tooltip = ["network", "accuracy", "cost", "state", "kind"].map(field => ({field, title: field}));
  const label = right => ({data: {values: placed.filter(each => each.right === right)}, mark: {type: "text", align: right ? "right" : "left", dx: right ? -8 : 8, dy: -9}, encoding: {x, y, text: {field: "short"}}});
  return draw(chart, {
    description: `${panel.dataset}: ${panel.message}`, width, height, data: {values: kept},
    layer: [
      {mark: {type: "rule", clip: true, strokeWidth: 1, stroke: COLOUR.other, opacity: 0.4}, encoding: {x: {...x, field: "xlow"}, x2: {field: "xhigh"}, y}},
      {mark: {type: "rule", clip: true, strokeWidth: 1, stroke: COLOUR.other, opacity: 0.4}, encoding: {x, y: {...y, field: "ylow"}, y2: {field: "yhigh"}}},
      {transform: [{filter: "datum.status === 'front'"}], mark: {type: "line", interpolate: "step-after", strokeWidth: 1.5, stroke: COLOUR.front, opacity: 0.5}, encoding: {x, y, order: {field: "x"}}},
      {mark: {type: "point", filled: true, size: 55, opacity: 1, stroke: "var(--bg)", strokeWidth: 0.75}, encoding: {x, y, tooltip,
        shape: {field: "kind", legend: null, scale: {domain: ["gated", "static"], range: ["circle", "square"]}},
        fill: {field: "status", legend: null, scale: {domain: ["front", "tied", "other"], range: [COLOUR.front, COLOUR.tied, COLOUR.other]}}}},
      ...[true, false].filter(right => placed.some(each => each.right === right)).map(label),
    ],
  });
}

function times() {
  const groups = new Map();
  for (const row of left()) {
    if (!row.time || row.time.ranks[0] === null) continue;
    const key = `${row.entry.dataset}\n${row.time.machine}`;
    groups.set(key, [...(groups.get(key) || []), row]);
  }
  const [key, rows] = [...groups].sort((a, b) => b[1].length - a[1].length)[0] || ["", []];
  const shown = [...rows].sort((a, b) => a.time.ranks[0] - b.time.ranks[0]).slice(0, TIMES), place = $("times-chart");
  $("times").hidden = !rows.length;
  if (!rows.length) { place.replaceChildren(); return Promise.resolve(); }
  const [dataset, machine] = key.split("\n");
  const ratio = ({time}) => (time.ranks[1] || time.ranks[0]) / time.ranks[0], widest = shown.reduce((a, b) => ratio(b) > ratio(a) ? b : a);
  $("times-message").textContent = (widest.time.ranks[1] ? `With ${widest.entry.label} one input in ten takes ${number(ratio(widest), 1)} times the median or more` : "Medians over calls");
  $("times-place").textContent = `${dataset}; ${machine}, batch ${state.batch}${rows.length > TIMES ? `; ${TIMES} of ${rows.length}, the fastest` : ""}. `;
  const values = shown.map(({entry, time}) => ({name: entry.label, p50: time.ranks[0], p90: time.ranks[1] ?? time.ranks[0], p99: time.ranks[2] ?? time.ranks[1] ?? time.ranks[0], network: entry.label, median: ms(time.ranks[0]), tenth: ms(time.ranks[1]), last: ms(time.ranks[2])}));
  const width = room(place), space = fixed(width, names(width)), log = Math.max(...values.map(each => each.p99)) > 8 * Math.min(...values.map(each => each.p50));
  const y = {field: "name", type: "nominal", sort: null, axis: {title: null, grid: false, ...space.axis}};
  const x = field => ({field, type: "quantitative", scale: log ? {type: "log", nice: false, padding: 12} : {zero: true, padding: 12, nice: false}, axis: {title: "time of a call (ms)", tickCount: 6, format: "~g", labelOverlap: true}});
  const tooltip = [["network", "network"], ["median", "median"], ["tenth", "90th percentile"], ["last", "99th percentile"]].map(([field, title]) => ({field, title}));
  return draw(place, {description: $("times-message").textContent, width: space.plot, height: {step: 22}, data: {values}, encoding: {y}, layer: [
    {mark: {type: "rule", strokeWidth: 1.5, stroke: COLOUR.other}, encoding: {x: x("p50"), x2: {field: "p99"}}},
    {mark: {type: "rule", strokeWidth: 5, stroke: COLOUR.executed}, encoding: {x: x("p50"), x2: {field: "p90"}, tooltip}},
    {mark: {type: "point", filled: true, size: 60, fill: COLOUR.realised, opacity: 1}, encoding: {x: x("p50"), tooltip}},
  ]});
}

function papers() {
  const place = $("papers");
  if (!place) return Promise.resolve();
  place.replaceChildren();
  return Promise.all(data.papers.map(paper => {
    const chart = make("div", {class: "chart"});
    place.append(make("figure", {}, make("h3", {}, paper.name), make("p", {class: "note"}, `${paper.message}.`), chart,
      paper.reasons.length ? make("p", {class: "note"}, `Grey: ${paper.reasons.map(([text, count]) => `${text} (${count})`).join("; ")}.`) : null));
    const width = room(chart), labels = names(width), panel = width - labels - 30;
    const quantities = [...new Set(paper.pairs.map(pair => pair.quantity))];
    const tooltip = [["row", "row"], ["published", "published"], ["ours", "measured"], ["network", "network"], ["reason", "does not compare"]].map(([field, title]) => ({field, title}));
    const compare = {condition: {test: "datum.reason === 'compares'", value: COLOUR.realised}, value: COLOUR.other};
    const vconcat = quantities.map(quantity => {
      const values = paper.pairs.filter(pair => pair.quantity === quantity).map(pair => ({reason: "compares", ...pair, label: pair.label.length > 30 ? lines(pair.label, []) : pair.label}));
      const y = {field: "label", type: "nominal", sort: null, axis: {...twoLines, labelFontSize: 11, labelLineHeight: 12, grid: true, labelLimit: labels - 10, minExtent: labels, maxExtent: labels}};
      const x = field => ({field, type: "quantitative", scale: {zero: false, padding: 14, nice: false}, axis: {title: quantity, tickCount: 6, grid: false}});
      return {width: panel, height: {step: values.some(each => each.label.includes("\n")) ? 28 : 19}, data: {values}, encoding: {y}, layer: [
        {mark: {type: "rule", strokeWidth: 1, stroke: COLOUR.other}, encoding: {x: x("low"), x2: {field: "high"}}},
        {mark: {type: "rule", strokeWidth: 2.5, opacity: 0.6}, encoding: {x: x("published"), x2: {field: "ours"}, stroke: compare}},
        {mark: {type: "point", filled: false, size: 55, strokeWidth: 1.5, stroke: "var(--muted)", opacity: 1}, encoding: {x: x("published"), tooltip}},
        {mark: {type: "point", filled: true, size: 60, opacity: 1}, encoding: {x: x("ours"), fill: compare, tooltip}},
      ]};
    });
    return draw(chart, {description: `${paper.name}: ${paper.message}`, autosize: {type: "pad"}, vconcat, spacing: 16});
  }));
}

// The leaderboard

const COLUMNS = {
  label: row => row.entry.label, dataset: row => row.entry.dataset, accuracy: row => row.entry.accuracy[0], claimed: row => row.entry.claimed,
  executed: row => row.entry.executed, speedup: row => row.time?.speedup?.[0] ?? null, badge: row => badge(row.entry, row.time),
};
const collator = new Intl.Collator(undefined, {numeric: true});
const inOrder = (x, y) => typeof x === "string" ? collator.compare(x, y) : x - y;
const bySetAndAccuracy = (a, b) => inOrder(a.entry.dataset, b.entry.dataset) || b.entry.accuracy[0] - a.entry.accuracy[0] || inOrder(a.entry.label, b.entry.label);
const seedsTimed = ({entry, time}) => time && time.seeds < entry.seeds.length ? `${time.seeds} of ${entry.seeds.length} seeds timed` : "";
const TITLES = ["network", "data", "accuracy %", "claimed %", "executed %", "speed-up", "verdict"];
function boardRows() {
  const wanted = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = left().filter(row => wanted.every(word => `${row.entry.label} ${row.entry.dataset} ${badge(row.entry, row.time)}`.toLowerCase().includes(word)));
  const value = COLUMNS[state.sort], sign = state.rising ? 1 : -1;
  return rows.sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    const own = x === null || y === null ? (x === null) - (y === null) : sign * inOrder(x, y);
    return own || bySetAndAccuracy(a, b);
  });
}
function cells(row) {
  const {entry, time} = row, speed = time?.speedup;
  return [entry.label, entry.dataset, number(entry.accuracy[0], 2), number(entry.claimed, 1), number(entry.executed, 1), speed ? [`${number(speed[0], 2)} (${between(speed, 2)})`, seedsTimed(row)].filter(Boolean).join(", ") : "-", badge(entry, time)];
}
function board() {
  const rows = boardRows(), body = $("board").tBodies[0], shown = state.all ? rows : rows.slice(0, SHOWN);
  body.replaceChildren(...shown.map(row => {
    const {entry, time} = row, [label, dataset, accuracy, claimed, executed, , verdict] = cells(row), speed = time?.speedup;
    const open = () => openRun(entry);
    const beyond = state.budget !== null && time && time.ms[0] > state.budget;
    return make("tr", {tabindex: 0, "aria-haspopup": "dialog", class: beyond ? "beyond" : false, onclick: open, onkeydown: event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); } }},
      make("td", {}, label), make("td", {}, dataset),
      make("td", {class: "number", "data-name": `accuracy${mark("accuracy")}`, title: between(entry.accuracy, 2)}, accuracy), make("td", {class: "number", "data-name": `claimed${mark("claimed")}`}, claimed), make("td", {class: "number", "data-name": `executed${mark("executed")}`}, executed),
      make("td", {class: "number", "data-name": `speed-up${mark("speedup")}`, title: time ? `${ms(time.ms[0])}; ${time.machine}, batch ${time.batch}${time.over ? `; over ${time.over}` : ""}` : "not timed here"}, speed ? `${number(speed[0], 2)} ` : "-", speed ? make("span", {class: "range"}, between(speed, 2)) : null, speed && seedsTimed(row) ? make("span", {class: "seeds"}, seedsTimed(row)) : null),
      make("td", {}, make("span", {class: `badge ${verdict.replace(" ", "-")}`, title: data.badges[verdict]}, verdict)));
  }));
  $("board-more").hidden = rows.length <= SHOWN;
  $("board-more").textContent = state.all ? `Show ${SHOWN}` : `Show all ${rows.length}`;
  for (const th of $("board").tHead.rows[0].cells) th.setAttribute("aria-sort", th.dataset.key !== state.sort ? "none" : state.rising ? "ascending" : "descending");
  answers();
}
function limits() {
  const all = left().filter(row => row.time).map(row => row.time.ms[0]);
  return all.length ? [Math.min(...all), Math.max(...all)] : null;
}
function setBudget() {
  const slider = $("budget"), ends = limits();
  slider.disabled = !ends;
  const share = slider.value / slider.max;
  state.budget = !ends || share >= 1 ? null : Number((ends[0] * (ends[1] / ends[0]) ** share).toPrecision(2));
  $("budget-text").textContent = state.budget === null ? "any time" : ms(state.budget);
  slider.setAttribute("aria-valuetext", $("budget-text").textContent);
}
function answers() {
  const best = new Map();
  if (state.budget !== null) for (const {entry, time} of boardRows()) {
    if (!time) continue;
    const key = `${entry.dataset}, ${time.machine}`, kept = best.get(key);
    if (!kept) best.set(key, null);
    if (time.ms[0] <= state.budget && (!kept || entry.accuracy[0] > kept.entry.accuracy[0])) best.set(key, {entry, time});
  }
  $("answers").replaceChildren(...[...best].map(([key, row]) => make("li", {}, make("span", {class: "muted"}, `${key}: `),
    row ? `${row.entry.label}, ${number(row.entry.accuracy[0], 2)} % in ${ms(row.time.ms[0])}${seedsTimed(row) && ` (${seedsTimed(row)})`}` : `nothing takes less than ${ms(state.budget)}`)));
}
const mark = key => key !== state.sort ? "" : state.rising ? " \u2191" : " \u2193"; // on a phone, where there are no headings
const flat = text => text.replace(/\s+/g, " ");
const markdown = () => [TITLES, TITLES.map(() => "---"), ...boardRows().map(cells)].map(line => `| ${line.map(cell => flat(cell).replace(/[\\|<>[\]*_`]/g, "\\$&")).join(" | ")} |`).join("\n");
const csv = () => [[...TITLES.slice(0, 6), "speed-up low", "speed-up high", "verdict", "seeds", "seeds timed"], ...boardRows().map(row => {
  const line = cells(row), speed = row.time?.speedup || ["", "", ""];
  return [...line.slice(0, 5).map(cell => cell === "-" ? "" : cell), ...speed, line[6], row.entry.seeds.length, row.time?.seeds ?? 0];
})].map(line => line.map(cell => {
  const text = typeof cell === "string" && /^[=+@\t\r-]/.test(cell) && isNaN(cell) ? `'${cell}` : String(cell);
  return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
}).join(",")).join("\n") + "\n";
async function copy(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = make("textarea", {style: "position:fixed;opacity:0"});
    (button.closest("dialog") || document.body).append(area);
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}

// One run

function openRun(entry) {
  const dialog = $("run");
  const choose = entry.runs.length > 1 ? make("label", {class: "muted"}, "Seed ", make("select", {onchange: event => fill(Number(event.target.value))}, ...entry.runs.map((index, at) => make("option", {value: index}, String(entry.seeds[at] ?? at))))) : null;
  const body = make("div");
  const fill = index => { const [content, charts] = runContent(data.runs[index]); body.replaceChildren(...content); charts(); };
  dialog.replaceChildren(make("button", {type: "button", class: "close", onclick: () => dialog.close()}, "Close"), make("h2", {id: "run-title"}, `${entry.label} on ${entry.dataset}`), choose ?? "", body);
  dialog.showModal();
  fill(entry.runs[0]);
  dialog.scrollTop = 0;
}
function faces(examples) {
  const half = examples.labels.length / 2, face = (label, at) => make("div", {class: "face"}, thumb(examples.strip, examples.labels.length, at, 46), label);
  return make("div", {class: "columns"}, ...[["Easiest for the gates", 0, half], ["Hardest for the gates", half, 2 * half]].map(([title, from, to]) => make("div", {}, make("h3", {}, title), make("div", {class: "faces"}, ...examples.labels.slice(from, to).map((label, at) => face(label, from + at))))));
}
function thumb(strip, count, at, side) {
  const made = make("span", {class: "thumb"});
  made.style.backgroundImage = `url(${strip})`;
  made.style.backgroundSize = `${count * side}px ${side}px`;
  made.style.backgroundPosition = `-${at * side}px 0`;
  return made;
}
function runContent(run) {
  const charts = [], part = (title, ...content) => make("div", {}, make("h3", {}, title), ...content);
  const chart = spec => { const place = make("div", {class: "chart"}); charts.push(() => draw(place, spec(room(place)))); return place; };
  const copyButton = make("button", {type: "button", onclick: event => copy(event.target, run.command)}, "Copy");
  const content = [...(run.said || []).map(text => make("p", {}, text))];
  if (run.facts) content.push(make("dl", {}, ...run.facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])));
  if (run.examples) content.push(faces(run.examples));
  const columns = make("div", {class: "columns"});
  if (run.classes) columns.append(part("Work by class", chart(width => barsOf(run.classes.map(([name, , accuracy, macs]) => ({name, value: macs, said: `accuracy ${number(accuracy, 1)} %`})), width, "executed MACs of an input (M)"))));
  if (run.difficulty) columns.append(part(`Work by ${run.by}`, chart(width => barsOf(run.difficulty.map(([name, , accuracy, macs]) => ({name, value: macs, said: `accuracy ${number(accuracy, 1)} %`})), width, "executed MACs of an input (M)"))));
  if (run.units && String(run.units.map(each => each[0])) !== String((run.shares || []).map(each => each[0]))) columns.append(part("How often each unit runs", chart(width => barsOf(run.units.map(([name, share]) => ({name, value: 100 * share, said: `${number(100 * share, 1)} %`})), width, "share of the inputs (%)"))));
  if (run.shares) columns.append(part("Where inputs go", chart(width => barsOf(run.shares.map(([name, share]) => ({name, value: 100 * share, said: `${number(100 * share, 1)} %`})), width, "share of the inputs (%)"))));
  for (const time of run.times || []) columns.append(part(`Times, batch ${time.batch}`, make("p", {class: "note"}, `${time.machine}: ${ranks(time)}.`), time.latency_quantiles_ms ? chart(width => quantiles(time, width)) : ""));
  content.push(columns);
  if (run.audit) content.push(part("Audit", make("ul", {}, ...run.audit.map(text => make("li", {}, text)))));
  const files = Object.entries(run.files || {});
  if (files.length) content.push(make("details", {}, make("summary", {}, `Pictures beside this page (${files.length})`), ...files.map(([name, file]) => make("figure", {}, make("figcaption", {}, name), make("img", {src: file, alt: name, loading: "lazy"})))));
  content.push(part("Make it again", make("pre", {}, run.command), copyButton));
  content.push(data.recipes[run.recipe] ? make("details", {}, make("summary", {}, "Recipe, as it was resolved"), make("pre", {}, data.recipes[run.recipe])) : "", make("p", {class: "note"}, `Run folder: ${run.name}`));
  return [content, () => charts.forEach(each => each())];
}
const ranks = time => [["mean", time.latency_ms], ["median", time.latency_p50], ["90th percentile", time.latency_p90], ["99th percentile", time.latency_p99], [time.over, time.rival_ms]]
  .filter(([, value]) => value !== undefined).map(([name, value]) => `${name} ${ms(value)}`).join(", ");
function barsOf(rows, width, title) {
  const space = fixed(width, 110);
  return {width: space.plot, height: {step: 17}, data: {values: rows}, mark: {type: "bar", fill: COLOUR.executed}, encoding: {
    y: {field: "name", type: "nominal", sort: null, axis: {title: null, grid: false, ...space.axis, labelFontSize: 11}, scale: {paddingInner: 0.25}},
    x: {field: "value", type: "quantitative", axis: {title, tickCount: 5}}, tooltip: [{field: "name", title: "group"}, {field: "value", title}, {field: "said", title: "and"}]}};
}
function quantiles(time, width) {
  const line = (list, network) => (list || []).map((value, at) => ({x: value, y: 100 * at / (list.length - 1), network}));
  const own = "this network", over = time.over || "";
  const values = [...line(time.latency_quantiles_ms, own), ...line(time.rival_quantiles_ms, over)];
  return {width, height: 180, data: {values}, mark: {type: "line", strokeWidth: 2}, encoding: {
    x: {field: "x", type: "quantitative", scale: {zero: false, nice: false}, axis: {title: "time of a call (ms)", tickCount: 5}}, y: {field: "y", type: "quantitative", axis: {title: "share of calls (%)", tickCount: 5}}, order: {field: "y"},
    stroke: {field: "network", scale: {domain: [own, over], range: [COLOUR.realised, COLOUR.other]}, legend: time.rival_quantiles_ms ? {title: null, orient: "top", labelColor: "var(--ink)"} : null}}};
}

// The ways of gating

function ways() {
  const tabs = document.querySelector("#ways .tabs"), panel = document.querySelector("#ways .way");
  const show = at => {
    [...tabs.children].forEach((tab, index) => { tab.setAttribute("aria-selected", String(index === at)); tab.tabIndex = index === at ? 0 : -1; });
    const way = data.ways[at];
    panel.replaceChildren(make("p", {}, way.text));
    if (!way.decisions.length) { panel.append(make("p", {class: "note"}, "No run here kept decisions of this kind.")); return; }
    const units = make("div", {class: "units"}), said = make("p", {class: "note", "aria-live": "polite"});
    const choose = index => {
      const on = way.decisions[index];
      if (way.strip) picture.replaceChildren(thumb(way.strip, way.labels.length, index, 96));
      units.replaceChildren(...way.units.map((unit, number) => {
        const box = make("div", {class: `unit ${on[number] > 0 ? (on[number] > 0.6 ? "on" : "") : "off"}`}, unit);
        box.style.setProperty("--on", `${100 * on[number]}%`);
        return box;
      }));
      const running = on.filter(share => share > 0).length, part = on.some(share => share > 0 && share < 1);
      said.textContent = `${way.labels[index]}: ${running} of ${on.length} units ${running === 1 ? "runs" : "run"}` + (part ? `, with ${number(100 * on.reduce((sum, share) => sum + share, 0) / on.length, 0)} % of their channels on average` : "") + `. Decided by ${way.run}.`;
      [...thumbs.children].forEach((each, number) => each.setAttribute("aria-pressed", String(number === index)));
    };
    const thumbs = make("div", {class: "thumbs"}, ...way.labels.map((label, index) => make("button", {type: "button", title: label, "aria-label": label, onclick: () => choose(index)}, way.strip ? thumb(way.strip, way.labels.length, index, 48) : String(index + 1))));
    const picture = make("div");
    panel.append(make("p", {class: "note"}, way.strip ? "Choose an image; the first half are those that the gates find easiest." : "Choose an input."), thumbs, make("div", {class: "flow"}, picture, units), said);
    choose(0);
  };
  tabs.replaceChildren(...data.ways.map((way, at) => make("button", {type: "button", role: "tab", onclick: () => show(at), onkeydown: event => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (step) { const next = (at + step + data.ways.length) % data.ways.length; show(next); tabs.children[next].focus(); }
  }}, way.name)));
  show(0);
}

// All of it

const idle = () => new Promise(done => (window.requestIdleCallback ? requestIdleCallback(done, {timeout: 200}) : setTimeout(done, 10)));
let turn = 0;
async function refresh(...parts) {
  const mine = ++turn;
  setBudget();
  board();
  for (const part of parts) { await part(); await idle(); if (mine !== turn) return; }
  document.body.dataset.drawn = "all";
  performance.mark("drawn");
}
for (const [id, key, value] of [["dataset", "dataset", String], ["machine", "machine", String], ["batch", "batch", Number], ["seeds", "seeds", String]])
  $(id).addEventListener("change", event => { state[key] = value(event.target.value); delete document.body.dataset.drawn; refresh(bars, fronts, times, papers); });
$("search").addEventListener("input", event => { state.search = event.target.value; board(); });
$("budget").addEventListener("input", () => { setBudget(); board(); });
$("bars-more").addEventListener("click", () => { state.bars = !state.bars; bars(); });
$("board-more").addEventListener("click", () => { state.all = !state.all; board(); });
$("copy-markdown").addEventListener("click", event => copy(event.target, markdown()));
$("copy-csv").addEventListener("click", event => copy(event.target, csv()));
document.querySelectorAll("input[name=cost]").forEach(each => each.addEventListener("change", () => { state.cost = each.value; fronts(); }));
for (const th of $("board").tHead.rows[0].cells) {
  const title = th.textContent;
  th.dataset.title = title; // a browser repeats no buttons on printed pages
  th.replaceChildren(make("button", {type: "button", onclick: () => {
    const words = ["label", "dataset", "badge"].includes(th.dataset.key);
    [state.rising, state.sort] = [state.sort === th.dataset.key ? !state.rising : words, th.dataset.key];
    board();
  }}, title));
}
document.querySelector(".filters").addEventListener("submit", event => event.preventDefault());
let width = window.innerWidth, waiting;
window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => { if (Math.abs(window.innerWidth - width) > 30) { width = window.innerWidth; refresh(bars, fronts, times, papers); } }, 250); });
let before;
window.addEventListener("beforeprint", () => { before = state.all; state.all = true; board(); });
window.addEventListener("afterprint", () => { state.all = before; board(); });
document.body.classList.add("ready");
ways();
refresh(bars, fronts, times, papers);
})();
