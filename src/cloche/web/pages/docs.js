// The API page: copies a command, sends a call, finds a field. Without it the page can still be read.
// Text from the server or its models only ever becomes text: the page's policy forbids turning it into HTML.
"use strict";

function reveal() {
  for (const part of document.querySelectorAll("[data-scripted]")) part.hidden = false;
}

function say(near, words) {
  near.querySelector("[role=status]").textContent = words;
}

function authorization() {
  const token = document.querySelector("#token")?.value;
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    say(button.parentElement, "Copied");
  } catch {
    getSelection().selectAllChildren(source); // browsers give the clipboard to localhost and https alone
    say(button.parentElement, "Selected: copy it with the keyboard");
  }
}

async function send(form) {
  if (form.getAttribute("aria-busy") === "true") return;
  form.setAttribute("aria-busy", "true");
  say(form, "Sending …");
  const address = form.querySelector("[data-version]")?.value ?? form.getAttribute("action");
  try {
    const body = form.querySelector("textarea").value;
    const headers = { "Content-Type": "application/json", ...authorization() };
    const started = performance.now();
    const response = await fetch(address, { method: "POST", headers, body, cache: "no-store" });
    const text = await response.text();
    show(form, response, text, performance.now() - started);
  } catch (error) {
    form.querySelector(".result").hidden = true;
    say(form, `No answer: ${error.message}`);
  } finally {
    form.removeAttribute("aria-busy");
  }
}

function show(form, response, text, took) {
  const result = form.querySelector(".result");
  const status = `${response.status} ${response.statusText}`.trim();
  result.classList.toggle("failed", !response.ok);
  fill(result.querySelector("[data-status]"), status);
  fill(result.querySelector("[data-id]"), idOf(text));
  fill(result.querySelector("[data-timing]"), timing(response.headers.get("Server-Timing")));
  result.querySelector("code").textContent = pretty(text);
  result.hidden = false;
  say(form, `${status}, after ${Math.round(took)} ms`);
}

function fill(place, text) {
  place.textContent = text ?? "";
  place.parentElement.hidden = text === undefined || text === null;
}

function idOf(text) {
  try {
    return JSON.parse(text).id;
  } catch {
    return undefined;
  }
}

// Numbers stay as they were written: 64-bit integers and 1.0 would come out as something else.
function pretty(text) {
  if (!JSON.rawJSON) return text;
  try {
    const keep = (key, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value);
    return JSON.stringify(JSON.parse(text, keep), null, 2);
  } catch {
    return text;
  }
}

// "choose;dur=0.004, predict;dur=1.250" -> "choose 0.004 · predict 1.250 ms"
function timing(header) {
  return header && `${header.replaceAll(";dur=", " ").replaceAll(", ", " · ")} ms`;
}

function narrow(input) {
  const wanted = input.value.trim().toLowerCase();
  const rows = [...document.getElementById(input.dataset.find).querySelectorAll("tbody tr")];
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  const found = rows.filter((row) => !row.hidden).length;
  say(input.parentElement, wanted ? `${found} of ${rows.length}` : "");
}

// Asks for this page again with the token, which a browser can't send when it follows a link.
function unlock(form) {
  const request = new XMLHttpRequest();
  request.onload = () => {
    const fresh = request.response?.querySelector("main");
    if (request.status !== 200 || !fresh) return say(form, "That token is not accepted.");
    document.querySelector("main").replaceWith(document.importNode(fresh, true));
    document.title = request.response.title;
    say(form, "");
    reveal();
    document.querySelector("main").focus();
  };
  request.onerror = () => say(form, "The server can't be reached.");
  try {
    request.open("GET", location.pathname);
    request.responseType = "document";
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.send();
  } catch {
    say(form, "A header can't hold that token.");
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
});
document.addEventListener("input", (event) => {
  if (event.target.dataset.find) narrow(event.target);
});
document.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.matches("[data-send]")) send(event.target);
  if (event.target.matches("[data-open]")) unlock(event.target);
});
reveal();
