// Keeps the page current: takes parts that the frontend drew from one stream of events, and puts them in place.
const byId = (id) => document.getElementById(id);

// --- Parts. A new form is laid over the old one, so that focus, scrolling and open details stay as they are. ---

const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE && (node.dataset.key || node.id)) || "";

const isSameKind = (one, other) =>
  one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

function lay(fresh, old) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  // Whoever opened or closed details keeps them so.
  const isFree = (name) => !(old.nodeName === "DETAILS" && name === "open");
  for (const { name } of [...old.attributes]) if (isFree(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (isFree(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  layChildren(fresh, old);
}

function layChildren(fresh, old) {
  const known = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
  const wantedKeys = new Set([...fresh.children].map(keyOf));
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    while (place && keyOf(place) && !wantedKeys.has(keyOf(place))) place = drop(place);
    const match = keyOf(wanted) ? known.get(keyOf(wanted)) : place;
    if (match && isSameKind(match, wanted)) {
      if (match === place) place = place.nextSibling;
      else old.insertBefore(match, place);
      lay(wanted, match);
    } else {
      old.insertBefore(wanted, place);
    }
  }
  while (place) place = drop(place);
}

function showPart(name, html) {
  const part = byId(`part-${name}`);
  if (!part) return;
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  const lane = focused?.closest(".lane")?.dataset.replica;
  const template = document.createElement("template");
  template.innerHTML = html;
  layChildren(template.content, part);
  // An entry that left the window takes the focus with it; its lane's newest one gets it.
  if (lane && !focused.isConnected) part.querySelector(`.lane[data-replica="${lane}"] .cell[tabindex="0"]`)?.focus();
}

// --- The stream. The browser opens it again by itself, unless it was answered with an error; then we do. ---

const OLD_AFTER_MS = 4000;
const REOPEN_AFTER_MS = 1000;
const ANNOUNCEMENTS_MAX = 20;

let source = null;
let newest = document.documentElement.dataset.newest;
let heardAt = Date.now();
let reopening = 0;

function announce(text) {
  const log = byId("announcements");
  const line = document.createElement("p");
  line.textContent = text;
  log.append(line);
  while (log.children.length > ANNOUNCEMENTS_MAX) log.firstElementChild.remove();
}

function take(event) {
  newest = event.lastEventId || newest;
  heardAt = Date.now();
  const message = JSON.parse(event.data);
  if (message.type === "part") showPart(message.name, message.html);
  if (message.type === "announcement") announce(message.text);
  showConnection();
}

function openStream() {
  clearTimeout(reopening);
  source?.close();
  source = new EventSource(`/ui/events?last=${encodeURIComponent(newest)}`);
  source.onmessage = take;
  source.onopen = showConnection;
  source.onerror = () => {
    showConnection();
    if (source.readyState === EventSource.CLOSED) reopening = setTimeout(openStream, REOPEN_AFTER_MS);
  };
}

// Old data must not look like news: what is shown is marked as old as soon as the stream is gone or silent.
function showConnection() {
  const isOpen = source?.readyState === EventSource.OPEN;
  const isOld = !isOpen || Date.now() - heardAt > OLD_AFTER_MS;
  document.body.classList.toggle("old", isOld);
  const banner = byId("disconnected");
  banner.hidden = !isOld;
  const time = new Date(heardAt).toISOString().slice(11, 19);
  const text = `Unknown: ${isOpen ? "the frontend sends nothing" : "no connection to the frontend"}. What you see is as of ${time} UTC.`;
  if (!isOld) banner.textContent = "";
  else if (banner.textContent !== text) banner.textContent = text;
}

// A page that nobody sees asks for nothing.
function followVisibility() {
  if (document.hidden) {
    clearTimeout(reopening);
    source?.close();
  } else if (!source || source.readyState === EventSource.CLOSED) {
    openStream();
  }
}

// --- Log entries: decoded beside the lanes instead of on a page of their own. ---

async function showEntry(link) {
  const answer = await fetch(link.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const article = page.querySelector("article");
  if (article) byId("entry").replaceChildren(article);
}

function moveAlong(event) {
  const cell = event.target.closest?.("a.cell");
  const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, ArrowUp: 0, ArrowDown: 0 }[event.key];
  if (!cell || step === undefined) return;
  event.preventDefault();
  const cells = [...cell.parentElement.children];
  let at = cells.indexOf(cell);
  let row = cells;
  if (step === 0) {
    const lanes = [...document.querySelectorAll(".lane .cells")];
    const next = lanes[lanes.indexOf(cell.parentElement) + (event.key === "ArrowUp" ? -1 : 1)];
    row = next ? [...next.children] : cells;
  } else {
    at = Math.min(Math.max(at + step, 0), cells.length - 1);
  }
  row[at]?.focus();
}

// --- Trades and the playground. ---

async function answerOf(request) {
  try {
    const answer = await request;
    const body = await answer.json();
    return { ok: answer.ok, body };
  } catch (error) {
    return { ok: false, body: { error: { message: `no answer from the frontend (${error.message})` } } };
  }
}

async function offerTrades() {
  const { ok, body } = await answerOf(fetch("/stocks"));
  if (!ok) return void setTimeout(offerTrades, REOPEN_AFTER_MS);
  byId("stock").replaceChildren(...body.data.map(({ name }) => new Option(name, name)));
  byId("trade").hidden = false;
}

// The trade whose outcome is not known. Under the same key it happens once, however often it is sent.
let unknown = null;

// Unlike randomUUID, this is there on a page without TLS, too.
const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

async function send({ key, trade }) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
  byId("trade-again").hidden = true;
  const { ok, body } = await answerOf(fetch("/orders", { method: "POST", headers, body: JSON.stringify(trade) }));
  const isUnknown = !ok && body.error?.outcome !== "not_applied";
  unknown = isUnknown ? { key, trade } : null;
  byId("trade-again").hidden = !isUnknown;
  const what = `${trade.type} 1 ${trade.name}`;
  byId("trade-answer").textContent = ok
    ? `Order ${body.data.transaction_number}: ${what}.`
    : isUnknown
      ? `It is not known whether it happened (${what}): ${body.error?.message}. Send it again: it happens once at most.`
      : `It did not happen: ${body.error.message}`;
}

const trade = (type) => send({ key: newKey(), trade: { name: byId("stock").value, type, quantity: 1 } });

// The token comes behind the #, which no server sees, and leaves the address bar at once.
function playgroundToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("playground-token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("playground-token");
}

async function control(verb, token) {
  const headers = { "Content-Type": "application/json", "X-Playground-Token": token };
  const command = JSON.stringify({ verb, name: byId("victim").value });
  byId("playground-answer").textContent = "…";
  const { ok, body } = await answerOf(fetch("/ui/control", { method: "POST", headers, body: command }));
  byId("playground-answer").textContent = ok ? body.data.output : body.error.message;
}

function openPlayground() {
  const token = byId("playground") && playgroundToken();
  if (!token) return;
  byId("playground-hint").textContent = "These processes are yours to break.";
  for (const button of document.querySelectorAll("[data-verb]")) {
    button.disabled = false;
    button.addEventListener("click", () => control(button.dataset.verb, token));
  }
}

// The page of a single entry has no parts.
if (byId("part-state")) {
  openStream();
  setInterval(showConnection, 1000);
  document.addEventListener("visibilitychange", followVisibility);
  document.addEventListener("keydown", moveAlong);
  document.addEventListener("click", (event) => {
    const cell = event.target.closest?.("a.cell");
    if (!cell || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    showEntry(cell).catch(() => announce("The entry could not be fetched."));
  });
  for (const button of document.querySelectorAll("[data-trade]")) {
    button.addEventListener("click", () => trade(button.dataset.trade));
  }
  byId("trade-again").addEventListener("click", () => unknown && send(unknown));
  offerTrades();
  openPlayground();
}
