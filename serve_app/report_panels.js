// The lists beside the timeline (lines, transcript, text, run, analyzers), the "now" box, and how all of it comes up.
"use strict";
(() => {
  const { byId, el, clock, itemAt, seek } = Reelscope;
  const panels = byId("panels");
  let data = null;

  function card(id, title, count, ...content) {
    const heading = el("h2", { id: `${id}-title`, textContent: title });
    if (count) heading.append(el("span", { className: "count", textContent: count }));
    const node = el("section", { id, className: "card", "aria-labelledby": `${id}-title` }, heading, ...content);
    panels.append(node);
    return node;
  }

  const pairs = (list, className = "pairs") => el("dl", { className }, ...list.flatMap(([name, text]) => [
    el("dt", { textContent: name.replace(/_/g, " ") }), el("dd", { textContent: text })]));

  function timeButton(time) {
    const button = el("button", {
      type: "button", className: "go", textContent: clock(time), "aria-label": `Go to ${clock(time)}`,
    });
    button.addEventListener("click", () => seek(time + 0.001));
    return button;
  }

  /** Marks the entry of the moment and keeps it in sight inside its own box, without moving the page. */
  function followList(scroller, nodes, spans) {
    let marked = -1;
    Reelscope.follow((time) => {
      const at = itemAt(spans, time);
      if (at === marked) return;
      if (nodes[marked]) { nodes[marked].classList.remove("current"); nodes[marked].removeAttribute("aria-current"); }
      marked = at;
      if (at < 0) return;
      const node = nodes[at];
      node.classList.add("current");
      node.setAttribute("aria-current", "time");
      if (scroller.matches(":hover, :focus-within")) return;
      const top = node.offsetTop; // the scroller is its offset parent
      if (top < scroller.scrollTop + 8 || top + node.offsetHeight > scroller.scrollTop + scroller.clientHeight - 24) {
        scroller.scrollTop = Math.max(0, top - scroller.clientHeight / 3);
      }
    });
  }

  function timedList(id, title, items, entry) {
    if (!items.length) return;
    const nodes = items.map((item) => el("li", {}, timeButton(item[0]), entry(item)));
    const list = el("ol", { className: "timed", tabIndex: 0, "aria-label": title }, ...nodes);
    card(id, title, String(items.length), list);
    followList(list, nodes, items);
  }

  function lines() {
    timedList("lines", "Second by second", data.lines, ([, , line, evidence]) => el("p", {},
      el("span", { textContent: line }), evidence.length ? el("small", { textContent: evidence.join(", ") }) : null));
  }

  function transcript() {
    const words = [], nodes = [];
    timedList("transcript", "Transcript", data.transcript, ([, , text, spoken]) => {
      if (!spoken.length) return el("p", { textContent: text });
      const line = el("p", {});
      for (const [word, start, end, score] of spoken) {
        const node = el("span", { className: score < 0.5 ? "word unsure" : "word", textContent: word.trim(),
          title: `${clock(start, 2)}, score ${score.toFixed(2)}` });
        node.addEventListener("click", () => seek(start + 0.001));
        words.push([start, end]);
        nodes.push(node);
        line.append(node, " ");
      }
      return line;
    });
    let marked = -1;
    Reelscope.follow((time) => {
      const at = itemAt(words, time);
      if (at === marked) return;
      if (nodes[marked]) nodes[marked].classList.remove("spoken");
      if (nodes[at]) nodes[at].classList.add("spoken");
      marked = at;
    });
  }

  function texts() {
    timedList("texts", "On-screen text", data.texts, ([, end, text, marks]) => el("p", {},
      el("span", { textContent: text }),
      el("small", { textContent: [`to ${clock(end)}`, marks].filter(Boolean).join(", ") })));
  }

  function moments() {
    const titles = { key_moments: "Key moments", contradictions: "Contradictions", agreements: "Agreements" };
    const groups = Object.entries(data.moments).filter(([, items]) => items.length);
    if (!groups.length && !data.sync) return;
    const entry = ([time, text, names]) => el("li", {},
      time === null ? el("span", { className: "go" }) : timeButton(time),
      el("p", {}, text, names.length ? el("small", { textContent: names.join(", ") }) : null));
    card("moments", "What the analyzers make of it together", "", el("div", { className: "halves" },
      ...groups.map(([key, items]) => el("div", {}, el("h3", { className: key, textContent: titles[key] || key }),
        el("ul", { className: "timed", tabIndex: 0, "aria-label": titles[key] || key }, ...items.map(entry)))),
      data.sync
        ? el("div", {}, el("h3", {}, "Cuts on the beat"), el("p", {}, data.sync.replace(/_/g, " "))) : null,
    )).classList.add("wide");
  }

  function run() {
    const chart = el("div", { id: "busy", className: "chart" });
    const worked = data.analyzers.filter((one) => one.busy_s > 0).sort((a, b) => a.busy_s - b.busy_s);
    const part = (title, content) => el("div", {}, el("h3", {}, ...[title].flat()), content);
    const keys = [el("i", { className: "key" }), el("i", { className: "key" })];
    const heading = ["Seconds of work per analyzer", keys[0], "working", keys[1], "of it on the CPU"];
    card("run", "The file and the run", "", el("div", { className: "halves" },
      part("File", pairs(data.facts)), part("Run", pairs(data.figures)),
      worked.length ? part(heading, chart) : null)).classList.add("wide");
    if (!worked.length) return;
    const draw = () => {
      const theme = Reelscope.theme(), x = (field) => worked.map((one) => one[field]);
      const y = worked.map((one) => one.title.replace(/&/g, "&amp;").replace(/</g, "&lt;"));
      const bar = (field, name, color, width) => ({
        type: "bar", orientation: "h", x: x(field), y, name, width, marker: { color },
        hovertemplate: `%{x:.2f} s ${name}<extra></extra>`,
      });
      const layout = {
        height: worked.length * 20 + 32, margin: { l: 128, r: 12, t: 4, b: 26 }, barmode: "overlay", dragmode: false,
        showlegend: false,
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: "closest",
        font: { family: theme.font, size: 11, color: theme.ink },
        hoverlabel: { font: { family: theme.font, size: 11 } },
        xaxis: { gridcolor: theme.line, zeroline: false, ticksuffix: " s", fixedrange: true, rangemode: "tozero" },
        yaxis: { fixedrange: true, ticklen: 4, tickcolor: "rgba(0,0,0,0)" },
      };
      keys[0].style.background = theme.fills[0];
      keys[1].style.background = theme.edges[0];
      return Plotly.react(chart, [
        bar("busy_s", "working", theme.fills[0], 0.72), bar("cpu_s", "of it on the CPU", theme.edges[0], 0.3),
      ], layout, { displayModeBar: false, responsive: true, showTips: false });
    };
    Reelscope.onTheme(draw);
    draw();
  }

  function analyzers(action) {
    const seconds = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
    const body = el("tbody", {});
    for (const one of data.analyzers) {
      const why = [one.reason, one.error, one.note].filter(Boolean).join(" · ");
      const more = [
        ...one.summary, ["segments", one.segments ? String(one.segments) : ""], ...one.model,
        ["queued", `${seconds(one.queued_s)} s in ${one.chunks} chunks`], ["version", one.version]]
        .filter((pair) => pair[1]);
      const details = el("details", { id: `analyzer-${one.name}` },
        el("summary", {}, one.title, el("small", { textContent: one.name })), pairs(more));
      body.append(el("tr", { className: one.status },
        el("th", { scope: "row" }, details),
        el("td", {}, el("span", { className: `status ${one.status}`, textContent: one.status }),
          why ? el("small", { textContent: why }) : null),
        el("td", { className: "model", textContent: one.model.length ? one.model[0][1] : "–" }),
        el("td", { className: "number", textContent: seconds(one.busy_s) }),
        el("td", { className: "number", textContent: seconds(one.cpu_s) }),
        el("td", { className: "number", textContent: seconds(one.done_s) }),
        action ? el("td", { className: "action" }, action(one)) : null));
    }
    const head = ["Analyzer", "Status", "Model or method", "busy s", "CPU s", "done at s"].map((name, at) => el("th", {
      scope: "col", textContent: name, className: at > 2 ? "number" : "" }));
    if (action) head.push(el("th", { scope: "col" }, el("span", { className: "unseen", textContent: "Again" })));
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...head)), body);
    card("analyzers", "Analyzers", "", el("div", { className: "scroll", tabIndex: 0, role: "region",
      "aria-label": "Analyzers, scrolls sideways" }, table)).classList.add("wide");
  }

  Reelscope.showAnalyzer = (name) => {
    const details = byId(`analyzer-${name}`);
    if (!details) return;
    details.open = true;
    details.scrollIntoView({ block: "center" });
    details.querySelector("summary").focus({ preventScroll: true });
  };

  function chips() {
    const counts = Object.entries(data.statuses).filter(([, n]) => n).map(([status, n]) => [`${n} ${status}`, status]);
    const fact = Object.fromEntries(data.facts), figure = Object.fromEntries(data.figures);
    const shape = data.picture ? fact.picture.split(", ").slice(0, 2).join(", ") : "sound only";
    const texts = [[clock(data.duration_s), ""], [shape, ""],
      [[fact["picture codec"], fact["sound codec"]].filter(Boolean).join(" / "), ""], ...counts,
      [figure.coverage ? `coverage ${figure.coverage}` : "", ""],
      [figure["wall time"] ? `analyzed in ${figure["wall time"]} (${figure.speed})` : "", ""]];
    byId("chips").append(...texts.filter(([text]) => text).map(([text, status]) =>
      el("li", { className: status, textContent: text })));
  }

  /** What holds at this moment, lane by lane: the same words as on the bars. */
  function nowBox() {
    const lanes = data.lanes.filter((lane) => lane.bars.length && lane.name !== "cross_analyzer_intelligence");
    const cells = lanes.map((lane) => {
      const text = el("dd", {});
      byId("now-list").append(el("dt", { textContent: lane.title }), text);
      return { text, sorted: [...lane.bars].sort((a, b) => a[0] - b[0]) };
    });
    document.querySelector(".now").hidden = !cells.length && !data.lines.length;
    const line = byId("now-line");
    line.hidden = !data.lines.length;
    byId("now-palette").hidden = !data.palette.length;
    let shown = null;
    Reelscope.follow((time) => {
      for (const { text, sorted } of cells) {
        const found = [];
        for (const bar of sorted) {
          if (bar[0] > time + 1e-4) break;
          if (time < bar[1] && bar[4]) found.push(bar[4]);
        }
        const words = found.slice(-4).join(" · ") || "–";
        if (text.textContent !== words) text.textContent = words;
      }
      const at = itemAt(data.lines, time);
      line.textContent = at < 0 ? "" : data.lines[at][2];
      const palette = data.palette[itemAt(data.palette, time)];
      if (palette === shown) return;
      shown = palette;
      byId("now-palette").replaceChildren(...(palette ? palette[2] : []).map(([hex, name, share]) => el("i", {
        title: `${name} ${Math.round(share * 100)} %`, style: { background: hex, flexGrow: String(share) } })));
    });
  }

  /**
   * Shows the page's data (report_view.page_data with name and medium). The player may run already.
   * `action(analyzer)` makes what stands at the end of an analyzer's row, or null.
   */
  Reelscope.showReport = async (given, action = null) => {
    data = given;
    chips();
    nowBox();
    lines();
    transcript();
    texts();
    moments();
    const timeline = Reelscope.drawTimeline(data);
    run();
    analyzers(action);
    await timeline;
    Reelscope.updateClock(data);
    const asked = /^#t=([\d.]+)$/.exec(location.hash); // #t=4.2 opens at that time
    if (asked) seek(Number(asked[1]));
    document.documentElement.dataset.ready = "yes";
  };
})();
