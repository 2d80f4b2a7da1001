// The only ways in which this page makes elements. Text goes in as text, so nothing that a user wrote is ever markup.

/** `el("li", {class: "x", "data-id": 1}, "text", child…)`; null and false are left out. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/**
 * Keeps a scrolling element at its end until the reader scrolls up, and again from when the end is reached.
 * Only a way up counts as leaving: an element that shrinks is not at its end either, and nobody has moved it.
 */
export class Follower {
  following = true;
  #element;
  #slack;
  #top = 0;

  constructor(element, { slack = 24, onArrive } = {}) {
    this.#element = element;
    this.#slack = slack;
    element.addEventListener(
      "scroll",
      () => {
        const { scrollHeight, scrollTop, clientHeight } = element;
        if (scrollHeight - scrollTop - clientHeight < this.#slack) this.following = true;
        else if (scrollTop < this.#top) this.following = false;
        this.#top = scrollTop;
        if (this.following) onArrive?.();
      },
      { passive: true },
    );
    new ResizeObserver(() => this.follow()).observe(element);
  }

  /** To the end, if that is where the reader is. */
  follow() {
    if (this.following) this.toEnd();
  }

  toEnd() {
    this.following = true;
    this.#element.scrollTop = this.#element.scrollHeight;
  }
}

/** Copies where the browser lets us; where not (plain http), selects, so that one key is left to press. */
export async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}
