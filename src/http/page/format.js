// What numbers and times read like. The server writes the same for those without scripts.
const DASH = "–";

const $ = (id) => document.getElementById(id);

/** A time span in one unit, the largest that gives two digits where one can. */
function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  if (whole < 172_800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86_400)} days`;
}

/** Milliseconds with three digits that count. */
function millis(ms) {
  if (ms === null || ms === undefined) return DASH;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`;
}

function percent(share) {
  return share === null ? DASH : `${Math.round(share * 100)} %`;
}

/** A share in percent, rounded down: what was not all is not shown as all. */
function shareUp(share) {
  return `${(Math.floor(Math.round(share * 1_000_000) / 100) / 100).toFixed(2)} %`;
}

/** Seconds from `earlier` to `later`, both as RFC 3339 or in milliseconds; null where one is missing. */
function between(earlier, later) {
  const at = (time) => (typeof time === "string" ? Date.parse(time) : time);
  return earlier === null || later === null ? null : (at(later) - at(earlier)) / 1000;
}

function ago(time, now) {
  return time === null ? DASH : `${span(between(time, now))} ago`;
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** Numbers under words, but for those that are 0. */
function tally(counts) {
  const some = Object.entries(counts).filter(([, count]) => count);
  return some.map(([word, count]) => `${count} ${word}`).join(", ") || "none";
}
