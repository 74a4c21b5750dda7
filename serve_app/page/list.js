// The list of jobs on the start: it keeps itself fresh, and jobs are opened, cancelled and deleted from it.
"use strict";
(() => {
  const { byId, el, call, json, Problem } = Reelscope;
  const MOVING_MS = 2000, STILL_MS = 6000, PAGE = 50, SURE_MS = 4000;

  const message = (error) => {
    if (!(error instanceof Problem)) throw error;
    return error.message;
  };

  const rows = new Map(); // by the job's id: its element, and the text of the job that is drawn

  function row(job) {
    const known = rows.get(job.id), text = JSON.stringify(job) + Reelscope.when(job.created_at);
    if (known && known.text === text) return known.node;
    const node = known ? known.node : el("li", { className: "job-row" });
    const name = Reelscope.nameOf(job), ended = Reelscope.ENDED.has(job.state);
    const percent = Math.round(Reelscope.share(job) * 100);
    const had = node.contains(document.activeElement) && document.activeElement.tagName;
    const state = job.state === "running" || job.state === "fetching" ? `${Reelscope.STATES[job.state]} ${percent} %`
      : job.state === "queued" && job.position ? `Waiting, ${job.position} before it` : Reelscope.STATES[job.state];
    const failed = Object.values(job.analyzers).filter((one) => one.status === "failed").length;
    node.replaceChildren(
      el("span", { className: `pill ${job.state}`, textContent: state }),
      el("a", { className: "job-name", href: job.links.page, textContent: name, title: job.source }),
      el("span", { className: "job-note", textContent: job.error ? Reelscope.problemTitle(job.error.code)
        : failed ? `${failed} analyzer${failed > 1 ? "s" : ""} failed` : job.based_on ? "run again" : "" }),
      el("span", { className: "job-length", textContent: Reelscope.length(job.duration_s) }),
      el("time", { className: "job-when", dateTime: job.created_at, textContent: Reelscope.when(job.created_at),
        title: new Date(job.created_at).toLocaleString() }),
      ended ? remover(job, name) : stopper(job, name));
    if (!ended) {
      node.append(el("span", { className: "job-bar", style: { width: `${percent}%` }, "aria-hidden": "true" }));
    }
    if (had) node.querySelector(had).focus();
    rows.set(job.id, { node, text });
    return node;
  }

  function stopper(job, name) {
    const button = el("button", { type: "button", textContent: "Cancel", "aria-label": `Cancel ${name}` });
    button.addEventListener("click", () => remove(job));
    return button;
  }

  /** Deletes on the second press: the report goes for good. */
  function remover(job, name) {
    const button = el("button", { type: "button", textContent: "Delete", "aria-label": `Delete ${name}` });
    let sure = false;
    button.addEventListener("click", () => {
      if (sure) return remove(job);
      sure = true;
      button.classList.add("sure");
      button.textContent = "Really?";
      button.setAttribute("aria-label", `Press again to delete ${name} for good`);
      setTimeout(() => button.isConnected && button.replaceWith(remover(job, name)), SURE_MS);
    });
    return button;
  }

  async function remove(job) {
    try {
      const gone = Reelscope.ENDED.has(job.state);
      await call(`${job.links.self}?keep=${!gone}`, { method: "DELETE" });
      if (gone) listed = listed.filter((one) => one.id !== job.id);
      Reelscope.say(gone ? "Deleted" : "Cancelled");
      byId("past-title").focus();
      await refresh();
    } catch (error) {
      byId("past-wrong").textContent = message(error);
    }
  }

  let listed = [], next = null;

  async function refresh() {
    const first = await (Reelscope.setClock(await call(`/v1/jobs?limit=${PAGE}`))).json();
    const fresh = new Set(first.jobs.map((job) => job.id)), last = first.jobs.at(-1);
    const older = first.next === null ? [] // what "Older jobs" has brought stays under what is new
      : listed.filter((job) => !fresh.has(job.id) && new Date(job.created_at) <= new Date(last.created_at));
    if (!older.length) next = first.next;
    list([...first.jobs, ...older]);
  }

  async function older() {
    const page = await json(`/v1/jobs?limit=${PAGE}&before=${encodeURIComponent(next)}`);
    const from = listed.length;
    next = page.next;
    list([...listed, ...page.jobs]);
    byId("jobs").children[from]?.querySelector("a").focus();
  }

  function list(jobs) {
    listed = jobs;
    const there = new Set(jobs.map((job) => job.id));
    for (const [id, { node }] of rows) if (!there.has(id)) { node.remove(); rows.delete(id); }
    jobs.map(row).forEach((node, at) => {
      if (byId("jobs").children[at] !== node) byId("jobs").insertBefore(node, byId("jobs").children[at] || null);
    });
    byId("none").hidden = jobs.length > 0;
    byId("more").hidden = next === null;
    byId("past-wrong").textContent = "";
  }

  /** Looks again while somebody looks, oftener while something moves. `also` is done each time, signed in. */
  Reelscope.keepFresh = async (also) => {
    for (;;) {
      try {
        if (!document.hidden) {
          await refresh(); // first, as it asks for the key where one is needed
          await also();
        }
      } catch (error) {
        byId("past-wrong").textContent = message(error);
      }
      const moves = listed.some((job) => !Reelscope.ENDED.has(job.state));
      await new Promise((resolve) => setTimeout(resolve, moves ? MOVING_MS : STILL_MS));
    }
  };

  byId("more").addEventListener("click", () => older().catch((error) => {
    byId("past-wrong").textContent = message(error);
  }));
})();
