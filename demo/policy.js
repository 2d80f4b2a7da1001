// When to come back after a close, and how long to wait. Pure, so that it can be tested without a socket.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

// Codes below 4000 after which another attempt may succeed. 1005 and 1006 are what a browser makes up when no
// close frame came; 1012, 1014 and 1015 are spoken by proxies in between.
const WORTH_ANOTHER_TRY = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015]);

const MEANINGS = {
  1000: "the connection was closed on request",
  1001: "the broker is going away",
  1002: "protocol error",
  1003: "this kind of data is not allowed here",
  1006: "the connection was lost",
  1007: "invalid text",
  1008: "not allowed",
  1009: "a message was too large",
  1011: "an error inside the broker",
  1013: "the broker is overloaded",
  4001: "the credentials have run out",
  4008: "this page was too slow to keep up",
  4009: "no sign of life",
  4029: "too many messages for too long",
  4100: "asked to reconnect",
  4500: "disconnected for good",
  4501: "the credentials were refused",
  4503: "this room is forbidden",
};

/** The rule of the protocol: 4000-4499 always mean "reconnect", 4500-4999 "do not". */
export function mayReconnect(code) {
  if (code >= 4000) return code < 4500;
  return WORTH_ANOTHER_TRY.has(code);
}

/** What to tell the reader about a close. The server's own words come first. */
export function explain(code, reason) {
  return reason || MEANINGS[code] || `closed with code ${code}`;
}

/**
 * What follows a close: whether to come back, and when. `closing` is the server's announcement, if one came; it
 * knows better than the table, and `after_ms` is its way to spread a crowd, so it is waited out in full.
 */
export function afterClose({ code, reason, closing, attempt, random = Math.random }) {
  const reconnect = closing ? closing.reconnect === true : mayReconnect(code);
  const asked = closing?.after_ms > 0 ? closing.after_ms : 0;
  return {
    reconnect,
    code: closing?.code ?? code,
    reason: explain(closing?.code ?? code, closing?.reason || reason),
    atLeastMs: asked,
    delayMs: asked || backoff(attempt, random),
  };
}

/** Grows twofold up to a cap; the jitter keeps a crowd that lost its broker together from returning together. */
export function backoff(attempt, random = Math.random) {
  const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return Math.round(ceiling * (0.5 + random() / 2));
}
