// The start: one video goes in by address or as a file.
"use strict";
(() => {
  const { byId, el, json, post, Problem } = Reelscope;
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
    const unwanted = new Set(checkboxes().filter((box) => !box.checked).map((box) => box.value));
    const names = Object.keys(health.analyzers), boxes = new Map(Object.keys(GROUPS).map((group) => [group, []]));
    for (const name of Reelscope.ordered(names)) {
      const { title, group } = Reelscope.analyzer(name), { state, reason } = health.analyzers[name];
      const off = state === "skipped" || state === "failed";
      const box = el("input", { type: "checkbox", name: "analyzer", value: name, disabled: off,
        checked: !off && !unwanted.has(name) });
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

  let sent = { what: "", key: "" };

  /** The same for the same request, so that one whose answer was lost makes no second job when it is sent again. */
  function keyOf(...what) {
    const text = JSON.stringify(what);
    if (sent.what !== text) sent = { what: text, key: Reelscope.newKey() };
    return sent.key;
  }

  async function sendUrl(url, names) {
    const body = { tiktok_url: url, ...(names.length ? { analyzers: names } : {}) };
    return (await post("/v1/jobs", body, { "Idempotency-Key": keyOf(url, names) })).json();
  }

  function sendFile(names) {
    const key = keyOf(file.name, file.size, file.lastModified, names);
    const form = new FormData(), began = performance.now(), bar = byId("upload-bar").parentElement;
    if (names.length) form.append("analyzers", names.join(",")); // before the file, so that it is read first
    form.append("file", file, file.name);
    byId("uploading").hidden = false;
    byId("stop").hidden = false;
    byId("stop").focus();
    Reelscope.say(`Uploading ${file.name}`);
    running = Reelscope.upload("/v1/jobs", form, key, (sent, total) => {
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
  for (const button of document.querySelectorAll("[data-check]")) {
    button.addEventListener("click", () => {
      for (const box of checkboxes()) box.checked = button.dataset.check === "all";
      count();
    });
  }
  window.addEventListener("beforeunload", (event) => { if (running) event.preventDefault(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  dropping();
  Reelscope.keepFresh(async () => { if (!health || health.status !== "ok") await look(); });
})();
