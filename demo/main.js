// Joins the pieces: the room named by the address, the chat, and the controls of the page.

import { Chat } from "./chat.js";
import { byId } from "./dom.js";
import { Frames } from "./frames.js";
import { cleanName, guestName, topicOf } from "./room.js";
import { View } from "./view.js";

const NAME_KEY = "fanfare.name";
const WARN_FROM = 0.8;
const WIDE = matchMedia("(min-width: 900px)");

const { topic, error } = topicOf(new URLSearchParams(location.search).get("room"));
const frames = new Frames();
const view = new View({
  topic: topic ?? "",
  curl: topic ? curlFor(topic) : "",
  on: { retry: (id) => chat.retry(id), discard: (id) => chat.discard(id) },
});

let chat = null;
let arrived = false;
let scheduled = false;

drawer();
if (error) {
  view.showState({ name: "closed", reason: "no such room" });
  view.showFault(error);
  byId("retry").hidden = true;
} else {
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  chat = new Chat({
    url: url.href,
    topic,
    onChange: schedule,
    onState: (state) => {
      arrived ||= state.name === "live";
      view.showState(state);
    },
    onRaw: (direction, text) => frames.add(direction, text),
  });
  composer();
  byId("retry").addEventListener("click", () => chat.retryNow());
  addEventListener("online", () => chat.nudge());
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && chat.nudge());
  chat.open();
}

// Thirty replayed messages are one drawing. A timer, for animation frames do not come to a hidden page.
function schedule() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    view.render(chat.room, { settled: arrived, presenceOff: chat.presenceOff });
  });
}

function curlFor(name) {
  // Quotes are escaped too, as the line is for a shell.
  const path = name.split("/").map((level) => encodeURIComponent(level).replaceAll("'", "%27")).join("/");
  return `curl -d 'hello' \\\n-H 'content-type: text/plain' \\\n'${location.origin}/v1/topics/${path}/messages'`;
}

function composer() {
  const name = byId("name");
  const message = byId("message");
  const send = byId("send");
  const bytes = byId("bytes");

  name.value = remembered();
  chat.rename(cleanName(name.value));
  name.addEventListener("input", () => {
    remember(cleanName(name.value));
    chat.rename(cleanName(name.value));
    check();
  });
  name.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    message.focus();
  });

  message.addEventListener("input", check);
  message.addEventListener("keydown", (event) => {
    // While an input method composes, Enter chooses a word.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("composer").requestSubmit();
  });

  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = message.value.trim();
    if (!text || tooLong(text)) return;
    chat.say(speaker(), text);
    message.value = "";
    message.focus();
    check();
  });

  // Who gives no name speaks as the guest that the others see in the list.
  function speaker() {
    return cleanName(name.value) || (chat.session ? guestName(chat.session) : "guest");
  }

  function tooLong(text) {
    return chat.bytesOf(speaker(), text) > chat.maxBytes;
  }

  function check() {
    const text = message.value.trim();
    const used = chat.bytesOf(speaker(), text);
    const over = used - chat.maxBytes;
    bytes.hidden = used < chat.maxBytes * WARN_FROM;
    bytes.classList.toggle("over", over > 0);
    bytes.textContent = over > 0 ? `${over} bytes too long` : `${-over} bytes left`;
    send.disabled = !text || over > 0;
    // Grows with its text, up to the height the style sheet allows.
    message.style.height = "auto";
    message.style.height = `${message.scrollHeight}px`;
  }

  check();
  if (WIDE.matches) (name.value ? message : name).focus();
}

// Storage may be denied; the name is then asked for again next time.
function remembered() {
  try {
    return localStorage.getItem(NAME_KEY) ?? "";
  } catch {
    return "";
  }
}

function remember(name) {
  try {
    localStorage.setItem(NAME_KEY, name);
  } catch {
    // Nothing to do about it.
  }
}

// On a desk the side column stands beside the chat; on a phone it is a drawer.
function drawer() {
  const side = byId("side");
  const opener = byId("drawer-open");
  const backdrop = byId("backdrop");

  function show(open) {
    const drawn = open && !WIDE.matches;
    side.classList.toggle("open", drawn);
    side.inert = !WIDE.matches && !drawn;
    backdrop.hidden = !drawn;
    opener.setAttribute("aria-expanded", drawn);
    document.querySelector("main").inert = drawn;
    document.querySelector("header").inert = drawn;
  }

  opener.addEventListener("click", () => {
    show(true);
    byId("drawer-close").focus();
  });
  const close = () => {
    if (!side.classList.contains("open")) return;
    show(false);
    opener.focus();
  };
  byId("drawer-close").addEventListener("click", close);
  backdrop.addEventListener("click", close);
  addEventListener("keydown", (event) => event.key === "Escape" && close());
  WIDE.addEventListener("change", () => show(false));
  show(false);
  byId("frames-panel").open = WIDE.matches;
}
