// One row per analyzer while a job runs: how far it is, and, as soon as it has ended, what it found, as a small lane.
"use strict";
(() => {
  const { byId, el, clock } = Reelscope;
  const FOUND_MAX = 8, TITLE_MAX = 40;
  const rows = new Map(); // by the analyzer's name
  let duration_s = 0;

  function rowOf(name) {
    if (rows.has(name)) return rows.get(name);
    const known = Reelscope.analyzer(name);
    const fill = el("div", { className: "fill" });
    const track = el("div", { className: "track", role: "progressbar", "aria-label": known.title, "aria-valuemin": "0",
      "aria-valuemax": "100", "aria-valuenow": "0" }, fill);
    const found = el("p", { className: "found" }), state = el("span", { className: "row-state", textContent: "waits" });
    const node = el("li", { className: "row", "data-name": name },
      el("span", { className: "row-title", textContent: known.title, title: name }), track, state, found);
    const row = { ...known, node, track, fill, found, state, ended: false };
    rows.set(name, row);
    tint(row);
    byId("rows").append(node);
    return row;
  }

  /** Colours as on the timeline. */
  function tint(row) {
    const theme = Reelscope.theme();
    const paint = (node, kind) => {
      node.style.setProperty("--fill", theme.fills[Reelscope.hueOf(row.group, kind)]);
      node.style.setProperty("--edge", theme.edges[Reelscope.hueOf(row.group, kind)]);
    };
    paint(row.node, 0);
    for (const bar of row.node.querySelectorAll(".mini")) paint(bar, Number(bar.dataset.kind));
  }

  /** All analyzers of the job, in the order of the timeline. */
  function setRows(names, seconds) {
    duration_s = seconds || 0;
    for (const name of Reelscope.ordered(names)) rowOf(name);
  }

  function setProgress(name, done_s, total_s) {
    const row = rowOf(name);
    if (row.ended || !total_s) return;
    const share = Math.min(done_s / total_s, 1);
    row.fill.style.width = `${share * 100}%`;
    row.track.setAttribute("aria-valuenow", String(Math.round(share * 100)));
    row.node.classList.toggle("works", share > 0);
    row.state.textContent = share >= 1 ? "sums up"
      : share > 0 ? `${clock(done_s, 0)} of ${clock(total_s, 0)}` : "waits";
  }

  /** An `AnalyzerResult` in place of the progress; what it found comes with `setLane`. */
  function setResult(result) {
    const row = rowOf(result.name), segments = result.report ? result.report.segments.length : 0;
    row.ended = true;
    row.node.className = `row ended ${result.status}`;
    row.state.className = `row-state status ${result.status}`;
    row.state.textContent = result.status !== "ok" ? result.status
      : segments === 1 ? "1 segment" : `${segments} segments`;
    row.found.textContent = result.reason || (result.error ? `${result.error.type}: ${result.error.message}` : "");
    row.track.replaceWith(row.track = el("div", { className: "track", "aria-hidden": "true" }));
  }

  /** Its lane of the timeline (report_lanes.lane), as high as a row. */
  function setLane({ name, rows: levels, bars, note }) {
    const row = rowOf(name), height = 100 / levels.length, whole_s = duration_s || 1;
    const labels = [...new Set(bars.map((bar) => bar[4]).filter(Boolean))];
    row.found.textContent = labels.slice(0, FOUND_MAX).join(" · ") || note;
    row.found.title = labels.slice(0, TITLE_MAX).join(" · ");
    row.track.classList.toggle("levels", levels.length > 1);
    row.track.replaceChildren(...bars.map(([start, end, level, kind, label]) => el("i", {
      className: "mini", title: `${clock(start)} ${label}`, "data-kind": String(kind), style: {
        left: `${(start / whole_s) * 100}%`, width: `${Math.max((end - start) / whole_s, 0.002) * 100}%`,
        top: `${level * height}%`, height: `${height}%`,
      },
    })));
    tint(row);
  }

  /** A click on a lane goes there. */
  byId("rows").addEventListener("click", (event) => {
    const track = event.target.closest(".ended.ok .track");
    if (!track || !duration_s) return;
    const frame = track.getBoundingClientRect();
    Reelscope.seek(((event.clientX - frame.left) / frame.width) * duration_s);
  });
  Reelscope.onTheme(() => rows.forEach(tint));

  /** How many have ended, and how many there are. */
  const counts = () => [[...rows.values()].filter((row) => row.ended).length, rows.size];

  Object.assign(Reelscope, { setRows, setProgress, setResult, setLane, counts });
})();
