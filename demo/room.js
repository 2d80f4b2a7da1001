// What is known of a room: its log, who is here, and how far it was read. No socket and no DOM.

const LONGEST_LOG = 500;
const MOST_NAMES = 1000;
const LONGEST_NAME = 40;
const LONGEST_CODE = 4000;
const BYTES_SHOWN = 48;

export class Room {
  /** Messages and lines of the room in the order to show them; every change replaces the entry, never edits it. */
  log = [];
  /** Own messages that have not come back yet: status waiting | sending | stored | failed. */
  outbox = [];
  /** session → {session, user, info, since} */
  members = new Map();
  /** Present, but beyond what the presence answer listed. */
  unlisted = 0;
  /** {epoch, offset} of the last message, or null where the topic keeps no history. */
  position = null;
  /** What we call ourselves; the others learn it from what we say. */
  ownName = "";

  #topic;
  #mine = new Set();
  #session = null;
  #names = new Map();
  #seen = new Set();
  #shown = new Map();
  #sequence = 0;
  #whileAsking = null;

  constructor(topic) {
    this.#topic = topic;
  }

  get session() {
    return this.#session;
  }

  /** A new connection has a new session id. Former ones stay known, so that their ghosts are not strangers. */
  setSession(session) {
    this.#session = session;
    this.#mine.add(session);
  }

  label(session, user) {
    return this.#names.get(session) ?? user ?? guestName(session);
  }

  // ---- messages

  /**
   * Takes a `message` frame. False if it was known already: the same position again, or a resend of a message
   * that had arrived after all (same id, name and text; the id alone could be anyone's).
   */
  addMessage(frame) {
    const elsewhere = frame.topic !== this.#topic;
    const placed = !elsewhere && frame.epoch !== undefined && frame.offset !== undefined;
    if (placed) {
      const place = `${frame.epoch}:${frame.offset}`;
      this.position = { epoch: frame.epoch, offset: frame.offset };
      if (this.#seen.has(place)) return false;
      this.#seen.add(place);
    }
    const message = readMessage(frame);
    const waiting = this.outbox.findIndex((entry) => message.id && entry.id === message.id);
    if (waiting >= 0) this.outbox.splice(waiting, 1);
    if (message.id) {
      const twin = this.#shown.get(message.id);
      if (twin && twin.name === message.name && twin.body.text === message.body.text) return false;
      this.#shown.set(message.id, message);
    }
    // The session is what the sender wrote; nobody else may rename us or speak as us.
    const mine = waiting >= 0;
    if (message.session && message.name && (mine || !this.#mine.has(message.session))) {
      this.#learn(message.session, message.name);
    }
    this.#append({
      ...message,
      type: "message",
      name: message.name ?? frame.user ?? (elsewhere ? "broker" : "backend"),
      program: !message.name && !frame.user,
      mine,
      from: elsewhere ? frame.topic : null,
      epoch: frame.epoch,
      offset: frame.offset,
      time: frame.time ?? Date.now(),
    });
    return true;
  }

  /** A line of the page's own: kind note | warning | join | leave. */
  addLine(kind, text, more = {}) {
    this.#append({ type: "line", kind, text, time: Date.now(), ...more });
  }

  #append(entry) {
    this.log.push({ ...entry, key: `e${++this.#sequence}` });
    if (this.log.length <= LONGEST_LOG) return;
    const gone = this.log.shift();
    this.#seen.delete(`${gone.epoch}:${gone.offset}`);
    if (gone.id) this.#shown.delete(gone.id);
  }

  // A name is what a message claims; in a room where anyone may write it is a courtesy, not an identity.
  #learn(session, name) {
    this.#names.delete(session);
    this.#names.set(session, name);
    if (this.#names.size > MOST_NAMES) this.#names.delete(this.#names.keys().next().value);
    // A stranger who joined a moment ago is one no longer.
    const guest = guestName(session);
    this.log = this.log.map((entry) =>
      entry.session === session && entry.who === guest ? { ...entry, who: name, text: `${name} ${entry.verb}` } : entry,
    );
  }

  // ---- own messages on their way

  queue(id, name, text) {
    this.outbox.push({ type: "message", key: `o${id}`, id, name, mine: true, time: Date.now(), status: "waiting", body: { kind: "text", text } });
  }

  setStatus(id, status, error) {
    this.outbox = this.outbox.map((entry) => (entry.id === id ? { ...entry, status, error } : entry));
  }

  discard(id) {
    this.outbox = this.outbox.filter((entry) => entry.id !== id);
  }

  /** The broker has stored it, but its echo will not come any more: it is in the log as it is. */
  settle(id) {
    const entry = this.outbox.find((other) => other.id === id);
    if (!entry) return;
    this.discard(id);
    const message = { type: "message", id, name: entry.name, mine: true, time: entry.time, body: entry.body };
    this.#shown.set(id, message);
    this.#append(message);
  }

  // ---- where we are in the history

  /** The `ok` of a subscribe: the position is before what will be replayed, for a cut may come in the middle of it. */
  subscribed(ok) {
    this.position = ok.epoch === undefined ? null : { epoch: ok.epoch, offset: ok.offset - (ok.replayed ?? 0) };
  }

  skip(gap) {
    if (this.position && gap.epoch === this.position.epoch && gap.to > this.position.offset) {
      this.position = { epoch: gap.epoch, offset: gap.to };
    }
  }

  // ---- who is here

  get memberList() {
    const ghosts = (member) => this.#mine.has(member.session) && member.session !== this.#session;
    return [...this.members.values()]
      .filter((member) => !ghosts(member))
      .map((member) => ({
        session: member.session,
        label: (member.session === this.#session && this.ownName) || this.label(member.session, member.user),
        mine: member.session === this.#session,
      }))
      .sort((a, b) => b.mine - a.mine || a.label.localeCompare(b.label));
  }

  /** From here on joins and leaves are kept, to be laid over the answer: either may overtake the other. */
  askingPresence() {
    this.#whileAsking = [];
  }

  setPresence({ sessions = [], count = sessions.length }) {
    this.members = new Map(sessions.map((member) => [member.session, member]));
    this.unlisted = Math.max(0, count - sessions.length);
    for (const frame of this.#whileAsking ?? []) this.#moved(frame);
    this.#whileAsking = null;
  }

  /** There is no answer: the room shows nobody. */
  noPresence() {
    this.setPresence({});
  }

  /** A `join` or `leave` frame. Of our own former sessions the list hears, the log does not. */
  moved(frame) {
    this.#whileAsking?.push(frame);
    this.#moved(frame);
    if (this.#mine.has(frame.session)) return;
    const verb = frame.type === "join" ? "joined" : "left";
    const who = this.label(frame.session, frame.user);
    this.addLine(frame.type, `${who} ${verb}`, { session: frame.session, who, verb });
  }

  #moved({ type, session, user, info }) {
    if (type === "join") this.members.set(session, { session, user, info });
    else this.members.delete(session);
  }
}

/** A short name for a session that has not said one. A hash, since ids made at one time may begin alike. */
export function guestName(session) {
  return `guest ${(hash(session) & 0xffff).toString(16).padStart(4, "0")}`;
}

/** FNV-1a, stirred once more so that its low bits are as good as the rest; for labels and colours only. */
export function hash(text) {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  return (value ^ (value >>> 13)) >>> 0;
}

/** Makes what anyone may publish into something to show: text, code, or the beginning of some bytes. */
export function readMessage({ data, encoding }) {
  if (encoding === "base64") return { body: { kind: "bytes", text: describeBytes(data) } };
  if (encoding === "text") return { body: { kind: "text", text: String(data) } };
  if (data !== null && typeof data === "object" && typeof data.text === "string") {
    return {
      body: { kind: "text", text: data.text },
      name: cleanName(data.name) || undefined,
      id: typeof data.id === "string" ? data.id : undefined,
      session: typeof data.session === "string" ? data.session : undefined,
    };
  }
  const code = JSON.stringify(data, null, 2) ?? "null";
  return { body: { kind: "code", text: code.length > LONGEST_CODE ? `${code.slice(0, LONGEST_CODE)}\n…` : code } };
}

export function cleanName(name) {
  if (typeof name !== "string") return "";
  const plain = name.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim();
  return [...plain].slice(0, LONGEST_NAME).join("");
}

function describeBytes(base64) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    return "bytes that are no base64";
  }
  const head = [...bytes.subarray(0, BYTES_SHOWN)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const size = `${bytes.length} ${bytes.length === 1 ? "byte" : "bytes"}`;
  if (bytes.length === 0) return size;
  return bytes.length > BYTES_SHOWN ? `${size}\n${head} …` : `${size}\n${head}`;
}

/** The topic of `?room=NAME`, or an error to show. The rules are those of a topic name; empty levels help nobody. */
export function topicOf(room) {
  const name = (room ?? "").trim() || "lobby";
  const topic = `demo/${name}`;
  if (/[+#\p{Cc}]/u.test(name)) return { error: "A room's name cannot contain +, # or control characters." };
  if (name.split("/").some((level) => level === "")) return { error: "A room's name cannot have empty levels." };
  if (new TextEncoder().encode(topic).length > 255) return { error: "A room's name is too long: 250 bytes at most." };
  return { topic, name };
}
