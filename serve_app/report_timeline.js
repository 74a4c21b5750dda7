// The timeline: plotly draws lanes, palette and curves on one x axis; the playhead is a plain element above the plot.
"use strict";
(() => {
  const { byId, el, clock, lastBefore, hueOf, seek, now, playing } = Reelscope;
  const ROW = 19, GAP = 5, PALETTE = 26, CURVE = 46, BEATS = 10, COVERAGE = 9, TOP = 26, BOTTOM = 4, RIGHT = 40;
  const QUIET = new Set(["static", "none", "silence", "pause", "no speech", "neutral"]);
  const STEPS_S = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600];
  const plot = byId("plot"), box = byId("lanes"), gutter = byId("gutter"), tip = byId("tip");
  let data = null, view = [0, 1], rows = [], height = 0, left = 128, theme = {};

  const inner = () => Math.max(plot.clientWidth - left - RIGHT, 50);
  const toX = (time) => left + ((time - view[0]) / (view[1] - view[0])) * inner();
  const toTime = (x) => view[0] + ((x - left) / inner()) * (view[1] - view[0]);
  // Text that plotly sets is read for tags and entities, so what comes from the video is escaped for it.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // Where everything stands: y in pixels from the top of the plot area ------------------------------------------------

  function place() {
    rows = [];
    let y = 4;
    const add = (row, size) => { rows.push({ ...row, y, size }); y += size + GAP; };
    const ranked = [...data.lanes].sort((a, b) => (a.status === "ok" ? 0 : 1) - (b.status === "ok" ? 0 : 1));
    for (const lane of ranked) {
      add({ kind: "lane", lane, title: lane.title, key: lane.name }, lane.rows.length * ROW);
      if (lane.name === "color_analysis" && data.palette.length) add({ kind: "palette", title: "Palette" }, PALETTE);
      if (lane.name === "audio_analysis" && data.beats.length) add({ kind: "beats", title: "Beats" }, BEATS);
    }
    for (const curve of data.curves) add({ kind: "curve", curve, title: curve.title, unit: curve.unit }, CURVE);
    if (data.coverage) {
      add({ kind: "coverage", title: "Coverage", unit: `${data.coverage.score} of 100` }, COVERAGE * 4);
    }
    height = y;
  }

  function color(lane, kind, label) {
    if (kind >= 0 && QUIET.has(label)) return [theme.quiet, theme.quietEdge];
    const hue = hueOf(lane.group, kind);
    return [theme.fills[hue], theme.edges[hue]];
  }

  function barsTrace() {
    const perSecond = inner() / (view[1] - view[0]), thin = 2 / perSecond;
    const trace = {
      type: "bar", orientation: "h", x: [], base: [], y: [], width: [], text: [], textposition: "inside",
      insidetextanchor: "start", textangle: 0, constraintext: "none", cliponaxis: true, hoverinfo: "skip",
      insidetextfont: { color: theme.ink, size: 11 }, marker: { color: [], line: { color: [], width: 1 } },
    };
    for (const row of rows) {
      if (row.kind !== "lane") continue;
      for (const [start, end, at, kind, label] of row.lane.bars) {
        if (end < view[0] || start > view[1]) continue;
        const from = Math.max(start, view[0]), length = Math.max(Math.min(end, view[1]) - from, thin);
        const fits = Math.floor((length * perSecond - 8) / 6.1), [fill, edge] = color(row.lane, kind, label);
        const text = fits >= label.length ? label : fits >= 4 ? `${label.slice(0, fits - 1)}…` : "";
        trace.base.push(from);
        trace.x.push(length);
        trace.y.push(row.y + at * ROW + ROW / 2);
        trace.width.push(ROW - 3);
        trace.text.push(plain(text));
        trace.marker.color.push(fill);
        trace.marker.line.color.push(edge);
      }
    }
    return trace;
  }

  function paletteTrace() {
    const row = rows.find((one) => one.kind === "palette");
    if (!row) return null;
    const trace = {
      type: "bar", orientation: "h", x: [], base: [], y: [], width: [], hoverinfo: "skip", marker: { color: [] },
    };
    for (const [start, end, colors] of data.palette) {
      const whole = colors.reduce((sum, one) => sum + one[2], 0) || 1;
      let y = row.y;
      for (const [hex, , share] of colors) {
        const size = (share / whole) * row.size;
        trace.base.push(start);
        trace.x.push(end - start);
        trace.y.push(y + size / 2);
        trace.width.push(size);
        trace.marker.color.push(/^#[0-9a-f]{6}$/i.test(hex) ? hex : "#888888");
        y += size;
      }
    }
    return trace;
  }

  function ticksTrace(times, y0, y1, line) {
    const x = [], y = [];
    for (const time of times) { x.push(time, time, null); y.push(y0, y1, null); }
    return { type: "scatter", mode: "lines", x, y, line, hoverinfo: "skip", cliponaxis: true };
  }

  const band = (x0, x1, y0, y1, fillcolor, opacity) =>
    ({ type: "rect", x0, x1, y0, y1, fillcolor, opacity, line: { width: 0 }, layer: "below" });

  /** Curves stand on a ground of their own, so that each is seen to be one. */
  const grounds = () => rows.filter((row) => row.kind === "curve" || row.kind === "coverage")
    .map((row) => band(0, data.duration_s, row.y, row.y + row.size, theme.quiet, 0.45));

  function curveTraces(layout) {
    const traces = [];
    rows.filter((row) => row.kind === "curve").forEach((row, number) => {
      const values = row.curve.series.flatMap((one) => one[2]).filter((value) => value !== null);
      let low = Math.min(...values), high = Math.max(...values);
      const ends = low === high ? [low] : [low, high], room = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
      [low, high] = [low - room, high + room];
      layout[`yaxis${number + 2}`] = {
        domain: [1 - (row.y + row.size) / height, 1 - row.y / height], anchor: "x", side: "right", range: [low, high],
        fixedrange: true, showgrid: false, zeroline: false, tickvals: ends, ticklen: 2, tickcolor: theme.line,
        ticktext: ends.map((value) => String(Number(value.toPrecision(3)))), tickfont: { size: 10, color: theme.soft },
      };
      row.curve.series.forEach(([, x, y], at) => traces.push({
        type: "scatter", mode: "lines", x, y, yaxis: `y${number + 2}`, hoverinfo: "skip", connectgaps: false,
        line: { color: theme.edges[(at * 3 + 1) % theme.edges.length], width: 1.5 },
      }));
    });
    return traces;
  }

  function coverageTrace() {
    const row = rows.find((one) => one.kind === "coverage");
    if (!row) return null;
    const { starts, values } = data.coverage;
    const step = starts.length > 1 ? starts[1] - starts[0] : 1;
    return {
      type: "heatmap", hoverinfo: "skip", showscale: false, zmin: 0, zmax: 1, z: values,
      x: [...starts, Math.min(starts[starts.length - 1] + step, data.duration_s)],
      y: [0, 1, 2, 3, 4].map((at) => row.y + at * COVERAGE), xgap: 1, ygap: 1,
      colorscale: [[0, theme.quiet], [1, theme.edges[1]]],
    };
  }

  function axis() {
    const span = view[1] - view[0], wanted = (span * 64) / inner();
    const step = STEPS_S.find((one) => one >= wanted) || STEPS_S[STEPS_S.length - 1], ticks = [];
    for (let at = Math.ceil(view[0] / step - 1e-6); at * step <= view[1] + 1e-9; at++) ticks.push(at * step);
    return {
      range: [...view], minallowed: 0, maxallowed: data.duration_s, side: "top", tickvals: ticks, fixedrange: false,
      ticktext: ticks.map((time) => clock(time, step < 0.1 ? 2 : step < 1 ? 1 : 0)), zeroline: false,
      gridcolor: theme.line, griddash: "dot", tickfont: { size: 11, color: theme.soft }, ticklen: 4,
      tickcolor: theme.line,
    };
  }

  function draw() {
    left = box.clientWidth < 620 ? 92 : 136;
    const coarse = matchMedia("(pointer: coarse)").matches;
    const layout = {
      width: box.clientWidth, height: height + TOP + BOTTOM, showlegend: false,
      margin: { l: left, r: RIGHT, t: TOP, b: BOTTOM, pad: 0 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", barmode: "overlay", bargap: 0, hovermode: false,
      dragmode: coarse ? false : "zoom", font: { family: theme.font, color: theme.ink, size: 11 }, xaxis: axis(),
      yaxis: { range: [height, 0], domain: [0, 1], visible: false, fixedrange: true },
      shapes: [...grounds(), ...data.lost.map(([x0, x1]) => band(x0, x1, 0, height, theme.bad, 0.14))],
    };
    const beats = rows.find((row) => row.kind === "beats");
    const dashes = { cut: "solid", dissolve: "dash", fade: "dot" };
    const traces = [
      ...Object.entries(dashes).map(([kind, dash]) => ticksTrace(
        data.cuts.filter((cut) => cut[1] === kind).map((cut) => cut[0]), 0, height,
        { color: theme.soft, width: 1, dash })),
      barsTrace(), paletteTrace(), coverageTrace(),
      beats && ticksTrace(data.beats, beats.y, beats.y + beats.size, { color: theme.edges[4], width: 1 }),
      ...curveTraces(layout),
    ].filter(Boolean);
    box.style.setProperty("--left", `${left}px`);
    const config = { displayModeBar: false, responsive: false, showTips: false, doubleClick: false };
    return Plotly.react(plot, traces, layout, config).then(() => { labels(); movePlayhead(now()); });
  }

  // Names, remarks, legend ------------------------------------------------------------------------------------------

  function labels() {
    if (gutter.childElementCount) return;
    for (const row of rows) {
      const item = el("div", {
        className: `name ${row.kind} ${row.lane ? row.lane.status : ""}`, role: "listitem",
        style: { top: `${TOP + row.y}px`, height: `${row.size}px` },
      });
      if (row.kind === "lane") item.append(laneButton(row));
      else item.append(el("span", { className: "title", textContent: row.title }));
      if (row.unit) item.append(el("span", { className: "unit", textContent: row.unit }));
      if (row.kind === "curve" && row.curve.series.length > 1) {
        const names = row.curve.series.map(([name], at) => el("span", {
          textContent: name, style: { color: theme.edges[(at * 3 + 1) % theme.edges.length] },
        }));
        item.append(el("span", { className: "series" }, ...names.flatMap((name) => [name, " "])));
      }
      if (row.lane && row.lane.rows.length > 1) {
        row.lane.rows.forEach((name, at) => name && item.append(
          el("span", { className: "sub", textContent: name, style: { top: `${at * ROW}px` } })));
      }
      gutter.append(item);
      if (row.lane && row.lane.note) {
        const status = row.lane.status === "ok" ? "" : `${row.lane.status}: `;
        byId("remarks").append(el("p", {
          className: `remark ${row.lane.status}`, textContent: status + row.lane.note,
          style: { top: `${TOP + row.y}px`, height: `${row.size}px` },
        }));
      }
    }
  }

  function laneButton(row) {
    const { lane } = row, count = lane.bars.length;
    const said = lane.status === "ok" ? `${count} segment${count === 1 ? "" : "s"}` : `${lane.status}, ${lane.note}`;
    const button = el("button", {
      type: "button", className: "title", textContent: lane.title, "data-keys": "", title: lane.name,
      "aria-label": `${lane.title}: ${said}. Arrow keys step through the segments, Enter shows the details.`,
    });
    button.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way || !count) return;
      event.preventDefault();
      step(row, way);
    });
    button.addEventListener("blur", hideTip);
    button.addEventListener("click", () => Reelscope.showAnalyzer(lane.name));
    return button;
  }

  function step(row, way) {
    const starts = row.lane.bars.map((bar) => bar[0]).sort((a, b) => a - b), time = now();
    const to = way > 0 ? starts.find((start) => start > time + 0.011)
      : starts.filter((start) => start < time - 0.011).pop();
    if (to === undefined) return;
    const bar = row.lane.bars.find((one) => one[0] === to);
    seek(to + 0.001);
    byId("spoken").textContent = `${clock(to)} ${bar[4]}`;
    const frame = plot.getBoundingClientRect();
    showTip(barTip(row, bar), frame.left + Math.max(toX(to), left), frame.top + TOP + row.y + row.size);
  }

  function legend() {
    const kinds = [["cut", "solid"], ["dissolve", "dashed"], ["fade", "dotted"]];
    const there = kinds.filter(([kind]) => data.cuts.some((cut) => cut[1] === kind));
    byId("legend").replaceChildren(
      ...there.map(([kind, borderLeftStyle]) =>
        el("span", {}, el("i", { className: "rule", style: { borderLeftStyle } }), kind)),
      ...(data.lost.length ? [el("span", {}, el("i", { className: "lost" }), "could not be decoded")] : []),
      ...(data.coverage ? [el("span", {}, `Coverage rows: ${data.coverage.parts.join(", ")}`)] : []));
  }

  // Pointer: what is under it, and where it goes --------------------------------------------------------------------

  function rowAt(y) {
    return rows.find((row) => y >= row.y - GAP / 2 && y < row.y + row.size + GAP / 2);
  }

  function barTip(row, bar) {
    return { title: row.title, time: `${clock(bar[0], 2)} – ${clock(bar[1], 2)}`, text: bar[4], fields: bar[5] };
  }

  function barUnder(row, time, y) {
    const at = Math.floor((y - row.y) / ROW), slack = (3 / inner()) * (view[1] - view[0]);
    const near = row.lane.bars.filter((bar) =>
      bar[2] === at && bar[0] - slack <= time && time <= bar[1] + slack);
    return near.find((bar) => bar[0] <= time && time < bar[1]) || near[0];
  }

  function tipFor(row, time, y) {
    if (row.kind === "lane") {
      const bar = barUnder(row, time, y);
      if (bar) return barTip(row, bar);
      if (row.lane.note) return { title: row.title, time: row.lane.status, text: row.lane.note, fields: [] };
    } else if (row.kind === "curve") {
      const fields = row.curve.series.map(([name, x, values]) => {
        const value = values[lastBefore(x, time, (one) => one)];
        return [name, value === null || value === undefined ? "–" : `${Number(value.toPrecision(4))} ${row.unit}`];
      });
      return { title: row.title, time: clock(time, 2), text: "", fields };
    } else if (row.kind === "palette") {
      const found = data.palette.find((one) => one[0] <= time && time < one[1]);
      if (found) {
        return { title: row.title, time: clock(time, 2), text: "", swatches: found[2],
          fields: found[2].map(([hex, name, share]) => [hex, `${name} ${Math.round(share * 100)} %`]) };
      }
    } else if (row.kind === "coverage") {
      const { starts, parts, values } = data.coverage, at = lastBefore(starts, time, (one) => one);
      return { title: row.title, time: clock(time, 0), text: "",
        fields: parts.map((part, index) => [part, `${Math.round((values[index][at] || 0) * 100)} %`]) };
    }
    return null;
  }

  function showTip(what, x, y) {
    if (!what) return hideTip();
    const begun = what.text.endsWith("…") ? what.text.slice(0, -1) : null; // the label is cut, its field less so
    const whole = what.fields.find(([, value]) =>
      (begun ? value.startsWith(begun) : value.replace(/_/g, " ") === what.text));
    const fields = what.fields.filter((field) => field !== whole), text = begun && whole ? whole[1] : what.text;
    const term = (name, at) => el("dt", {}, what.swatches
      ? el("i", { className: "swatch", style: { background: what.swatches[at][0] } }) : null, name.replace(/_/g, " "));
    tip.replaceChildren(...[
      el("p", { className: "tip-head" }, el("b", { textContent: what.title }), el("span", { textContent: what.time })),
      text ? el("p", { className: "tip-text", textContent: text }) : null,
      fields.length ? el("dl", { className: "pairs" }, ...fields.flatMap(([name, value], at) => [
        term(name, at),
        el("dd", { textContent: value })])) : null,
    ].filter(Boolean));
    tip.hidden = false;
    const size = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(x + 12, innerWidth - size.width - 8))}px`;
    tip.style.top = `${y + 16 + size.height > innerHeight ? Math.max(8, y - size.height - 12) : y + 16}px`;
  }

  function hideTip() { tip.hidden = true; }

  function pointer() {
    let down = null, lastTap = 0;
    const inside = (event) => {
      const frame = plot.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top - TOP;
      return x >= left && x <= left + inner() && y >= -TOP && y <= height ? { x, y } : null;
    };
    plot.addEventListener("pointermove", (event) => {
      const at = inside(event), row = at && !event.buttons && rowAt(at.y);
      showTip(row ? tipFor(row, toTime(at.x), at.y) : null, event.clientX, event.clientY);
    });
    plot.addEventListener("pointerleave", hideTip);
    plot.addEventListener("pointerdown", (event) => {
      down = event.button === 0 && inside(event) ? { x: event.clientX, y: event.clientY } : null;
    }, true);
    window.addEventListener("pointerup", (event) => {
      const still = down && Math.hypot(event.clientX - down.x, event.clientY - down.y) < 5, at = still && inside(event);
      down = null;
      if (!at) return;
      if (event.timeStamp - lastTap < 320) return zoom(0);
      lastTap = event.timeStamp;
      const time = toTime(at.x), row = rowAt(at.y), bar = row && row.kind === "lane" && barUnder(row, time, at.y);
      const snaps = bar && Math.abs(toX(bar[0]) - at.x) < 8; // the very start of a bar is what one means
      seek(snaps ? bar[0] + 0.001 : time);
      if (event.pointerType !== "mouse" && row) showTip(tipFor(row, time, at.y), event.clientX, event.clientY);
    }, true);
    plot.on("plotly_relayout", (change) => {
      const range = change["xaxis.range"] || [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (Number.isFinite(range[0]) && Number.isFinite(range[1])) look(range[0], range[1]);
    });
  }

  function look(from, to) {
    const span = Math.min(Math.max(to - from, 0.2), data.duration_s);
    const start = Math.min(Math.max(from, 0), data.duration_s - span);
    view = [start, start + span];
    draw();
  }

  function zoom(factor) {
    if (!factor) return look(0, data.duration_s);
    const span = (view[1] - view[0]) * factor, around = Math.min(Math.max(now(), view[0]), view[1]);
    look(around - span / 2, around + span / 2);
  }

  function movePlayhead(time) {
    const x = toX(time), out = x < left - 1 || x > left + inner() + 1;
    if (out && playing()) look(time, time + view[1] - view[0]); // the page turns
    byId("playhead").style.transform = `translateX(${x.toFixed(1)}px)`;
    byId("playhead").hidden = out;
    byId("flag").textContent = clock(time);
  }

  /** Draws the timeline of the page's data; resolves when it stands. */
  Reelscope.drawTimeline = (given) => {
    data = given;
    view = [0, data.duration_s];
    theme = Reelscope.theme();
    place();
    box.style.setProperty("--height", `${height + TOP}px`);
    legend();
    Reelscope.onTheme(() => {
      theme = Reelscope.theme();
      gutter.replaceChildren();
      byId("remarks").replaceChildren();
      draw();
    });
    let width = box.clientWidth, waiting = 0;
    new ResizeObserver(() => {
      if (box.clientWidth === width) return;
      width = box.clientWidth;
      clearTimeout(waiting);
      waiting = setTimeout(draw, 80);
    }).observe(box);
    for (const button of document.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
    }
    Reelscope.follow(movePlayhead);
    return draw().then(pointer);
  };
})();
