// Small helpers that every script of the page uses: elements, times, colours, and how it says that something failed.
"use strict";
window.Reelscope = (() => {
  const byId = (id) => document.getElementById(id);
  const trouble = (text) => {
    byId("trouble").textContent = `Something on this page failed: ${text}`;
    byId("trouble").hidden = false;
  };
  window.addEventListener("error", (event) => { if (event.message) trouble(event.message); });
  window.addEventListener("unhandledrejection", (event) => trouble(String(event.reason)));
  document.addEventListener("securitypolicyviolation", (event) => trouble(`blocked ${event.violatedDirective}`));

  /** An element with properties, attributes (aria, data, role) and children. Strings become text, not HTML. */
  function el(tag, properties = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (/^(aria-|data-|role$)/.test(name)) node.setAttribute(name, value);
      else if (name === "style") Object.assign(node.style, value);
      else node[name] = value;
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  /** 1:04.5, cut off and not rounded. */
  function clock(seconds, digits = 1) {
    const scale = 10 ** digits, units = Math.floor(seconds * scale + 1e-6), whole = Math.floor(units / scale);
    const text = `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
    return digits ? `${text}.${String(units % scale).padStart(digits, "0")}` : text;
  }

  /** Index of the last item that starts at or before `time`, or -1. `start` reads an item's start. */
  function lastBefore(items, time, start = (item) => item[0]) {
    let low = 0, high = items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (start(items[middle]) <= time + 1e-4) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  /** Index of the item `[start, end, ...]` that holds `time`, or -1; items are in order of start. */
  function itemAt(items, time) {
    for (let at = lastBefore(items, time), tries = 0; at >= 0 && tries < 8; at--, tries++) {
      if (time < items[at][1]) return at;
    }
    return -1;
  }

  const GROUPS = { time: 0, picture: 1, people: 2, words: 3, sound: 4, told: 5, other: 6 };

  /** The colours of report.css, as they are in the present theme. `fills` and `edges` are ten hues. */
  function theme() {
    const style = getComputedStyle(document.documentElement), read = (name) => style.getPropertyValue(name).trim();
    const list = (name) => read(name).split(/\s+/);
    return {
      ink: read("--ink"), soft: read("--soft"), line: read("--line"), accent: read("--accent"), bad: read("--bad"),
      fills: list("--fills"), edges: list("--edges"), quiet: read("--quiet"), quietEdge: read("--quiet-edge"),
      font: style.fontFamily,
    };
  }

  /** Number of the hue of a lane's group and, within it, of a label's `kind`. */
  const hueOf = (group, kind) => ((GROUPS[group] ?? GROUPS.other) + Math.max(kind, 0)) % 10;

  /** Calls `draw` whenever dark and light change. */
  const onTheme = (draw) => matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  return { byId, el, clock, lastBefore, itemAt, trouble, theme, hueOf, onTheme };
})();
