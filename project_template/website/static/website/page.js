// Keeps the page current: asks for its state once a second and writes what changed.
// Without JavaScript the same page works by reloading it.
"use strict";

const list = document.querySelector("#jobs");
const row = document.querySelector("#row").content.firstElementChild;
const news = document.querySelector("#news");
const message = document.querySelector("[role=alert]");
const form = document.querySelector("form");

function say(text) {
  message.textContent = text;
  message.hidden = !text;
}

// Elements outside the list that show a field of `values`, or those of one row.
function fill(elements, values) {
  for (const element of elements) {
    const value = values[element.dataset.field];
    if (value === undefined) continue;
    if (element instanceof HTMLProgressElement) element.value = value;
    else if (element.textContent !== value) element.textContent = value;
  }
}

function showJobs(jobs) {
  const known = new Map([...list.children].map((item) => [item.dataset.id, item]));
  list.replaceChildren(...jobs.map((job) => {
    const item = known.get(String(job.id)) ?? row.cloneNode(true);
    if (item.dataset.id && item.dataset.state !== job.state) news.textContent = `${job.label}: ${job.state}`;
    item.dataset.id = job.id;
    item.dataset.state = job.state;
    fill(item.querySelectorAll("[data-field]"), job);
    return item;
  }));
  document.querySelector("#none").hidden = jobs.length > 0;
}

async function refresh() {
  const response = await fetch(document.body.dataset.status);
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const state = await response.json();
  fill(document.querySelectorAll("header [data-field], main > section > p [data-field]"), state);
  document.querySelector("[data-schedule]").dataset.schedule = state.schedule;
  showJobs(state.jobs);
}

async function poll() {
  try {
    if (!document.hidden) await refresh();
    document.body.classList.remove("offline");
  } catch {
    // The server is restarting, or gone; the next second may be better.
    document.body.classList.add("offline");
  }
  setTimeout(poll, 1000);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const answer = await fetch(form.action, { method: "POST", body: new FormData(form, event.submitter) });
    say(answer.ok ? "" : await answer.text());
    await refresh();
  } catch {
    say("The server did not answer.");
  }
});
document.addEventListener("visibilitychange", () => document.hidden || refresh().catch(() => {}));
poll();
