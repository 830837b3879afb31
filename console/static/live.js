// The live page: listens to the stream, and puts each changed alert's card, made by the server, in its place.
"use strict";
const live = document.getElementById("live");
const link = document.getElementById("link");
const lang = document.documentElement.lang.startsWith("zh") ? "zh" : "en";

function connected(on) {
  link.className = on ? "on" : "off";
  link.textContent = on ? link.dataset.on : link.dataset.off;
}

function count(section) {
  section.querySelector(".count").textContent = section.querySelectorAll(".card").length;
}

async function show(change) {
  const old = document.getElementById(`alert-${change.alert}`);
  const section = [...document.querySelectorAll(".group")].find((s) => s.dataset.classes.split(" ").includes(change.class));
  if (!section) return;
  if (change.ended) {
    if (old) old.remove();
    count(section);
    return;
  }
  const answer = await fetch(`/alerts/${change.alert}/card?lang=${lang}`);
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) return;
  const box = document.createElement("template");
  box.innerHTML = await answer.text();
  const card = box.content.firstElementChild;
  card.classList.add("fresh");
  const current = document.getElementById(`alert-${change.alert}`);
  if (current) current.replaceWith(card);
  else section.querySelector(".cards").prepend(card);
  count(section);
}

let queue = Promise.resolve();
const stream = new EventSource(`/api/v1/stream?after=${live.dataset.seq}`);
stream.addEventListener("hello", () => connected(true));
stream.addEventListener("alert", (event) => {
  queue = queue.then(() => show(JSON.parse(event.data))).catch(() => {});
});
stream.addEventListener("error", () => connected(false));

live.addEventListener("click", async (event) => {
  if (!event.target.classList.contains("ack")) return;
  const card = event.target.closest(".card");
  event.target.disabled = true;
  const answer = await fetch(`/api/v1/alerts/${card.dataset.id}/acknowledge`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": live.dataset.csrf, "If-Match": `"${card.dataset.version}"` },
    body: "{}",
  });
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) event.target.disabled = false;
  show({ alert: Number(card.dataset.id), class: card.dataset.class, ended: false });
});
