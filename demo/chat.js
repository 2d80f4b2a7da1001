// Takes part in one room: subscribes, recovers after a cut, keeps the member list, and sees own messages home.

import { Connection } from "./connection.js";
import { Room } from "./room.js";

const ON_ARRIVAL = 30;
const REPLAY_WITHIN_MS = 5_000;

export class Chat {
  #connection;
  #welcome = null;
  #replayEnd = null;
  #replayTimer;
  #caughtUp = false;
  #historyOff = false;
  presenceOff = false;

  constructor({ url, topic, onChange, onState, onRaw }) {
    this.topic = topic;
    this.room = new Room(topic);
    this.onChange = onChange;
    this.#connection = new Connection({
      url,
      onRaw,
      establish: (welcome) => this.#establish(welcome),
      onFrame: (frame) => this.#frame(frame),
      onState: (state) => {
        if (state.name !== "live") this.#caughtUp = false;
        if (state.name === "closed") this.#failAll(state.reason);
        onState(state);
        this.onChange();
      },
    });
  }

  get session() {
    return this.room.session;
  }

  get maxBytes() {
    return this.#welcome?.max_message_bytes ?? Infinity;
  }

  /** What we call ourselves from here on. */
  rename(name) {
    this.room.ownName = name;
    this.onChange();
  }

  open() {
    this.#connection.open();
  }

  retryNow() {
    this.#connection.retryNow();
  }

  nudge() {
    this.#connection.nudge();
  }

  // ---- on every connection

  async #establish(welcome) {
    this.#welcome = welcome;
    this.room.setSession(welcome.session);
    const before = this.room.position;
    const ok = await this.#subscribe(before);
    this.room.subscribed(ok);
    if (before && ok.recovered === false) this.#sayWhatIsMissing(before, ok);
    this.#askPresence();
    // Own messages are sent again only when the replay has shown which of them had arrived.
    if (this.room.position && ok.replayed > 0) {
      this.#replayEnd = ok.offset;
      clearTimeout(this.#replayTimer);
      this.#replayTimer = setTimeout(() => this.#catchUp(), REPLAY_WITHIN_MS);
    } else {
      this.#catchUp();
    }
    this.onChange();
  }

  async #subscribe(since) {
    const frame = { type: "subscribe", topic: this.topic };
    // With both, `last` counts only where `since` fails: one request, and nothing slips between two.
    if (!this.#historyOff) frame.last = ON_ARRIVAL;
    if (since && !this.#historyOff) frame.since = since;
    try {
      return await this.#connection.request(frame);
    } catch (error) {
      if (error.code !== "history_disabled" || this.#historyOff) throw error;
      this.#historyOff = true;
      this.room.addLine("note", "This room keeps no history: only what is said from now on is shown.");
      return this.#subscribe(null);
    }
  }

  #sayWhatIsMissing(before, ok) {
    this.room.addLine(
      "warning",
      ok.epoch === before.epoch
        ? "You were away for longer than this room remembers: some messages were missed."
        : "The room's history has begun anew: it was reloaded, and messages may have been missed.",
    );
  }

  async #askPresence() {
    this.room.askingPresence();
    try {
      this.room.setPresence(await this.#connection.request({ type: "presence", topic: this.topic }));
      this.presenceOff = false;
    } catch (error) {
      if (error.code === "disconnected") return;
      this.presenceOff = true;
      this.room.noPresence();
    }
    this.onChange();
  }

  #frame(frame) {
    switch (frame.type) {
      case "message":
        this.room.addMessage(frame);
        this.#progress();
        break;
      case "join":
      case "leave":
        if (frame.topic === this.topic) this.room.moved(frame);
        break;
      case "gap":
        this.#gap(frame);
        break;
      case "unsubscribed":
        if (frame.topic === this.topic) this.#connection.closeForGood(frame.message);
        break;
      case "error":
        this.room.addLine("warning", frame.message);
        break;
      default:
        return;
    }
    this.onChange();
  }

  #gap(frame) {
    this.room.skip(frame);
    const count = frame.count > 0 ? `${frame.count} ` : "";
    const texts = {
      cleared: "The room's history was cleared.",
      slow: `This page could not keep up: ${count}messages were left out.`,
      trimmed: `${count}messages were forgotten by the room before they could be shown.`,
    };
    this.room.addLine("warning", texts[frame.reason] ?? "Some messages were left out.");
    this.#progress();
  }

  #progress() {
    if (this.#replayEnd !== null && !(this.room.position?.offset < this.#replayEnd)) this.#catchUp();
  }

  // ---- own messages

  /** Queues a message; it is sent now, or as soon as the room is live again. */
  say(name, text) {
    const id = makeId();
    this.room.queue(id, name, text);
    if (this.#connection.state.name === "closed") {
      this.room.setStatus(id, "failed", this.#connection.state.reason);
    } else if (this.#caughtUp) {
      this.#publish(this.room.outbox.at(-1));
    }
    this.onChange();
  }

  retry(id) {
    this.room.setStatus(id, "waiting");
    if (this.#caughtUp) this.#publish(this.room.outbox.find((entry) => entry.id === id));
    else if (this.#connection.state.name === "closed") this.#connection.retryNow();
    this.onChange();
  }

  discard(id) {
    this.room.discard(id);
    this.onChange();
  }

  /** The size that counts is that of the whole frame: the limit of a frame may be the same as that of a message. */
  bytesOf(name, text) {
    const frame = { ...this.#frameFor({ id: makeId(), name, body: { text } }), id: Number.MAX_SAFE_INTEGER };
    return new TextEncoder().encode(JSON.stringify(frame)).length;
  }

  #frameFor({ id, name, body }) {
    return { type: "publish", topic: this.topic, data: { name, text: body.text, id, session: this.session } };
  }

  #catchUp() {
    clearTimeout(this.#replayTimer);
    this.#replayEnd = null;
    this.#caughtUp = true;
    for (const entry of this.room.outbox) {
      if (entry.status === "stored") this.room.settle(entry.id);
      else if (entry.status !== "failed") this.#publish(entry);
    }
  }

  async #publish(entry) {
    const { id } = entry;
    this.room.setStatus(id, "sending");
    try {
      await this.#connection.request(this.#frameFor(entry));
      this.room.setStatus(id, "stored");
    } catch (error) {
      // After a cut nobody knows whether it arrived; the replay will tell, and #catchUp sends what it does not show.
      if (error.code !== "disconnected") this.room.setStatus(id, "failed", error.message);
      else if (this.#connection.state.name !== "closed") this.room.setStatus(id, "waiting");
    }
    this.onChange();
  }

  #failAll(reason) {
    for (const entry of this.room.outbox) {
      if (entry.status !== "stored") this.room.setStatus(entry.id, "failed", reason);
    }
  }
}

// `crypto.randomUUID` exists on secure origins only, and a broker in the house is often plain http.
function makeId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
