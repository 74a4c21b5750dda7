// The service as the page sees it: requests, the sign-in, uploads with progress, and a job's events.
"use strict";
(() => {
  const { byId } = Reelscope;
  const RETRY_MS = [500, 1000, 2000, 4000, 8000];
  const SILENCE_MS = 45_000; // three heartbeats: the connection is dead though nobody has said so
  const SIGNED_IN = "reelscope_signed_in=yes";

  /** An error as the service tells it (RFC 9457), or as we tell that the service is not there. */
  class Problem extends Error {
    constructor({ title, detail, code = "", status = 0, retryAfter = null }) {
      super(detail ? `${title}: ${detail}` : title);
      Object.assign(this, { title, detail: detail || "", code, status, retryAfter });
    }
  }

  const offline = () => new Problem({
    code: "offline", title: "The service does not answer", detail: "check the network and that it still runs" });

  function problemFrom(status, text, retryAfter) {
    try {
      return new Problem({ ...JSON.parse(text), status, retryAfter: Number(retryAfter) || null });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return new Problem({ title: `The service answered ${status}`, detail: "", status });
    }
  }

  /** fetch that signs in when asked to and throws a `Problem` for everything but success. */
  async function call(path, options = {}) {
    for (;;) {
      let response;
      try {
        response = await fetch(path, { cache: "no-store", ...options });
      } catch (error) {
        throw error.name === "AbortError" ? error : offline();
      }
      if (response.ok) return response;
      const problem = problemFrom(response.status, await response.text(), response.headers.get("Retry-After"));
      if (response.status !== 401) throw problem;
      await signIn();
    }
  }

  const json = async (path, options) => (await call(path, options)).json();
  const post = (path, body, headers = {}) => call(path, {
    method: "POST", headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) });

  /** A key for Idempotency-Key: sending the same request again, after a lost answer, makes no second job. */
  function newKey() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  // Signing in ------------------------------------------------------------------------------------------------------

  let waiting = null;

  /** Shows the form in place of the page until a key was accepted. */
  function signIn() {
    waiting ??= new Promise((resolve) => {
      const form = byId("sign-in-form"), back = document.activeElement;
      byId("sign-in").hidden = false;
      byId("main").hidden = true;
      byId("sign-out").hidden = true;
      byId("key").focus();
      form.onsubmit = async (event) => {
        event.preventDefault();
        const wrong = await tryKey(byId("key").value);
        byId("key-wrong").textContent = wrong;
        if (wrong) return byId("key").select();
        byId("key").value = "";
        byId("sign-in").hidden = true;
        byId("main").hidden = false;
        remember(true);
        waiting = null;
        if (back && back !== document.body) back.focus();
        else byId("main").querySelector("[tabindex='-1']").focus();
        resolve();
      };
    });
    return waiting;
  }

  /** What is wrong with the key; nothing if the service took it. */
  async function tryKey(key) {
    try {
      const response = await fetch("/v1/session", { method: "POST", cache: "no-store",
        headers: { "Content-Type": "application/json" }, body: JSON.stringify({ key }) });
      if (response.ok) return "";
      return response.status === 401 ? "That key is not known here."
        : problemFrom(response.status, await response.text(), null).message;
    } catch {
      return offline().message;
    }
  }

  /** The session's cookie cannot be read here, so another one notes that there is a session to be given up. */
  function remember(signedIn) {
    document.cookie = `${SIGNED_IN}; Path=/; SameSite=Strict${signedIn ? "" : "; Max-Age=0"}`;
    byId("sign-out").hidden = !signedIn;
  }

  byId("sign-out").hidden = !document.cookie.split("; ").includes(SIGNED_IN);
  byId("sign-out").addEventListener("click", async () => {
    await fetch("/v1/session", { method: "DELETE" });
    remember(false);
    location.assign("/");
  });

  // Uploads ---------------------------------------------------------------------------------------------------------

  /** Sends a form; `onProgress(sent, total)`. The promise has the Job; `abort()` rejects it with AbortError. */
  function upload(path, form, key, onProgress) {
    const request = new XMLHttpRequest();
    const answer = new Promise((resolve, reject) => {
      request.upload.addEventListener("progress", (event) => onProgress(event.loaded, event.total));
      request.addEventListener("load", () => {
        if (request.status >= 200 && request.status < 300) return resolve(JSON.parse(request.responseText));
        if (request.status === 401) return resolve(signIn().then(() => upload(path, form, key, onProgress).answer));
        reject(problemFrom(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      });
      request.addEventListener("error", () => reject(offline()));
      request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
      request.open("POST", path);
      request.setRequestHeader("Idempotency-Key", key);
      request.send(form);
    });
    return { answer, abort: () => request.abort() };
  }

  // Events ----------------------------------------------------------------------------------------------------------

  /** Splits text that comes in pieces into server-sent events `{id, type, data}` (WHATWG, "Server-sent events"). */
  function eventParser(emit) {
    let rest = "", event = { id: null, type: "message", data: [] };
    return (text) => {
      const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data.length) emit({ ...event, data: JSON.parse(event.data.join("\n")) });
          event = { id: null, type: "message", data: [] };
          continue;
        }
        const colon = line.indexOf(":"), name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (name === "id") event.id = value;
        else if (name === "event") event.type = value;
        else if (name === "data") event.data.push(value);
      }
    };
  }

  /** Waits, or less: a network that comes back is tried at once. */
  const pause = (ms) => new Promise((resolve) => {
    const end = () => { clearTimeout(timer); window.removeEventListener("online", end); resolve(); };
    const timer = setTimeout(end, ms);
    window.addEventListener("online", end);
  });

  /**
   * Follows a job's events to `done`. After a lost connection it goes on behind the last event it has seen.
   * `onLink(true or false)` says whether the connection stands. Throws the `Problem` that trying again does not mend.
   */
  async function followEvents(path, onEvent, onLink) {
    let last = null, ended = false, failures = 0;
    const take = (event) => {
      if (event.id !== null) last = event.id;
      if (event.type === "done") ended = true;
      onEvent(event.type, event.data, event.id);
    };
    while (!ended) {
      const stop = new AbortController();
      let alarm = setTimeout(() => stop.abort(), SILENCE_MS), retryAfter = null;
      try {
        const headers = { Accept: "text/event-stream", ...(last === null ? {} : { "Last-Event-ID": last }) };
        const response = await call(path, { headers, signal: stop.signal });
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(), parse = eventParser(take);
        for (;;) {
          const { done, value } = await reader.read().catch(() => { throw offline(); });
          if (done) break;
          clearTimeout(alarm);
          alarm = setTimeout(() => stop.abort(), SILENCE_MS);
          failures = 0;
          onLink(true);
          parse(value);
        }
      } catch (error) {
        const lost = error.name === "AbortError" || error.code === "offline" || error.status >= 500;
        if (!lost) throw error;
        retryAfter = error.retryAfter;
      } finally {
        clearTimeout(alarm);
      }
      if (ended) return;
      onLink(false);
      await pause(retryAfter ? retryAfter * 1000 : RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
    }
  }

  Object.assign(Reelscope, { Problem, call, json, post, newKey, upload, followEvents });
})();
