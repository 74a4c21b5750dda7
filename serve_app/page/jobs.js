// What both pages say about a job: its name, state, share done and times, in the words of the interface.
"use strict";
(() => {
  const { byId, clock } = Reelscope;
  const words = JSON.parse(byId("words").textContent);
  const STATES = { queued: "Waiting", fetching: "Fetching", running: "Analyzing", done: "Done", failed: "Failed",
    cancelled: "Cancelled" };
  const ENDED = new Set(["done", "failed", "cancelled"]);
  let ahead_ms = 0; // of the server's clock before ours

  /** The file's name, or the post's address without what does not tell posts apart (as routes.name_of). */
  function nameOf(job) {
    if (job.source_kind !== "url") return job.source.split("/").pop() || job.source;
    const parts = URL.canParse(job.source) ? new URL(job.source) : null;
    return parts ? parts.hostname.replace(/^www\./, "") + parts.pathname : job.source;
  }

  /** Title and colour group of any analyzer. */
  function analyzer(name) {
    const plain = name.replace(/_/g, " ");
    const [title, group] = words.analyzers[name] || [plain[0].toUpperCase() + plain.slice(1), "other"];
    return { name, title, group };
  }

  /** Names in the order of the timeline. */
  function ordered(names) {
    const known = Object.keys(words.analyzers);
    const place = (name) => (name in words.analyzers ? known.indexOf(name) : known.length);
    return [...names].sort((a, b) => place(a) - place(b));
  }

  /** 0..1 of one analyzer's work; the report is the last twentieth. */
  const shareOf = (state, duration_s) =>
    (state.status ? 1 : duration_s ? Math.min(state.done_s / duration_s, 1) * 0.95 : 0);

  function share(job) {
    const states = Object.values(job.analyzers);
    if (job.state === "done") return 1;
    if (job.state === "fetching") return job.fetch_bytes ? job.fetched_bytes / job.fetch_bytes : 0;
    return states.reduce((sum, state) => sum + shareOf(state, job.duration_s), 0) / (states.length || 1);
  }

  function bytes(count) {
    if (count < 1e6) return `${Math.max(Math.round(count / 1e3), 1)} kB`;
    return count < 1e9 ? `${(count / 1e6).toFixed(1)} MB` : `${(count / 1e9).toFixed(2)} GB`;
  }

  /** Just now, 5 min ago, 14:02, 3 Mar. */
  function when(text) {
    const date = new Date(text), now = Date.now() + ahead_ms, minutes = Math.floor((now - date) / 60_000);
    if (minutes < 1) return "just now";
    if (minutes < 60) return `${minutes} min ago`;
    const today = new Date(now).toDateString() === date.toDateString();
    return today ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
      : date.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
  }

  /** Seconds since a time of the server, or between two. */
  const since = (start, end = null) =>
    Math.max(0, ((end ? new Date(end) : Date.now() + ahead_ms) - new Date(start)) / 1000);

  /** Learns the server's clock from an answer. */
  function setClock(response) {
    const date = Date.parse(response.headers.get("Date"));
    if (date && Math.abs(date - Date.now()) > 2000) ahead_ms = date - Date.now();
    return response;
  }

  const problemTitle = (code) => words.problems[code] || "It could not be done";
  const length = (seconds) => (seconds === null ? "" : clock(seconds, 0));

  /** Tells a screen reader, without moving anything. */
  const say = (text) => { byId("said").textContent = text; };

  Object.assign(Reelscope, {
    STATES, ENDED, nameOf, analyzer, ordered, share, bytes, when, since, setClock, problemTitle, length, say,
  });
})();
