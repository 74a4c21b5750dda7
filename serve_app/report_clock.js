// The one clock that everything follows: the video, or a stand-in without one; and the boxes over the picture.
"use strict";
(() => {
  const { byId, el, clock, itemAt } = Reelscope;
  const followers = [];
  let data = null, player = null, standIn = { time: 0, from: null }, drawn = -1;

  const now = () => (player ? player.currentTime : standInNow());
  const playing = () => (player ? !player.paused && !player.ended : standIn.from !== null);

  function standInNow() {
    if (standIn.from === null) return standIn.time;
    const time = standIn.time + (performance.now() - standIn.from) / 1000;
    if (time < data.duration_s) return time;
    standIn = { time: data.duration_s, from: null };
    return data.duration_s;
  }

  function seek(time) {
    const to = Math.min(Math.max(time, 0), data.duration_s);
    if (player) player.currentTime = to;
    else standIn = { time: to, from: standIn.from === null ? null : performance.now() };
    show(to);
  }

  function toggle() {
    if (player && playing()) return player.pause();
    if (player) {
      player.play().catch((error) => { if (error.name === "NotSupportedError") withoutPlayer(error.message); });
      return;
    }
    if (playing()) standIn = { time: standInNow(), from: null };
    else standIn = { time: standIn.time >= data.duration_s ? 0 : standIn.time, from: performance.now() };
    requestAnimationFrame(tick);
  }

  function show(time) {
    if (time === drawn) return;
    drawn = time;
    for (const follower of followers) follower(time);
  }

  function tick() {
    show(now());
    transportState();
    if (playing()) requestAnimationFrame(tick);
  }

  function transportState() {
    const button = byId("play");
    const label = playing() ? "Pause" : "Play";
    if (button.getAttribute("aria-label") === label) return;
    button.setAttribute("aria-label", label);
    button.textContent = playing() ? "❚❚" : "▶";
  }

  function note(text) {
    byId("medium-note").textContent = text;
    byId("medium-note").hidden = !text;
    if (text && data.medium.href) {
      byId("medium-note").append(" ", el("a", { href: data.medium.href, textContent: "The file itself" }), ".");
    }
  }

  /** Goes on with the stand-in clock: lanes, boxes and lists work as before, on an empty picture. */
  function withoutPlayer(why) {
    const time = player ? player.currentTime || 0 : 0;
    if (player) player.remove();
    player = null;
    standIn = { time, from: null };
    for (const id of ["mute", "rate", "full"]) byId(id).hidden = true;
    byId("screen").classList.add("empty");
    note(why);
  }

  function mediumSource() {
    if (!data.medium.embedded) return data.medium.plays === "no" ? null : data.medium.href;
    const block = byId("medium");
    const packed = atob(block.textContent.trim());
    block.textContent = "";
    const bytes = new Uint8Array(packed.length);
    for (let at = 0; at < packed.length; at++) bytes[at] = packed.charCodeAt(at);
    return URL.createObjectURL(new Blob([bytes], { type: data.medium.mime }));
  }

  function startPlayer() {
    const screen = byId("screen"), shape = data.picture ? data.picture[0] / data.picture[1] : 0;
    document.body.dataset.shape = !shape ? "sound" : shape < 0.9 ? "portrait" : "landscape";
    if (shape) screen.style.setProperty("--shape", String(shape));
    note(data.medium.note);
    const source = mediumSource();
    if (!source) return withoutPlayer(data.medium.note || "There is no file to play.");
    player = el(data.medium.kind, { preload: "auto", playsInline: true });
    player.setAttribute("aria-label", data.name);
    player.addEventListener("error", () => withoutPlayer(
      `This browser cannot play the file (${player && player.error ? player.error.message || "unknown format" : "?"}). `
      + "The clock below runs without it."));
    for (const kind of ["play", "pause", "ended", "seeked", "timeupdate"]) player.addEventListener(kind, tick);
    player.addEventListener("click", toggle);
    player.addEventListener("loadedmetadata", () => { // what is shown, with pixels that are not square
      if (!player || !player.videoWidth) return;
      screen.style.setProperty("--shape", String(player.videoWidth / player.videoHeight));
    });
    player.src = source;
    screen.prepend(player);
    playerButtons(screen);
  }

  function playerButtons(screen) {
    const rates = [1, 0.5, 0.25, 2];
    byId("mute").hidden = !data.heard;
    byId("full").hidden = data.medium.kind !== "video" || !document.fullscreenEnabled;
    byId("mute").addEventListener("click", () => {
      player.muted = !player.muted;
      byId("mute").setAttribute("aria-pressed", String(player.muted));
    });
    byId("rate").addEventListener("click", () => {
      player.playbackRate = rates[(rates.indexOf(player.playbackRate) + 1) % rates.length];
      byId("rate").textContent = `${player.playbackRate}×`;
    });
    byId("full").addEventListener("click", () => screen.requestFullscreen());
  }

  /** Space, arrows, comma and full stop, wherever the focus is not in something that needs them itself. */
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.target;
    const own = target.closest("button, a, summary, input, select, textarea, [data-keys]");
    if (own && own !== byId("screen")) return;
    const moves = {
      ArrowLeft: event.shiftKey ? -5 : -1, ArrowRight: event.shiftKey ? 5 : 1,
      ",": -data.frame_s, ".": data.frame_s, Home: -Infinity, End: Infinity,
    };
    if (event.key === " ") toggle();
    else if (event.key in moves && (byId("screen").contains(target) || !/Home|End/.test(event.key))) {
      seek(Math.min(Math.max(now() + moves[event.key], 0), data.duration_s));
    } else return;
    event.preventDefault();
  }

  // Boxes over the picture -------------------------------------------------------------------------------------------

  const pool = [];
  let colors = [];

  function drawBoxes(time) {
    let used = 0;
    for (const layer of data.boxes) {
      const at = layer.on ? itemAt(layer.steps, time) : -1;
      for (let step = at; step >= 0 && layer.steps[step][1] > time; step--) {
        for (const box of layer.steps[step][2]) drawBox(used++, box, layer);
      }
    }
    for (let at = used; at < pool.length; at++) pool[at].hidden = true;
  }

  function drawBox(place, [x0, y0, x1, y1, label, kind], { bare, group }) {
    if (!pool[place]) {
      pool.push(el("div", { className: "box" }, el("span")));
      byId("boxes").append(pool[place]);
    }
    const node = pool[place], part = (share) => `${Math.min(Math.max(share, 0), 1) * 100}%`;
    node.hidden = false;
    node.classList.toggle("bare", bare);
    node.classList.toggle("low", y0 < 0.06);
    node.style.left = part(x0);
    node.style.top = part(y0);
    node.style.width = part(x1 - x0);
    node.style.height = part(y1 - y0);
    node.style.setProperty("--hue", colors[Reelscope.hueOf(group, kind)]);
    node.firstChild.textContent = bare ? "" : label;
  }

  function layerSwitches() {
    if (!data.picture) return;
    for (const layer of data.boxes) {
      const box = el("input", { type: "checkbox", checked: layer.on });
      box.addEventListener("change", () => { layer.on = box.checked; drawBoxes(now()); });
      byId("layers").append(el("label", {}, box, layer.title));
    }
    if (data.boxes.length) byId("layers").prepend(el("span", { textContent: "Boxes" }));
  }

  /** Brings the player up. Of the page's data it needs name, duration_s, frame_s, picture, heard, medium and boxes. */
  function startClock(given) {
    data = given;
    startPlayer();
    followers.push(drawBoxes, (time) => {
      byId("time").textContent = `${clock(time)} / ${clock(data.duration_s)}`;
      byId("seek").value = String(time);
      byId("seek").setAttribute("aria-valuetext", clock(time));
    });
    byId("play").addEventListener("click", toggle);
    byId("seek").addEventListener("input", (event) => seek(Number(event.target.value)));
    document.addEventListener("keydown", onKey);
    Reelscope.onTheme(() => { colors = Reelscope.theme().edges; refresh(); });
    updateClock(given);
  }

  /** The whole data in place of what was known at first; what plays goes on playing. */
  function updateClock(given) {
    data = given;
    if (!player && data.medium.note) note(data.medium.note);
    colors = Reelscope.theme().edges;
    byId("seek").max = String(data.duration_s);
    byId("layers").replaceChildren();
    layerSwitches();
    refresh();
  }

  function refresh() {
    drawn = -1;
    show(now());
  }

  Object.assign(Reelscope, {
    seek, now, playing, startClock, updateClock, refresh, follow: (follower) => followers.push(follower),
  });
})();
