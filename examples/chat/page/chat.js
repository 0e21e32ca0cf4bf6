// The page's side of the chat: one WebSocket at a time, and a new one when it has ended, if that makes sense.

// The codes after which it does. What the server means with its own codes, from 4000 on, is in room.py.
const RETRIED = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014]);
const BAD_NAME = 4000, NAME_TAKEN = 4001;

const WORDS = {
  1000: "The server has closed the connection.",
  1001: "The server is going away.",
  1005: "The server has closed the connection, and did not say why.",
  1006: "The connection was lost, without a goodbye.",
  1008: "The server does not accept what was sent.",
  1009: "The message was too big.",
  1011: "Something went wrong in the server.",
  1012: "The server restarts.",
  1013: "The server asks to come back later.",
  4002: "The chat goes on in another tab.",
};
const UNREACHABLE = "The server cannot be reached.";
const SILENT = "Nothing is heard from the server any more.";

const FIRST_WAIT = 500, LONGEST_WAIT = 30_000; // milliseconds
const MOST_ENTRIES = 500;

const byId = (id) => document.getElementById(id);
const log = byId("log"), text = byId("text"), send = byId("say").querySelector("button");

let me = sessionStorage.getItem("name") ?? "";
const token = sessionStorage.getItem("token") ?? newToken(); // proves to the server that we are the same after a reload
let socket = null; // the one that counts; what others still have to say is nobody's business
let welcomed = false;
let again = Boolean(me);
let failures = 0;
let newest = 0, run = ""; // the latest message that is shown, and the run of the server that has numbered it
let silence = 0, countdown = 0; // timers

function newToken() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const made = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  sessionStorage.setItem("token", made);
  return made;
}

// -- the connection -------------------------------------------------------------------------------------------------

function connect() {
  clearInterval(countdown);
  show("connecting", "connecting …");
  const url = new URL("socket", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const opening = new WebSocket(url);
  let opened = false;
  socket = opening;
  welcomed = false;
  opening.onopen = () => {
    opened = true;
    opening.send(JSON.stringify({ type: "join", name: me, token, again }));
  };
  opening.onmessage = (event) => {
    if (opening === socket) take(JSON.parse(event.data));
  };
  opening.onclose = (event) => {
    if (opening === socket) ended(event, opened ? WORDS[event.code] : UNREACHABLE);
  };
}

function watchForSilence(heartbeat) {
  clearTimeout(silence);
  silence = setTimeout(() => {
    // Pings are not for scripts to see, and a browser does not miss them. Its CloseEvent would come a minute after
    // close(), so it is not waited for.
    const silent = socket;
    ended(null, SILENT);
    silent.close();
  }, 2500 * heartbeat);
}

function ended(event, words = "The connection has ended.") {
  socket = null;
  clearTimeout(silence);
  text.disabled = send.disabled = true;
  if (event?.code === BAD_NAME || event?.code === NAME_TAKEN) {
    backToTheDoor(event.reason);
    return;
  }
  if (welcomed) note(`Your connection has ended. ${words}`, event);
  byId("room").hidden = false;
  byId("door").hidden = true;
  byId("ended").hidden = false;
  byId("ended-words").textContent = words;
  byId("ended-event").hidden = event === null;
  byId("ended-code").textContent = event?.code;
  byId("ended-reason").textContent = event?.reason ? `“${event.reason}”` : "none";
  byId("ended-clean").textContent = event?.wasClean;
  if (event === null || RETRIED.has(event.code)) {
    waitAndTry();
  } else {
    byId("wait").textContent = "";
    show("away", "not connected");
  }
}

function waitAndTry() {
  // Full jitter: the guests of a server that restarts do not come back all in the same moment.
  const limit = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures++);
  const until = Date.now() + 200 + Math.random() * limit;
  const tick = () => {
    const left = until - Date.now();
    if (left <= 0) connect();
    else byId("wait").textContent = `Trying again in ${Math.ceil(left / 1000)} s`;
  };
  show("waiting", "waiting to try again");
  clearInterval(countdown);
  countdown = setInterval(tick, 100);
  tick();
}

function connectNow() {
  if (socket === null && me) connect();
}

function take(news) {
  if (news.people) showPeople(news.people);
  switch (news.type) {
    case "welcome":
      welcome(news);
      break;
    case "joined":
      if (news.name !== me) note(`${news.name} ${news.again ? "is back" : "has come in"}.`);
      break;
    case "left":
      note(`${news.name} ${news.words}.`, news.event);
      break;
    case "said":
      say(news);
      break;
  }
  if (welcomed) watchForSilence(take.heartbeat);
}

function welcome(news) {
  welcomed = true;
  failures = 0;
  me = news.name;
  take.heartbeat = news.heartbeat;
  sessionStorage.setItem("name", me);
  if (run !== news.run) {
    run = news.run;
    newest = 0;
  }
  news.history.forEach(say);
  note(again ? "You are back." : "You have come in.");
  again = true;
  byId("ended").hidden = true;
  byId("door").hidden = true;
  byId("room").hidden = false;
  text.disabled = send.disabled = false;
  show("open", "connected");
  text.focus();
}

// -- what is shown: always as text, never as HTML ------------------------------------------------------------------

function make(tag, className, content) {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = content;
  return element;
}

function named(element, name) {
  let hue = 0;
  for (const character of name) hue = (hue * 31 + character.codePointAt(0)) % 360;
  element.style.setProperty("--hue", hue);
  return element;
}

function show(state, words) {
  byId("state").dataset.state = state;
  byId("state").textContent = words;
}

function showPeople(people) {
  byId("count").textContent = `(${people.length})`;
  byId("names").replaceChildren(...people.map((name) => named(make("li", name === me ? "you" : "", name), name)));
}

function add(entry) {
  log.append(entry);
  while (log.children.length > MOST_ENTRIES) log.firstChild.remove();
}

function note(words, event) {
  const entry = make("li", "news", words);
  if (event) {
    const code = make("span", event.wasClean ? "code clean" : "code unclean", event.code);
    code.title = `code ${event.code}, reason “${event.reason}”, ${event.wasClean ? "clean" : "not clean"}`;
    entry.append(" ", code);
  }
  add(entry);
}

function say({ n, name, text, at }) {
  if (n <= newest) return;
  newest = n;
  const entry = make("li", name === me ? "said own" : "said", "");
  const time = make("time", "", new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }));
  time.dateTime = new Date(at * 1000).toISOString();
  entry.append(named(make("span", "name", name), name), time, make("p", "text", text));
  add(entry);
}

function backToTheDoor(trouble) {
  sessionStorage.removeItem("name");
  again = false;
  byId("room").hidden = true;
  byId("door").hidden = false;
  byId("trouble").textContent = `${trouble[0].toUpperCase()}${trouble.slice(1)}.`;
  show("away", "not connected");
  byId("name").select();
}

// -- what people do ------------------------------------------------------------------------------------------------

byId("join").addEventListener("submit", (event) => {
  event.preventDefault();
  me = byId("name").value.trim();
  byId("trouble").textContent = "";
  if (me && socket === null) connect();
});

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = text.value.trim();
  if (!said || !welcomed || socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "say", text: said }));
  text.value = "";
});

byId("now").addEventListener("click", connectNow);
window.addEventListener("online", connectNow);

if (me) {
  byId("name").value = me;
  connect();
}
