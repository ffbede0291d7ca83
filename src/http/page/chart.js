// The two small charts of a row. Both are attributes of elements that are there already: no style is set.
const SLOTS = 60;
const HEIGHT = 24;

/** The last pings from left to right, the newest at the right edge, failed ones as ticks from top to bottom. */
function drawPings(svg, pings) {
  const [area, line, missed] = svg.children;
  svg.toggleAttribute("hidden", !pings.length);
  const good = pings.filter((ms) => ms !== null);
  const most = Math.max(...good, 0) || 1;
  const x = (i) => 2 * (i + SLOTS - pings.length);
  const y = (ms) => (HEIGHT - 1 - (ms / most) * (HEIGHT - 3)).toFixed(1);
  let [drawn, filled, ticks] = ["", "", ""];
  for (let i = 0; i < pings.length; i++) {
    if (pings[i] === null) {
      ticks += `M${x(i)} 2V${HEIGHT}`;
      continue;
    }
    const point = `${x(i)} ${y(pings[i])}`;
    const starts = i === 0 || pings[i - 1] === null;
    const ends = i === pings.length - 1 || pings[i + 1] === null;
    // A ping alone is a dot: a line of no length with round ends.
    drawn += starts ? `M${point}L${point}` : `L${point}`;
    filled += `${starts ? `M${x(i)} ${HEIGHT}` : ""}L${point}${ends ? `V${HEIGHT}Z` : ""}`;
  }
  line.setAttribute("d", drawn);
  area.setAttribute("d", filled);
  missed.setAttribute("d", ticks);
  const failed = pings.length - good.length;
  const range = good.length ? `${millis(Math.min(...good))} to ${millis(Math.max(...good))}` : "none answered";
  label(svg, `last ${plural(pings.length, "ping")}: ${range}${failed ? `, ${failed} failed` : ""}`);
}

/** The shares that the phases have in the last login. */
function drawPhases(svg, phases) {
  svg.toggleAttribute("hidden", !phases.length);
  const total = phases.reduce((sum, { ms }) => sum + ms, 0);
  let x = 0;
  for (const rect of svg.children) {
    const phase = phases.find(({ phase }) => rect.classList.contains(phase));
    const width = phase && total ? (phase.ms / total) * 100 : 0;
    rect.setAttribute("x", x.toFixed(2));
    rect.setAttribute("width", width.toFixed(2));
    x += width;
  }
  label(svg, phases.map(({ phase, ms }) => `${phase} ${millis(ms)}`).join(", "));
}

/** For screen readers, and for who points at it. */
function label(svg, text) {
  svg.setAttribute("aria-label", text);
  svg.parentElement.title = text;
}
