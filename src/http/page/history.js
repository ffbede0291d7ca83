// What has happened to a target whose details are open: the last day as bars, and its last events.
const EVENTS = 10;
// It is asked for again after so many seconds, or when the state has changed.
const STALE = 60;
const DAY_HOURS = 24;

/** Shows what is known, and asks for it where that is nothing, or old. */
function showHistory(row, now) {
  const { target } = row;
  const key = `${target.state} ${target.since}`;
  const asked = row.history;
  if (asked && asked.key === key && between(asked.at, now) < STALE) return;
  row.history = { key, at: now };
  const { name } = target;
  fetch(`api/v1/events?target=${encodeURIComponent(name)}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) })
    .then((reply) => (reply.ok ? reply.json() : Promise.reject(new Error(`status ${reply.status}`))))
    .then(({ events, day }) => {
      drawDay(row.parts.more.querySelector(".bars"), day);
      listEvents(row.parts.more.querySelector(".events"), events);
    })
    // It is asked again soon, and the page says by itself when nobody answers.
    .catch(() => {});
}

/** A bar for each part of the day: what was down is red, from the top, and what is not known stays empty. */
function drawDay(svg, day) {
  if (svg.children.length !== 2 * day.length) {
    const rects = day.flatMap((_, i) => ["good", "bad"].map((tone) => {
      const rect = document.createElementNS(svg.namespaceURI, "rect");
      rect.setAttribute("class", tone);
      rect.setAttribute("x", String(10 * i + 1));
      rect.setAttribute("width", "8");
      return rect;
    }));
    svg.replaceChildren(...rects);
  }
  day.forEach((ratio, i) => {
    // A moment is seen, too.
    const down = ratio === null || ratio === 1 ? 0 : Math.max(3, 30 * (1 - ratio));
    const up = ratio === null ? 0 : 30 - down;
    const [good, bad] = [svg.children[2 * i], svg.children[2 * i + 1]];
    bad.setAttribute("height", down.toFixed(1));
    good.setAttribute("y", down.toFixed(1));
    good.setAttribute("height", up.toFixed(1));
  });
  const known = day.filter((ratio) => ratio !== null);
  const outages = known.filter((ratio) => ratio < 1).length;
  const hours = (DAY_HOURS * known.length) / day.length;
  label(svg, `last 24 hours, by half hours: ${plural(outages, "half hour")} with an outage, ${hours} hours known`);
}

/** The last events, the latest first. */
function listEvents(list, events) {
  const items = events.slice(0, EVENTS).map((event) => {
    const item = document.createElement("li");
    const [time, to, text] = ["time", "strong", "span"].map((kind) => item.appendChild(document.createElement(kind)));
    time.dateTime = event.at;
    time.textContent = new Date(event.at).toLocaleString();
    to.className = event.to;
    to.textContent = event.to;
    text.textContent = eventText(event);
    return item;
  });
  list.replaceChildren(...items);
}

/** What an event says beside when, and what the target became. */
function eventText({ from, reason, detail, lasted_seconds: lasted, reasons_before: before, clients }) {
  const why = reason ? `${reason.replaceAll("_", " ")}${detail ? `: ${detail}` : ""}; ` : "";
  const reasons = before.length ? ` (${before.join(", ").replaceAll("_", " ")})` : "";
  const cost = clients && from !== "up" ? Object.entries(clients).filter(([, count]) => count) : [];
  const costs = cost.length ? `; clients: ${cost.map(([word, count]) => `${count} ${word}`).join(", ")}` : "";
  return `${why}${from} for ${span(lasted)}${reasons}${costs}`;
}
