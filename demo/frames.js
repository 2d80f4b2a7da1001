// The corner with the raw frames: the last 200, as they went over the wire.

import { Follower, byId, el } from "./dom.js";

const KEPT = 200;
const LONGEST_SHOWN = 2000;
const ARROWS = { in: "↓", out: "↑", note: "·" };
const WORDS = { in: "received", out: "sent", note: "connection" };

export class Frames {
  #kept = [];
  #paused = false;
  #missed = 0;
  #list = byId("frames");
  #follower = new Follower(this.#list);
  #panel = byId("frames-panel");

  constructor() {
    byId("frames-clear").addEventListener("click", () => {
      this.#kept = [];
      this.#redraw();
    });
    byId("frames-pause").addEventListener("click", (event) => {
      this.#paused = !this.#paused;
      event.target.setAttribute("aria-pressed", this.#paused);
      event.target.textContent = this.#paused ? "Resume" : "Pause";
      this.#missed = 0;
      if (!this.#paused) this.#redraw();
      this.#tell();
    });
    this.#panel.addEventListener("toggle", () => this.#redraw());
  }

  add(direction, text) {
    const frame = { direction, text, time: new Date() };
    this.#kept.push(frame);
    if (this.#kept.length > KEPT) this.#kept.shift();
    if (this.#paused) this.#missed += 1;
    else if (this.#panel.open) this.#draw(frame);
    this.#tell();
  }

  #tell() {
    byId("frames-count").textContent = this.#kept.length;
    byId("frames-note").textContent = this.#paused ? `paused, ${this.#missed} more since` : "";
  }

  #redraw() {
    this.#list.replaceChildren();
    if (this.#panel.open) this.#kept.forEach((frame) => this.#draw(frame));
    this.#tell();
  }

  #draw({ direction, text, time }) {
    const shown = text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN)} … (${text.length} characters)` : text;
    const clock = time.toTimeString().slice(0, 8) + "." + String(time.getMilliseconds()).padStart(3, "0");
    this.#list.append(
      el(
        "li",
        { class: `frame ${direction}` },
        el("span", { class: "arrow", title: WORDS[direction] }, ARROWS[direction]),
        el("span", { class: "unseen" }, WORDS[direction]),
        el("time", {}, clock),
        el("code", {}, shown),
      ),
    );
    while (this.#list.children.length > KEPT) this.#list.firstChild.remove();
    this.#follower.follow();
  }
}
