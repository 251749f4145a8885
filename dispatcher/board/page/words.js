// @ts-check
// Numbers, times and sizes as people read them.
import { now } from "./state.js";

export const number = new Intl.NumberFormat("en");
export const count = (/** @type {number} */ n, /** @type {string} */ noun, plural = `${noun}s`) => `${number.format(n)} ${n === 1 ? noun : plural}`;

export function span(/** @type {number} */ ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}
export const ago = (/** @type {number} */ ms) => span(now() - ms);
export const until = (/** @type {number} */ ms) => (ms <= now() ? "now" : `in ${span(ms - now() + 999)}`);
export const clock = (/** @type {number} */ ms, seconds = false) => {
  const at = new Date(ms);
  return at.toLocaleTimeString("en-GB", seconds ? {} : { hour: "2-digit", minute: "2-digit" });
};
export function size(/** @type {number} */ bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000, at = 0;
  while (value >= 999.5 && at < units.length - 1) { value /= 1000; at += 1; }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}
export const rate = (/** @type {number | null} */ value) => (value == null ? "–" : value >= 10 || value === 0 ? number.format(Math.round(value)) : value.toFixed(1));
