// The live page: listens to the stream, and puts what changed, made by the server, in its place.
"use strict";
const live = document.getElementById("live");
const link = document.getElementById("link");
const lang = document.documentElement.lang.startsWith("zh") ? "zh" : "en";

function connected(on) {
  link.className = on ? "on" : "off";
  link.textContent = on ? link.dataset.on : link.dataset.off;
}

// Sound: a browser lets a page make one only after the reader has asked for it.
const sound = document.getElementById("sound");
let audio = null;
sound.addEventListener("click", () => {
  audio = audio ? null : new AudioContext();
  sound.setAttribute("aria-pressed", String(audio !== null));
  sound.textContent = audio ? sound.dataset.on : sound.dataset.off;
});

function beep(times) {
  if (!audio) return;
  for (let i = 0; i < times; i += 1) {
    const tone = audio.createOscillator();
    const gain = audio.createGain();
    tone.frequency.value = i % 2 ? 660 : 880;
    gain.gain.value = 0.2;
    tone.connect(gain).connect(audio.destination);
    tone.start(audio.currentTime + i * 0.25);
    tone.stop(audio.currentTime + i * 0.25 + 0.2);
  }
}

async function page(path) {
  const answer = await fetch(`${path}?lang=${lang}`);
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) return null;
  const box = document.createElement("template");
  box.innerHTML = await answer.text();
  return box.content.firstElementChild;
}

// A life is shown by itself, at once. Everything else is put in place a group at a time, so that a storm is a few requests.
const due = new Map();
function refresh(section) {
  const name = section.dataset.name;
  if (due.has(name)) return;
  due.set(name, setTimeout(async () => {
    due.delete(name);
    const group = await page(`/live/${name}`);
    if (group) document.getElementById(`g-${name}`).replaceWith(group);
  }, 400));
}

function count(section) {
  section.querySelector(".count").textContent = section.querySelectorAll(".card").length;
}

async function show(change) {
  const section = [...document.querySelectorAll(".group")].find((s) => s.dataset.classes.split(" ").includes(change.class));
  if (!section) return;
  const loud = ["raised", "recurred", "worsened"].includes(change.step) && change.shown && !change.ended;
  if (change.class !== "life_safety") {
    if (loud && change.class !== "data" && change.class !== "compliance") beep(1);
    refresh(section);
    return;
  }
  if (loud) beep(change.drill ? 1 : 6);
  const old = document.getElementById(`alert-${change.alert}`);
  if (change.ended || !change.shown) {
    if (old) old.remove();
    count(section);
    return;
  }
  const card = await page(`/alerts/${change.alert}/card`);
  if (!card) return;
  card.classList.add("fresh");
  const current = document.getElementById(`alert-${change.alert}`);
  if (current) current.replaceWith(card);
  else section.querySelector(".cards").prepend(card);
  count(section);
}

let queue = Promise.resolve();
const stream = new EventSource(`/api/v1/stream?after=${live.dataset.place}`);
stream.addEventListener("hello", () => connected(true));
stream.addEventListener("alert", (event) => {
  queue = queue.then(() => show(JSON.parse(event.data))).catch(() => {});
});
stream.addEventListener("error", () => connected(false));

async function send(path, body, version, method = "POST") {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": live.dataset.csrf };
  if (version) headers["If-Match"] = `"${version}"`;
  const answer = await fetch(path, { method, headers, body: JSON.stringify(body) });
  if (answer.status === 401) location.assign("/login");
  return answer;
}

// A camera's pictures lie on the estate: what comes are two links that hold for some minutes, and who asked is on record.
async function pictures(button, card) {
  button.disabled = true;
  const answer = await send(`/api/v1/alerts/${card.dataset.id}/clip`, {});
  const links = answer.ok ? await answer.json() : null;
  const shown = links ? ["still", "clip"].map((name) => {
    const link = document.createElement("a");
    Object.assign(link, { href: links[name], target: "_blank", rel: "noreferrer", textContent: button.dataset[name] });
    return link;
  }) : [button.dataset.missing];
  button.parentElement.replaceChildren(...shown);
}

live.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  const card = event.target.closest(".card");
  if (!button || !card) return;
  const section = card.closest(".group");
  if (button.classList.contains("ack-all")) {
    button.disabled = true;
    const where = { estate: card.dataset.estate, detector: card.dataset.detector, unacknowledged: true };
    await send("/api/v1/alerts/bulk", { step: "acknowledge", where });
    refresh(section);
  } else if (button.classList.contains("clip")) {
    await pictures(button, card);
  } else if (button.classList.contains("step")) {
    const note = button.dataset.ask ? prompt(button.dataset.ask) : null;
    if (button.dataset.ask && !note) return;
    button.disabled = true;
    const body = note ? { note } : {};
    const { ok } = await send(`/api/v1/alerts/${card.dataset.id}/${button.dataset.step}`, body, card.dataset.version);
    if (!ok) button.disabled = false;
    show({ alert: Number(card.dataset.id), class: card.dataset.class, step: "seen", shown: true, ended: false });
  }
});

// The bell: this browser is told by web push, also when the page is closed, where the site has a channel for it.
const bell = document.getElementById("bell");
async function offerBell() {
  if (!bell || !("serviceWorker" in navigator) || !("PushManager" in window)) return;
  const answer = await fetch("/api/v1/push/key");
  if (!answer.ok) return;
  const { key } = await answer.json();
  if (!key) return;
  const worker = await navigator.serviceWorker.register("/worker.js");
  bell.hidden = false;
  bell.setAttribute("aria-pressed", String((await worker.pushManager.getSubscription()) !== null));
  bell.addEventListener("click", async () => {
    const held = await worker.pushManager.getSubscription();
    if (held) {
      await send("/api/v1/push/subscriptions", { endpoint: held.endpoint }, null, "DELETE");
      await held.unsubscribe();
    } else {
      const made = await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
      await send("/api/v1/push/subscriptions", made.toJSON());
    }
    bell.setAttribute("aria-pressed", String(!held));
  });
}
offerBell().catch(() => {});
