// One job: followed live to its end, and then, in the same place and without a reload, its timeline.
"use strict";
(() => {
  const { byId, el, call, json, post, Problem, STATES, ENDED } = Reelscope;
  const SAY_MS = 10_000, SURE_MS = 4000, STORE_RETRY_MS = 1000;
  const id = decodeURIComponent(location.pathname.split("/").pop()), path = `/v1/jobs/${encodeURIComponent(id)}`;
  let job = null, playing = false, said = 0, ticking = 0;

  // The job's state -------------------------------------------------------------------------------------------------

  function render(next) {
    job = next;
    const name = Reelscope.nameOf(job), ended = ENDED.has(job.state);
    byId("name").textContent = name;
    byId("cancel").hidden = ended;
    byId("delete").hidden = !ended;
    byId("downloads").hidden = job.state !== "done";
    if (job.state !== "done") chips();
    if (Object.keys(job.analyzers).length) Reelscope.setRows(Object.keys(job.analyzers), job.duration_s);
    for (const [analyzer, state] of Object.entries(job.analyzers)) {
      Reelscope.setProgress(analyzer, state.done_s, job.duration_s);
    }
    showPlayer(name);
    showProgress();
  }

  function chips() {
    const count = job.wanted ? job.wanted.length : 0;
    const texts = [Reelscope.length(job.duration_s),
      count ? `${count} analyzer${count > 1 ? "s" : ""} asked for` : "",
      job.attempts > 1 ? `begun ${job.attempts} times` : ""];
    byId("chips").replaceChildren(...texts.filter(Boolean).map((text) => el("li", { textContent: text })), ...origin());
  }

  /** Where the job comes from, as chips: its post, the job it is based on, the store. */
  function origin() {
    const post = job.source_kind === "url" && /^https:/.test(job.source) && el("a", { href: job.source,
      textContent: "the post", target: "_blank", rel: "noopener noreferrer" });
    const before = job.based_on && el("a", { href: `/jobs/${encodeURIComponent(job.based_on)}`,
      textContent: "based on an earlier job" });
    return [post, before, job.from_store && "the same video as before: answered from the store"].filter(Boolean)
      .map((chip) => el("li", {}, chip));
  }

  function showProgress() {
    const [done, all] = Reelscope.counts(), percent = Math.floor(Reelscope.share(job) * 100);
    const bytes = job.fetch_bytes ? `${Reelscope.bytes(job.fetched_bytes || 0)} of ${Reelscope.bytes(job.fetch_bytes)}`
      : job.fetched_bytes ? Reelscope.bytes(job.fetched_bytes) : "";
    const text = {
      queued: job.position ? `Waiting: ${job.position} job${job.position > 1 ? "s" : ""} before it`
        : "Waiting to begin",
      fetching: `Fetching the post${bytes ? `: ${bytes}` : ""}`,
      running: all ? `Analyzing: ${done} of ${all} analyzers done` : "Reading the video",
    }[job.state];
    byId("hint").textContent = job.state === "queued" ? "This page goes on by itself; you may also leave and come back."
      : job.state === "running" && done ? "What is found shows here at once; the timeline follows when all have ended."
        : "";
    byId("hint").hidden = !byId("hint").textContent;
    if (!text) return;
    byId("progress-title").textContent = text;
    const known = job.state === "running" || (job.state === "fetching" && job.fetch_bytes);
    byId("whole").hidden = job.state === "queued";
    byId("whole").classList.toggle("unknown", !known);
    byId("whole").firstElementChild.style.width = known ? `${percent}%` : "";
    if (known) byId("whole").setAttribute("aria-valuenow", String(percent));
    else byId("whole").removeAttribute("aria-valuenow");
    const far = job.state === "queued" ? STATES.queued : `${percent} %`;
    document.title = `${far} · ${Reelscope.nameOf(job)} · Reelscope`;
    if (performance.now() - said < SAY_MS) return;
    said = performance.now();
    Reelscope.say(text);
  }

  /** The video plays as soon as the service has it and knows what it is. */
  function showPlayer(name) {
    if (playing || !job.video || ENDED.has(job.state)) return;
    playing = true;
    const { duration_s, fps, width, height, has_video, has_audio } = job.video;
    const href = job.links.media;
    Reelscope.startClock({
      name, duration_s: Math.max(duration_s, 0.001), frame_s: fps > 0 ? 1 / fps : 0.04, heard: has_audio, boxes: [],
      picture: has_video ? [width, height] : null,
      medium: { kind: has_video ? "video" : "audio", mime: "", plays: "some", embedded: false, href, note: "" },
    });
    document.body.classList.add("playable");
  }

  function tick() {
    const from = job.started_at || job.created_at;
    byId("elapsed").textContent = Reelscope.clock(Reelscope.since(from, job.ended_at), 0);
  }

  // Its events ------------------------------------------------------------------------------------------------------

  function onEvent(type, data, number) {
    if (type === "job") render(data);
    else if (type === "done") job = data;
    else if (type === "progress") {
      const { fetched_bytes, fetch_bytes } = data;
      if (fetched_bytes !== undefined) Object.assign(job, { fetched_bytes, fetch_bytes });
      for (const [name, { done_s, total_s }] of Object.entries(data.analyzers)) {
        Reelscope.setProgress(name, done_s, total_s);
        if (job.analyzers[name]) job.analyzers[name].done_s = done_s;
      }
      showProgress();
    } else if (type === "analyzer.completed" || type === "analyzer.failed") {
      Reelscope.setResult(data);
      if (data.status === "ok") {
        json(`${path}/lanes/${number}`).then(Reelscope.setLane, (error) => {
          if (!(error instanceof Problem)) throw error; // else the row has no lane until the timeline is there
        });
      }
      if (job.analyzers[data.name]) job.analyzers[data.name].status = data.status;
      showProgress();
    }
  }

  function onLink(stands) {
    if (byId("lost").hidden === stands) return;
    byId("lost").hidden = stands;
    byId("lost").textContent = stands ? "" : "The connection is lost. Trying again; the job goes on meanwhile.";
  }

  // Its end ---------------------------------------------------------------------------------------------------------

  async function end(live) {
    clearInterval(ticking);
    render(job);
    tick();
    if (job.state === "done") await showTimeline(live);
    else showEnd(job.state, job.error);
  }

  async function showTimeline(live) {
    const [data] = await Promise.all([json(`${path}/timeline`), plotly()]);
    const inside = byId("progress").contains(document.activeElement);
    byId("progress").hidden = true;
    byId("timeline").hidden = false;
    byId("chips").replaceChildren();
    document.body.classList.add("playable", "done");
    document.querySelector(".skip").href = "#timeline";
    if (!playing) Reelscope.startClock(data);
    playing = true;
    await Reelscope.showReport(data, again);
    byId("chips").append(...origin());
    document.title = `${data.name} · Reelscope`;
    const counts = Object.entries(data.statuses).filter(([, n]) => n).map(([status, n]) => `${n} ${status}`).join(", ");
    if (live) Reelscope.say(`The timeline is there: ${counts}`);
    if (inside) byId("timeline-title").focus();
  }

  /** plotly comes beside everything else and is needed only now. */
  function plotly() {
    const script = byId("plotly");
    if (window.Plotly) return null;
    return new Promise((resolve, reject) => {
      script.addEventListener("load", resolve);
      script.addEventListener("error", () => reject(new Problem({ title: "The timeline's script did not load",
        detail: "reload this page" })));
    });
  }

  const ADVICE = {
    post_private: "Ask its owner, or save the video yourself and upload the file.",
    post_login_needed: "Save the video yourself and upload the file, or give the service a cookies file.",
    post_geo_blocked: "Save the video yourself and upload the file, or give the service a proxy elsewhere.",
    post_removed: "Check the address. If you have the video, upload the file.",
    host_rate_limited: "Try again in some minutes.",
    host_unreachable: "Try again in some minutes.",
    fetch_timed_out: "Try again; a large post over a slow line may need a longer limit.",
    extractor_broken: "Update yt-dlp, or save the video yourself and upload the file.",
    media_unreadable: "Check that the file plays elsewhere; converting it to MP4 (H.264 and AAC) often helps.",
    decoder_crashed: "Converting it to MP4 (H.264 and AAC) often helps.",
    quota_exceeded: "It is full again tomorrow.",
    internal: "Try again. The service's log has the cause under this job's request id.",
  };

  function showEnd(state, error) {
    byId("progress").hidden = !Reelscope.counts()[0]; // what was found until then stays in sight
    byId("progress-title").textContent = "Found until then";
    byId("whole").hidden = true;
    byId("hint").hidden = true;
    const failed = state === "failed";
    document.body.classList.toggle("bare", !playing);
    const title = failed ? Reelscope.problemTitle(error && error.code) : "This job was cancelled";
    const id = job && job.request_id && failed ? ` Request id ${job.request_id}.` : "";
    showText(title, error ? error.detail : "", failed ? (ADVICE[error && error.code] || "") + id : "");
    document.title = `${STATES[state]} · ${Reelscope.nameOf(job)} · Reelscope`;
    byId("ended").classList.toggle("failed", failed);
    if (job.source_kind !== "upload") byId("ended-actions").append(button("Try again", "primary", retry));
    byId("ended-actions").append(el("a", { className: "button", href: "/", textContent: "Another video" }));
  }

  function showText(title, detail, advice) {
    byId("ended-title").textContent = title;
    byId("ended-text").textContent = detail;
    byId("ended-advice").textContent = advice;
    byId("ended").hidden = false;
    byId("ended-actions").replaceChildren();
    document.querySelector(".skip").href = "#ended-title";
    byId("ended-title").focus({ preventScroll: true });
  }

  /** The service does not know the job, or could not be asked. */
  function stop(problem) {
    clearInterval(ticking);
    byId("progress").hidden = true;
    byId("cancel").hidden = true;
    const unknown = problem.status === 404 || problem.status === 422; // no job could have such an id
    if (!job) byId("name").textContent = unknown ? "Unknown job" : "Reelscope";
    document.body.classList.toggle("bare", !playing);
    showText(unknown ? "There is no such job" : problem.title,
      unknown ? "It was deleted, its time was up, or the address has a mistake." : problem.detail, "");
    byId("ended-actions").append(
      unknown ? "" : button("Try again", "primary", () => location.reload()),
      el("a", { className: "button", href: "/", textContent: "All jobs" }));
  }

  // What can be done with it ----------------------------------------------------------------------------------------

  function button(text, className, onClick) {
    const node = el("button", { type: "button", className, textContent: text });
    node.addEventListener("click", onClick);
    return node;
  }

  /** Does what a button says; what goes wrong is told in the alert line, and the button can be pressed again. */
  async function act(node, what) {
    node.disabled = true;
    byId("trouble").hidden = true;
    try {
      await what();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      byId("trouble").textContent = error.message;
      byId("trouble").hidden = false;
    } finally {
      node.disabled = false;
    }
  }

  const goTo = async (response) => location.assign((await response.json()).links.page);

  function retry(event) {
    const body = { [job.source_kind === "url" ? "tiktok_url" : "video_path"]: job.source,
      ...(job.wanted ? { analyzers: job.wanted } : {}) };
    act(event.target, async () => goTo(await post("/v1/jobs", body)));
  }

  /** The end of an analyzer's row: once more, everything else taken over. */
  function again(analyzer) {
    if (!job.media_kept) return null;
    const node = button("Run again", "", () => act(node, async () =>
      goTo(await post(`${path}/rerun`, { analyzers: [analyzer.name] }))));
    node.setAttribute("aria-label", `Run ${analyzer.title} again`);
    return node;
  }

  function actions() {
    const cancel = byId("cancel"), remove = byId("delete"), menu = byId("downloads");
    cancel.addEventListener("click", () => act(cancel, () => call(`${path}?keep=true`, { method: "DELETE" })));
    remove.addEventListener("click", () => {
      if (remove.classList.toggle("sure")) {
        remove.textContent = "Delete for good?";
        setTimeout(() => { remove.classList.remove("sure"); remove.textContent = "Delete"; }, SURE_MS);
        return;
      }
      act(remove, async () => { await call(path, { method: "DELETE" }); location.assign("/"); });
    });
    for (const link of menu.querySelectorAll("[data-format]")) {
      link.href = `${path}/result?format=${link.dataset.format}`;
    }
    document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !menu.open) return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }

  async function begin() {
    byId("timeline").hidden = true;
    actions();
    render(await Reelscope.setClock(await call(path)).json());
    if (ENDED.has(job.state)) return end(false);
    tick();
    ticking = setInterval(tick, 1000);
    await Reelscope.followEvents(`${path}/events`, onEvent, onLink);
    await end(true);
  }

  begin().catch((error) => {
    if (error instanceof Problem) stop(error);
    else Reelscope.trouble(error.message);
  });
})();
