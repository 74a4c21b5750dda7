// The start: one video goes in by address or as a file, and the list of jobs under it keeps itself fresh.
"use strict";
(() => {
  const { byId, el, call, json, post, Problem } = Reelscope;
  const LIST_MS = 3000, PAGE = 50, SURE_MS = 4000;
  const GROUPS = { time: "Structure", picture: "Picture", people: "People", words: "Words", sound: "Sound",
    told: "Descriptions", other: "Others" };
  let file = null, running = null, health = null;

  const wrong = (text) => { byId("wrong").textContent = text; };
  const message = (error) => {
    if (!(error instanceof Problem)) throw error;
    return error.message;
  };

  // What to analyze -------------------------------------------------------------------------------------------------

  function choose(given) {
    file = given;
    byId("chosen").hidden = !file;
    byId("choose").hidden = Boolean(file);
    wrong("");
    if (!file) return;
    byId("file-name").textContent = file.name;
    byId("file-size").textContent = Reelscope.bytes(file.size);
    byId("go").focus();
  }

  function dropping() {
    let depth = 0; // dragenter and dragleave come for every element that is passed
    const carries = (event) => event.dataTransfer.types.includes("Files");
    const mark = (by) => {
      depth = by ? Math.max(depth + by, 0) : 0;
      document.body.classList.toggle("dropping", depth > 0);
    };
    document.addEventListener("dragenter", (event) => { if (carries(event)) mark(1); });
    document.addEventListener("dragleave", (event) => { if (carries(event)) mark(-1); });
    document.addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
    document.addEventListener("drop", (event) => {
      if (!carries(event)) return;
      event.preventDefault();
      mark(0);
      if (running) return;
      const files = event.dataTransfer.files;
      choose(files[0]);
      if (files.length > 1) wrong("One video at a time: the first was taken.");
    });
  }

  function groups() {
    const names = Object.keys(health.analyzers), boxes = new Map(Object.keys(GROUPS).map((group) => [group, []]));
    for (const name of Reelscope.ordered(names)) {
      const { title, group } = Reelscope.analyzer(name), { state, reason } = health.analyzers[name];
      const off = state === "skipped" || state === "failed";
      const box = el("input", { type: "checkbox", name: "analyzer", value: name, checked: !off, disabled: off });
      box.addEventListener("change", count);
      boxes.get(group).push(el("label", { className: off ? "off" : "", title: reason || name }, box,
        el("span", {}, title, off ? el("small", { textContent: reason || state }) : null)));
    }
    byId("groups").replaceChildren(...[...boxes].filter(([, labels]) => labels.length).map(([group, labels]) =>
      el("fieldset", {}, el("legend", { textContent: GROUPS[group] }), ...labels)));
    count();
  }

  const checkboxes = () => [...document.querySelectorAll("[name=analyzer]:not(:disabled)")];
  const checked = () => checkboxes().filter((box) => box.checked).map((box) => box.value);

  function count() {
    const all = checkboxes().length, n = checked().length;
    byId("which-count").textContent = n === all ? `all ${all}` : `${n} of ${all}`;
  }

  /** Names to ask for; none when all are wanted, which is what the service does without names. */
  const wanted = () => (checked().length === checkboxes().length ? [] : checked());

  // Sending it ------------------------------------------------------------------------------------------------------

  async function submit() {
    const url = byId("url").value.trim(), names = wanted();
    if (!file && !url) return refuse("Paste the address of a post, or choose a video.", byId("url"));
    if (!file && !URL.canParse(url)) return refuse("That is not an address: it begins with https://", byId("url"));
    if (checkboxes().length && !checked().length) {
      byId("which").open = true;
      return refuse("Choose at least one analyzer.", checkboxes()[0]);
    }
    wrong("");
    busy(true);
    try {
      const job = await (file ? sendFile(names) : sendUrl(url, names));
      running = null;
      location.assign(job.links.page);
    } catch (error) {
      wrong(error.name === "AbortError" ? "The upload was cancelled." : message(error));
      busy(false);
      byId("go").focus();
    }
  }

  function refuse(text, field) {
    wrong(text);
    field.focus();
  }

  async function sendUrl(url, names) {
    const body = { tiktok_url: url, ...(names.length ? { analyzers: names } : {}) };
    return (await post("/v1/jobs", body, { "Idempotency-Key": Reelscope.newKey() })).json();
  }

  function sendFile(names) {
    const form = new FormData(), began = performance.now(), bar = byId("upload-bar").parentElement;
    if (names.length) form.append("analyzers", names.join(",")); // before the file, so that it is read first
    form.append("file", file, file.name);
    byId("uploading").hidden = false;
    byId("stop").hidden = false;
    byId("stop").focus();
    Reelscope.say(`Uploading ${file.name}`);
    running = Reelscope.upload("/v1/jobs", form, Reelscope.newKey(), (sent, total) => {
      const percent = Math.floor((sent / total) * 100), left = (performance.now() - began) / 1000 * (total / sent - 1);
      byId("upload-bar").style.width = `${percent}%`;
      bar.setAttribute("aria-valuenow", String(percent));
      byId("upload-text").textContent = sent < total
        ? `${Reelscope.bytes(sent)} of ${Reelscope.bytes(total)}${left > 2 ? `, about ${Math.ceil(left)} s left` : ""}`
        : "Uploaded; the service takes it in.";
    });
    return running.answer;
  }

  function busy(sending) {
    if (!sending) running = null;
    byId("go").disabled = sending;
    byId("go").textContent = sending ? "Sending…" : "Analyze";
    byId("unchoose").hidden = sending;
    byId("url").readOnly = sending;
    if (!sending) {
      byId("uploading").hidden = true;
      byId("stop").hidden = true;
    }
  }

  // Jobs ------------------------------------------------------------------------------------------------------------

  const rows = new Map(); // by the job's id: its element, and the text of the job that is drawn

  function row(job) {
    const known = rows.get(job.id), text = JSON.stringify(job) + Reelscope.when(job.created_at);
    if (known && known.text === text) return known.node;
    const node = known ? known.node : el("li", { className: "job-row" });
    const name = Reelscope.nameOf(job), ended = Reelscope.ENDED.has(job.state);
    const percent = Math.round(Reelscope.share(job) * 100), had = node.contains(document.activeElement);
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
    if (!ended) node.append(el("span", { className: "job-bar", style: { width: `${percent}%` }, "aria-hidden": "true" }));
    if (had) node.querySelector("button").focus();
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
      await call(job.links.self, { method: "DELETE" });
    } catch (error) {
      byId("past-wrong").textContent = message(error);
      return;
    }
    Reelscope.say(Reelscope.ENDED.has(job.state) ? "Deleted" : "Cancelled");
    byId("past-title").focus();
    await refresh();
  }

  let listed = [], next = null;

  async function refresh() {
    const first = await (Reelscope.setClock(await call(`/v1/jobs?limit=${PAGE}`))).json();
    const fresh = new Set(first.jobs.map((job) => job.id)), last = first.jobs.at(-1);
    const older = first.next === null ? [] // what "Older jobs" has brought stays under what is new
      : listed.filter((job) => !fresh.has(job.id) && job.created_at <= last.created_at);
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

  /** Looks again while something moves and somebody looks. */
  async function keepFresh() {
    for (;;) {
      try {
        if (!document.hidden) {
          await refresh(); // first, as it asks for the key where one is needed
          if (!health || health.status !== "ok") await look();
        }
      } catch (error) {
        byId("past-wrong").textContent = message(error);
      }
      const moves = listed.some((job) => !Reelscope.ENDED.has(job.state));
      await new Promise((resolve) => setTimeout(resolve, moves || !health ? LIST_MS : 4 * LIST_MS));
    }
  }

  // The service -----------------------------------------------------------------------------------------------------

  async function look() {
    const before = health && health.status;
    health = await json("/health");
    if (before !== health.status) groups();
    byId("state").textContent = {
      starting: "The analyzers are loading; jobs wait for them.",
      degraded: "Some analyzers did not load.",
      stopping: "The service is being stopped.",
    }[health.status] || "";
    byId("limits").textContent = limits(health.limits);
  }

  function limits(known) {
    const minutes = Math.floor(known["limits.duration_s_max"] / 60);
    const length = minutes < 120 ? `${minutes} minutes` : `${Number((minutes / 60).toFixed(1))} hours`;
    return `up to ${Reelscope.bytes(known["limits.bytes_max"])} and ${length}`;
  }

  byId("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  byId("file").addEventListener("change", (event) => choose(event.target.files[0] || null));
  byId("unchoose").addEventListener("click", () => {
    byId("file").value = "";
    choose(null);
    byId("file").focus();
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("more").addEventListener("click", () => older().catch((error) => {
    byId("past-wrong").textContent = message(error);
  }));
  for (const button of document.querySelectorAll("[data-check]")) {
    button.addEventListener("click", () => {
      for (const box of checkboxes()) box.checked = button.dataset.check === "all";
      count();
    });
  }
  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  dropping();
  keepFresh();
})();
