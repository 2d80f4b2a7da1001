// A client of `fanfare.v1.json`: one socket at a time, requests with answers, and coming back after a cut.
// It knows nothing of rooms; what has to be set up again on each connection is the caller's `establish`.

import { afterClose } from "./policy.js";

const SUBPROTOCOL = "fanfare.v1.json";
const WELCOME_WITHIN_MS = 10_000;
const ANSWER_TO_PING_WITHIN_MS = 10_000;
// Only a connection that held this long resets the backoff, else a broker that accepts and drops is hammered.
const STABLE_AFTER_MS = 5_000;

/** An `error` frame, or a connection that went before the answer (`code` is then "disconnected"). */
export class RequestError extends Error {
  constructor(code, message, retryAfterMs) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

export class Connection {
  #socket = null;
  #state = { name: "connecting" };
  #nextId = 1;
  #waiting = new Map();
  #attempt = 0;
  #notBefore = 0;
  #closing = null;
  #silenceMs = 0;
  #timers = {};

  /**
   * `establish(welcome)` sets up what the caller needs and resolves when the connection may be called live.
   * `onState({name, retryAt, reason})` with name connecting | live | reconnecting | closed; `retryAt` is missing
   * while an attempt runs. `onFrame(frame)` gets every frame that is no answer. `onRaw(direction, text)` sees
   * everything: "in", "out", or "note" for what happens to the socket itself.
   */
  constructor({ url, establish, onState, onFrame, onRaw }) {
    this.url = url;
    this.establish = establish;
    this.onState = onState;
    this.onFrame = onFrame;
    this.onRaw = onRaw;
  }

  get state() {
    return this.#state;
  }

  /** Opens the socket; also the way back after `closed`. */
  open() {
    if (this.#socket) return;
    this.#clearTimers();
    this.#closing = null;
    this.#set(this.#attempt === 0 && this.#state.name === "connecting" ? "connecting" : "reconnecting");

    let socket;
    try {
      socket = new WebSocket(this.url, SUBPROTOCOL);
    } catch (error) {
      this.#set("closed", { reason: error.message });
      return;
    }
    this.#socket = socket;
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#ended(event.code, event.reason);
    this.#timer("welcome", WELCOME_WITHIN_MS, () => this.#abandon("no welcome came"));
  }

  /** Tries at once: the reader asked for it. */
  retryNow() {
    if (this.#state.name === "closed") this.#attempt = 0;
    this.#notBefore = 0;
    this.open();
  }

  /**
   * Something changed that makes it worth looking: the network is back, or the page is seen again. A waiting
   * connection tries sooner, though never before the time the server asked for; a live one is probed, because
   * a phone that slept may hold a socket that is long dead.
   */
  nudge() {
    if (this.#state.name === "live") {
      this.#probe();
    } else if (this.#state.retryAt) {
      const wait = Math.max(0, this.#notBefore - Date.now());
      this.#scheduleRetry(Math.min(wait, this.#state.retryAt - Date.now()), this.#state.reason);
    }
  }

  /** Ends this connection as if it had been cut; the usual way back follows, after `delayMs` at least. */
  reconnectAfter(delayMs, reason) {
    this.#closing = { code: 1013, reason, reconnect: true, after_ms: delayMs };
    this.#abandon(reason);
  }

  /** Ends this connection and stays away until `retryNow`. */
  closeForGood(reason) {
    this.#closing = { code: 1000, reason, reconnect: false };
    this.#abandon(reason);
  }

  /** Sends a frame and resolves with its `ok`, or rejects with a `RequestError`. */
  request(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      return Promise.reject(new RequestError("disconnected", "not connected"));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      const text = JSON.stringify({ ...frame, id });
      this.#socket.send(text);
      this.onRaw("out", text);
    });
  }

  #receive(data) {
    this.onRaw("in", typeof data === "string" ? data : "(a binary frame)");
    this.#heard();
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (frame.type === "welcome") this.#welcomed(frame);
    else if ((frame.type === "ok" || frame.type === "error") && this.#waiting.has(frame.id)) this.#answered(frame);
    else if (frame.type === "closing") this.#closing = frame;
    else this.onFrame(frame);
  }

  #welcomed(welcome) {
    const socket = this.#socket;
    clearTimeout(this.#timers.welcome);
    // With the heartbeat off the operator wants no traffic on idle connections, so there is no watch either.
    this.#silenceMs = welcome.heartbeat > 0 ? (welcome.heartbeat * 2 + 10) * 1000 : 0;
    this.#heard();
    this.establish(welcome).then(
      () => {
        if (socket !== this.#socket) return;
        this.#set("live");
        this.#timer("stable", STABLE_AFTER_MS, () => (this.#attempt = 0));
      },
      (error) => {
        if (socket !== this.#socket) return;
        const passing = ["rate_limited", "limit_exceeded", "unavailable", "internal"].includes(error.code);
        if (passing) this.reconnectAfter(error.retryAfterMs ?? 2000, error.message);
        else this.closeForGood(error.message);
      },
    );
  }

  #answered(frame) {
    const { resolve, reject } = this.#waiting.get(frame.id);
    this.#waiting.delete(frame.id);
    if (frame.type === "ok") resolve(frame);
    else reject(new RequestError(frame.code, frame.message, frame.retry_after_ms));
  }

  // The pings of the WebSocket itself are invisible to a page, so silence is measured in frames.
  #heard() {
    clearTimeout(this.#timers.answer);
    clearTimeout(this.#timers.silence);
    if (this.#silenceMs) this.#timer("silence", this.#silenceMs, () => this.#probe());
  }

  #probe() {
    this.request({ type: "ping" }).catch(() => {});
    this.#timer("answer", ANSWER_TO_PING_WITHIN_MS, () => this.#abandon("the broker did not answer"));
  }

  // On a dead network `close` alone would wait long for an answer that cannot come.
  #abandon(reason) {
    const socket = this.#socket;
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.close();
    this.#ended(1006, reason);
  }

  #ended(code, reason) {
    this.#socket = null;
    this.#clearTimers();
    const next = afterClose({ code, reason, closing: this.#closing, attempt: this.#attempt });
    this.onRaw("note", `closed: ${next.code} ${next.reason}`);
    for (const { reject } of this.#waiting.values()) {
      reject(new RequestError("disconnected", "the connection went before the answer came"));
    }
    this.#waiting.clear();
    if (!next.reconnect) {
      this.#set("closed", { reason: next.reason, code: next.code });
      return;
    }
    this.#attempt += 1;
    this.#notBefore = Date.now() + next.atLeastMs;
    this.#scheduleRetry(next.delayMs, next.reason);
  }

  #scheduleRetry(delayMs, reason) {
    this.#set("reconnecting", { retryAt: Date.now() + delayMs, reason });
    this.#timer("retry", delayMs, () => this.open());
  }

  #set(name, more = {}) {
    this.#state = { name, ...more };
    this.onState(this.#state);
  }

  #timer(name, delayMs, run) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(run, delayMs);
  }

  #clearTimers() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    this.#silenceMs = 0;
  }
}
