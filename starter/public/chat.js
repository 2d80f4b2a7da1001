// A chat on one WebSocket: subscribes, shows, publishes, and after a cut comes back and gets what it missed.

const ROOM = "chat/lobby"; // anyone may publish here
const LOAD = "live/load"; // only the backend may, with its key

const at = (id) => document.getElementById(id);
const positions = {}; // of the last message that came, by topic: where to go on after a cut
const here = new Set(); // the sessions that are in the room
let socket;
let attempt = 0;
let wait = 0;

function connect() {
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(url);
  socket.onopen = () => {
    subscribe(1, ROOM, 50);
    subscribe(2, LOAD, 1);
    send({ type: "presence", id: 3, topic: ROOM });
  };
  socket.onmessage = ({ data }) => take(JSON.parse(data));
  socket.onclose = ({ code, reason }) => {
    // 1001, 1006, 1011, 1013 and 4000 to 4499 mean: come back. The rest: do not.
    if (![1001, 1006, 1011, 1013].includes(code) && !(code >= 4000 && code < 4500)) {
      return state("closed", `Closed: ${reason || code}`);
    }
    const backoff = Math.min(30_000, 500 * 2 ** attempt++) * (0.5 + Math.random() / 2);
    setTimeout(connect, Math.max(wait, backoff));
    wait = 0;
    state("away", "Connecting again");
  };
}

function subscribe(id, topic, last) {
  // With `since` the broker sends what came after that position; `last` counts if it cannot.
  send({ type: "subscribe", id, topic, last, since: positions[topic] });
}

function send(frame) {
  socket.send(JSON.stringify(frame));
}

function take(frame) {
  if (frame.type === "message") {
    positions[frame.topic] = { epoch: frame.epoch, offset: frame.offset };
    if (frame.topic === LOAD) showLoad(frame.data);
    else show(frame);
  } else if (frame.type === "ok") {
    if (frame.id === 3) for (const { session } of frame.sessions) here.add(session);
    if (frame.topic === ROOM && frame.recovered === false) notice("Something was missed while the page was away.");
    if (frame.topic === ROOM) state("live", "Live");
    attempt = 0;
  } else if (frame.type === "join" || frame.type === "leave") {
    if (frame.type === "join") here.add(frame.session);
    else here.delete(frame.session);
  } else if (frame.type === "welcome") {
    here.clear();
  } else if (frame.type === "closing") {
    wait = frame.after_ms ?? 0;
  } else if (frame.type === "error") {
    notice(frame.message);
  }
  at("here").textContent = here.size;
}

// What others wrote is put in as text, never as HTML.
function show({ data, time }) {
  const text = typeof data?.text === "string" ? data.text : typeof data === "string" ? data : JSON.stringify(data);
  line("message", el("time", new Date(time).toLocaleTimeString()), el("b", String(data?.name ?? "anonymous")), text);
}

function notice(text) {
  line("notice", text);
}

function line(kind, ...parts) {
  const log = at("log");
  const following = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const item = el("li");
  item.className = kind;
  item.append(...parts);
  log.append(item);
  if (log.children.length > 500) log.firstChild.remove();
  if (following) log.scrollTop = log.scrollHeight;
}

function showLoad(data) {
  at("load").textContent = `${data.from} says: the load of this machine is ${data.load}`;
}

function state(name, text) {
  at("state").dataset.state = name;
  at("state").textContent = text;
}

function el(tag, text = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text || at("state").dataset.state !== "live") return;
  send({ type: "publish", id: 4, topic: ROOM, data: { name: at("name").value.trim() || "anonymous", text } });
  at("text").value = "";
});

connect();
