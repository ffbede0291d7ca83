// Asks for the targets again and again, and shows them; says so when nobody answers.
const PATIENCE = 5000;
const SOON = 1000;
const LATE = 5000;
// What was said longer ago is not shown as if it were so now.
const OLD = 12_000;

// The first question is under way while the browser still reads the page.
let early = ask();
early.catch(() => {});
if (document.readyState === "loading") {
  await new Promise((resolve) => document.addEventListener("DOMContentLoaded", resolve, { once: true }));
}

const fleet = new Fleet(document.querySelector("table"));
// The server's clock less ours, and when it last answered by ours.
let skew = 0;
let answered = Date.now();
let gone = false;

const serverNow = () => Date.now() + skew;

async function ask() {
  const reply = await fetch("api/v1/targets", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!reply.ok) throw new Error(`status ${reply.status}`);
  return reply.json();
}

function show(report) {
  const first = $("tools").hidden;
  answered = Date.now();
  skew = (report.now ? Date.parse(report.now) : answered) - answered;
  const changed = fleet.show(report.targets, serverNow());
  write($("service"), report.service);
  write($("version"), report.version);
  showOverall(report.status, report.status, report.service);
  write($("clock"), `as of ${new Date(answered).toLocaleTimeString()}`);
  showTools();
  if (first) $("tools").hidden = false;
  if (gone) say("pgtether answers again");
  gone = false;
  document.body.classList.remove("old");
  $("gone").hidden = true;
  showRefusal($("config"), report.config);
  showRefusal($("web-config"), report.web_config);
  tell(changed);
}

function showOverall(kind, text, service) {
  const overall = $("overall");
  if (overall.className !== kind) overall.className = kind;
  write(overall, text);
  const title = `${text} · ${service} · pgtether`;
  if (document.title !== title) document.title = title;
}

/** Nobody answered: what is on the page is no longer known to be so. */
function lose(error) {
  gone = true;
  document.body.classList.add("old");
  showOverall("unknown", "unknown", $("service").textContent);
  const since = new Date(answered).toLocaleTimeString();
  const why = error.message.startsWith("status") ? ` (it answers with ${error.message})` : "";
  write($("gone"), `No answer from pgtether since ${since}${why}. The page shows the last known data and retries every second.`);
  $("gone").hidden = false;
}

/** To screen readers, politely. */
function say(text) {
  write($("said"), text);
}

function tell(changed) {
  if (!changed.length) return;
  const one = ({ target }) => `${target.name} is ${target.state}${target.reason ? `: ${target.reason.replaceAll("_", " ")}` : ""}`;
  say(changed.length <= 3 ? changed.map(one).join("; ") : `${changed.length} targets changed: ${summary()}`);
}

function summary() {
  return Array.from(fleet.counts()).filter(([, count]) => count).map(([state, count]) => `${count} ${state}`).join(", ");
}

function tick() {
  if (document.hidden || gone) return;
  if (Date.now() - answered > OLD) document.body.classList.add("old");
  else fleet.tick(serverNow());
}

/** So long, or until the page is looked at again. */
function pause(wait) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, wait);
    document.addEventListener("visibilitychange", done, { once: true });
    function done() {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", done);
      resolve();
    }
  });
}

async function follow() {
  for (;;) {
    while (document.hidden) await pause(3_600_000);
    const began = performance.now();
    let wait = SOON;
    let said = null;
    try {
      said = await (early ?? ask());
    } catch (error) {
      lose(error);
    }
    early = null;
    if (said) {
      show(said);
      // Asking and showing takes a tenth of the time at most.
      wait = Math.min(LATE, Math.max(SOON, 10 * (performance.now() - began)));
    }
    await pause(wait);
  }
}

function broken(error) {
  document.body.classList.add("old");
  write($("gone"), `This page has stopped because of an error: reload it. (${error})`);
  $("gone").hidden = false;
  throw error;
}

document.addEventListener("visibilitychange", tick);
setInterval(tick, 1000);
controls();
follow().catch(broken);
