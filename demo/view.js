// Draws the room. It reads the state and asks through callbacks; it keeps nothing that the room does not know.

import { Follower, byId, copy, el } from "./dom.js";
import { hash } from "./room.js";

const GROUPED_WITHIN_MS = 5 * 60_000;
const NEAR_THE_END_PX = 80;
const COLOURS = 12;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export class View {
  #on;
  #log = byId("log");
  #follower;
  #drawn = new Map();
  #unread = 0;
  #countdown;

  /** `on`: retry(id), discard(id) for own messages. */
  constructor({ topic, curl, on }) {
    this.#on = on;
    this.title = `${topic} · Fanfare`;
    document.title = this.title;
    byId("topic").textContent = topic;
    byId("empty-curl").append(...curlLine(curl));
    byId("side-curl").append(...curlLine(curl));

    this.#follower = new Follower(byId("scroll"), { slack: NEAR_THE_END_PX, onArrive: () => this.#read() });
    byId("newer").addEventListener("click", () => this.#follower.toEnd());
  }

  // ---- the log

  render(room, { settled, presenceOff }) {
    this.#renderLog([...room.log, ...room.outbox]);
    this.#renderMembers(room, presenceOff);
    byId("empty").hidden = !settled || room.log.length + room.outbox.length > 0;
  }

  #renderLog(entries) {
    const wanted = new Map();
    let previous = null;
    for (const entry of entries) {
      const first = !continues(previous, entry);
      if (!previous || !sameDay(previous.time, entry.time)) {
        const key = `day ${new Date(entry.time).toDateString()}`;
        wanted.set(key, this.#drawn.get(key) ?? { element: dayLine(entry.time) });
      }
      const drawn = this.#drawn.get(entry.key);
      const same = drawn && drawn.entry === entry && drawn.first === first;
      wanted.set(entry.key, same ? drawn : { entry, first, element: this.#draw(entry, first) });
      previous = entry;
    }

    const added = [...wanted].filter(([key, { entry }]) => entry && !this.#drawn.has(key) && entry.type === "message");
    for (const [key, { element }] of this.#drawn) {
      if (wanted.get(key)?.element !== element) element.remove();
    }
    let place = this.#log.firstChild;
    for (const { element } of wanted.values()) {
      if (element === place) place = place.nextSibling;
      else this.#log.insertBefore(element, place);
    }
    this.#drawn = wanted;

    if (added.some(([, { entry }]) => entry.status)) this.#follower.toEnd();
    this.#follower.follow();
    this.#unread = this.#follower.following ? 0 : this.#unread + added.length;
    this.#tellUnread();
  }

  #draw(entry, first) {
    if (entry.type === "line") return line(entry);
    const { name, body, mine, program, status, error, id } = entry;
    const classes = ["entry", mine && "mine", first && "first", status, entry.from && "aside"];
    return el(
      "li",
      {
        class: classes.filter(Boolean).join(" "),
        "data-testid": "entry",
        "data-offset": entry.offset,
        "data-epoch": entry.epoch,
        "data-status": status ?? "shown",
      },
      !mine && (program ? programAvatar() : avatar(name)),
      el(
        "div",
        { class: "said" },
        first
          ? el("p", { class: "by" }, el("bdi", { class: "name" }, name), entry.from && el("span", { class: "tag" }, entry.from), time(entry.time))
          : el("span", { class: "unseen" }, `${name}: `),
        el("div", { class: `body ${body.kind}`, dir: "auto", title: full.format(entry.time), tabindex: body.kind === "text" ? null : "0" }, body.text),
        status && this.#fate(id, status, error),
      ),
    );
  }

  #fate(id, status, error) {
    if (status !== "failed") {
      return el("p", { class: "fate" }, status === "waiting" ? "Waiting for the connection" : "Sending");
    }
    return el(
      "p",
      { class: "fate", role: "alert" },
      el("span", {}, `Not sent: ${error}`),
      el("button", { type: "button", class: "link", "data-testid": "retry", onclick: () => this.#on.retry(id) }, "Try again"),
      el("button", { type: "button", class: "link", onclick: () => this.#on.discard(id) }, "Discard"),
    );
  }

  #read() {
    this.#unread = 0;
    this.#tellUnread();
  }

  #tellUnread() {
    byId("newer").hidden = this.#unread === 0;
    byId("newer").textContent = this.#unread === 1 ? "1 new message" : `${this.#unread} new messages`;
  }

  // ---- who is here

  #renderMembers(room, presenceOff) {
    const members = room.memberList;
    const count = members.length + room.unlisted;
    byId("member-count").textContent = count;
    byId("drawer-count").textContent = count;
    byId("drawer-open").setAttribute("aria-label", `${count} here: who, and more about this room`);
    byId("members").replaceChildren(
      ...members.map(({ session, label, mine }) =>
        el(
          "li",
          { class: "member", "data-testid": "member", "data-session": session, title: `session ${session}` },
          avatar(label),
          el("bdi", { class: "name" }, label),
          mine && el("span", { class: "tag" }, "you"),
        ),
      ),
    );
    const note = presenceOff ? "This room does not tell who is in it." : room.unlisted ? `and ${room.unlisted} more` : "";
    byId("members-note").textContent = note;
    byId("members-note").hidden = !note;
  }

  // ---- the connection

  showState({ name, retryAt, reason }) {
    clearInterval(this.#countdown);
    const pill = byId("state");
    pill.dataset.state = name;
    pill.title = reason ?? "";
    const retry = byId("retry");
    retry.hidden = !(retryAt || name === "closed");
    retry.textContent = name === "closed" ? "Try again" : "Now";
    const say = (text) => (byId("state-text").textContent = text);

    if (retryAt) {
      const tick = () => say(`Reconnecting in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s`);
      tick();
      this.#countdown = setInterval(tick, 250);
    } else {
      say({ connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", closed: `Closed: ${reason}` }[name]);
    }
    // Told once a change, not once a second.
    const announce = { connecting: "Connecting", live: "Connected", reconnecting: "Connection lost, reconnecting", closed: `Connection closed: ${reason}` };
    if (byId("announce").textContent !== announce[name]) byId("announce").textContent = announce[name];
    document.body.dataset.state = name;
    document.title = name === "live" ? this.title : `(${name}) ${this.title}`;
  }

  showFault(text) {
    byId("empty").hidden = false;
    byId("empty-title").textContent = "There is no such room";
    byId("empty-text").textContent = text;
    byId("side").hidden = true;
    byId("composer").hidden = true;
    byId("drawer-open").hidden = true;
    byId("empty-curl").replaceChildren(el("a", { class: "button", href: location.pathname }, "Go to the lobby"));
  }
}

// ---- pieces

function continues(previous, entry) {
  return (
    previous?.type === "message" &&
    entry.type === "message" &&
    previous.name === entry.name &&
    (previous.session === entry.session || entry.mine) &&
    previous.mine === entry.mine &&
    previous.from === entry.from &&
    sameDay(previous.time, entry.time) &&
    entry.time - previous.time < GROUPED_WITHIN_MS
  );
}

function sameDay(a, b) {
  return new Date(a).toDateString() === new Date(b).toDateString();
}

function dayLine(at) {
  const label = sameDay(at, Date.now()) ? "Today" : day.format(at);
  return el("li", { class: "day" }, el("span", {}, label));
}

function line({ kind, text, time: at }) {
  const moved = kind === "join" || kind === "leave";
  return el(
    "li",
    { class: `line ${kind}`, "data-testid": moved ? "system-entry" : "note" },
    el("span", { title: full.format(at) }, el("bdi", {}, text)),
  );
}

function time(at) {
  return el("time", { datetime: new Date(at).toISOString(), title: full.format(at) }, clock.format(at));
}

function avatar(name) {
  const initial = [...name][0]?.toUpperCase() ?? "?";
  return el("span", { class: `avatar c${hash(name) % COLOURS}`, "aria-hidden": "true" }, initial);
}

// What speaks without a name is no person.
function programAvatar() {
  return el("span", { class: "avatar program", "aria-hidden": "true" }, ">_");
}

function curlLine(command) {
  // A long address breaks at its slashes; what is copied has no break in it.
  const pieces = command.split(/(?<=[^/]\/)(?!\/)/).flatMap((piece) => [el("wbr"), piece]);
  const code = el("code", { tabindex: "0", "aria-label": "Command" }, ...pieces);
  const button = el("button", { type: "button", class: "small" }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(command, code)) ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return [code, button];
}
