// @ts-check
// What the page knows: of the session, of the ledger as it came last, and of the last hour.

export const state = {
  /** @type {any} */ session: { allow_control: false, token: "", flower_url: null, environment: "", user: "" },
  /** @type {any} */ ledger: null,
  /** @type {any} */ past: null,
  /** When the ledger came, by the clock of `performance`. */ cameAt: 0,
};

/** The time by the clock of the board's machine, in milliseconds since 1970. */
export const now = () => (state.ledger ? state.ledger.at_ms + performance.now() - state.cameAt : Date.now());
