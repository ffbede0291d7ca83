// One target's row: made once, then only what differs is written. All text goes in as text, never as HTML.
const PURPOSES = { first: "attempt", prove: "probe", confirm: "second check" };
const BECAUSE = {
  backoff: "backoff",
  breaker: "breaker open",
  slow_lane: "up to 5 min apart",
  starting_up: "server is starting",
  capacity: "no free connection slot",
  asked: "asked to wait",
};

function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The first element of a pattern, anew. */
function copyOf(id) {
  return $(id).content.firstElementChild.cloneNode(true);
}

class Row {
  /** Without a body it only remembers, until it is given one. */
  constructor(body) {
    this.target = null;
    this.body = null;
    if (body) this.take(body);
  }

  take(body) {
    this.body = body;
    this.parts = {};
    for (const part of body.querySelectorAll("[class]")) this.parts[part.classList[0]] ??= part;
  }

  build(now) {
    this.take(copyOf("row"));
    this.body.dataset.name = this.target.name;
    this.paint(null, now);
  }

  /** A part that most rows can do without, made from its pattern when it is first needed. */
  need(part, under) {
    this.parts[part] ??= under.appendChild(copyOf(part));
    return this.parts[part];
  }

  /** Takes what the server says of the target now. */
  show(target, now) {
    const before = this.target;
    this.target = target;
    if (this.body) this.paint(before, now);
  }

  /** Writes what differs from `before`. */
  paint(before, now) {
    const { parts, target } = this;
    if (this.body.className !== target.state) this.body.className = target.state;
    write(parts.name, target.name);
    write(parts.optional, target.required ? "" : "optional");
    write(parts.location, locationOf(target));
    write(parts.used, usedOf(target));
    write(parts.waiting, waitingOf(target));
    write(parts.state, target.state);
    write(parts.uptime, outagesOf(target));
    write(parts.reconnects, String(target.counters.reconnects));
    write(parts.now, pingOf(target));
    write(parts.breaker, target.breaker.replace("_", " "));
    parts.breaker.className = `breaker ${target.breaker}`;
    this.showWhy();
    if (String(before?.pings_ms ?? "") !== String(target.pings_ms)) {
      drawPings(this.need("pings", parts.reading), target.pings_ms);
    }
    if ((before?.last_login ?? null) !== target.last_login) this.showLogin();
    this.tick(now);
  }

  showWhy() {
    const { parts, target } = this;
    parts.why.hidden = target.reason === null;
    write(parts.reason, (target.reason ?? "").replaceAll("_", " "));
    write(parts.remedy, target.remedy ?? "");
    write(parts.detail, target.detail ?? "");
    write(parts.order, target.reconnect_path ? `try now: POST ${target.reconnect_path}` : "");
  }

  showLogin() {
    const { phases } = this.target;
    const { total } = this.parts;
    write(total, millis(loginOf(this.target)));
    drawPhases(this.need("phases", total.parentElement), phases);
  }

  /** Writes what changes as time goes by. */
  tick(now) {
    const { parts, target } = this;
    write(parts.since, `for ${span(between(target.since, now))}`);
    write(parts.age, target.session ? span(ageOf(target, now)) : DASH);
    const [next, because] = nextOf(target, now);
    write(parts.next, next);
    write(parts.because, because);
    if (!this.isOpen()) return;
    this.showFacts(now);
    showHistory(this, now);
  }

  isOpen() {
    return this.parts.name.ariaExpanded === "true";
  }

  toggle(now) {
    this.parts.name.ariaExpanded = String(!this.isOpen());
    this.need("more", this.body).hidden = !this.isOpen();
    this.tick(now);
  }

  showFacts(now) {
    const list = this.parts.more.querySelector("dl");
    const facts = factsOf(this.target, now);
    if (list.children.length !== facts.length) {
      list.replaceChildren(...facts.map(() => {
        const pair = document.createElement("div");
        pair.append(document.createElement("dt"), document.createElement("dd"));
        return pair;
      }));
    }
    facts.forEach(([name, value, tone = ""], i) => {
      const [dt, dd] = list.children[i].children;
      write(dt, name);
      write(dd, value);
      dd.className = tone;
    });
  }
}

function locationOf({ location }) {
  return location ? `${location.host}:${location.port}/${location.database}` : "";
}

/** How much of the last day it was up, or of what is known of that, where it is not all. */
function outagesOf({ uptime }) {
  const { ratio, known } = uptime["24h"];
  const length = known < 0.99 ? `of ${span(known * 86_400)}` : "in 24 h";
  return ratio === null || ratio === 1 ? "" : `${shareUp(ratio)} ${length}`;
}

/** Each window; what is known of only in part is marked. */
function uptimeOf({ uptime }) {
  const window = ([name, { ratio, known }]) => `${name.replace(/(?=[a-z])/, " ")} ${ratio === null ? DASH : shareUp(ratio)}${ratio !== null && known < 0.99 ? "*" : ""}`;
  const windows = Object.entries(uptime).map(window).join(", ");
  return windows.includes("*") ? `${windows} (* of the time that is known)` : windows;
}

/** How much of the pool is taken, where there is one. */
function usedOf({ pool }) {
  return pool ? `pool: ${pool.servers.active} of ${pool.size} in use${pool.paused ? ", paused" : ""}` : "";
}

/** Who needs a session and has none. */
function waitingOf({ pool }) {
  return pool?.clients.waiting ? `${pool.clients.waiting} waiting` : "";
}

/** The last ping of the session in hand. */
function pingOf({ session, ping_ms: ms, pings_ms: pings }) {
  if (!session) return DASH;
  return pings.at(-1) === null ? "failed" : millis(ms);
}

/** The session's age: what the server said, and the time since. */
function ageOf(target, now) {
  return target.session.age_seconds + between(target.readAt, now);
}

/** How long the last login took, in milliseconds. */
function loginOf({ phases }) {
  return phases.length ? phases.reduce((sum, { ms }) => sum + ms, 0) : null;
}

/** What is done next, and why not now. */
function nextOf(target, now) {
  const { attempt } = target;
  const purpose = PURPOSES[attempt.purpose] ?? attempt.purpose;
  switch (attempt.doing) {
    case "waiting": {
      const left = between(now, attempt.until);
      const why = BECAUSE[attempt.because] ?? attempt.because;
      return [left < 1 ? "connecting …" : `${purpose} in ${span(left)}`, attempt.tcp_connect ? `${why}, TCP only` : why];
    }
    case "connecting":
      return [purpose, "connecting …"];
    case "logging_in":
      return [purpose, "logging in …"];
    default: {
      if (!target.session || target.refresh_interval_seconds === null) return [DASH, ""];
      const left = target.refresh_interval_seconds - between(target.last_login, now);
      return [left < 1 ? "refresh due" : `refresh within ${span(left)}`, ""];
    }
  }
}

/** What there is to know beside the columns: each a name and a text, and the class of a text that stands out. */
function factsOf(target, now) {
  const { session, location, counters, last_failure: failure } = target;
  const every = (seconds) => (seconds === null ? "off" : `every ${span(seconds)}`);
  const facts = [
    ["Address", location?.address ?? DASH],
    ["Provider", [location?.provider, session?.pooler].filter(Boolean).join(", ") || DASH],
    ["Server", [session?.server_version, session?.role].filter(Boolean).join(", ") || DASH],
    ["TLS", session ? (session.tls_version ?? "none") : DASH],
    ["Certificate", session?.certificate_expiry ? `until ${session.certificate_expiry.slice(0, 10)}` : DASH],
    ["Idle policy", target.idle_policy.replace("_", " ")],
    ["Required role", target.role],
    ["Ping", every(target.ping_interval_seconds)],
    ["Refresh", every(target.refresh_interval_seconds)],
    ["Learned idle limit", target.observed_idle_timeout_seconds === null ? DASH : span(target.observed_idle_timeout_seconds)],
    ["Uptime", uptimeOf(target)],
    ["Last login", ago(target.last_login, now)],
    ["Last success", ago(target.last_success, now)],
    ["Attempts", `${counters.attempts}, ${counters.failures} failed; ${percent(target.success_rate)} of the last 20 succeeded`],
    ["Consecutive failures", String(target.consecutive_failures)],
    ["Pings", `${counters.pings}, ${counters.ping_failures} failed`],
    ["Refreshes", `${counters.refreshes}, ${counters.refresh_failures} failed`],
    ["Sessions lost", String(counters.disconnects)],
    ["TCP connects", String(counters.tcp_connects)],
    ["Login phases", target.phases.map(({ phase, ms }) => `${phase} ${millis(ms)}`).join(", ") || DASH],
  ];
  if (session?.password_command_failure) facts.push(["Password command", `fails: ${session.password_command_failure}`, "waiting"]);
  if (target.pool) facts.push(...poolFactsOf(target.pool));
  if (failure) facts.push(["Last failure", `${failure.reason.replaceAll("_", " ")}, ${ago(failure.at, now)}: ${failure.detail}`]);
  return facts;
}

/** The pool in particular. */
function poolFactsOf({ listen, mode, size, max_clients: most, paused, clients, servers, checkouts, failures }) {
  return [
    ["Pool", `${listen}, ${mode} mode${paused ? ", paused: clients wait until it is resumed" : ""}`],
    ["Pool clients", `${tally(clients)}; at most ${most}`, clients.waiting ? "waiting" : ""],
    ["Pool sessions", `${tally(servers)}; at most ${size}`],
    ["Checkouts", `${checkouts}; failed: ${tally(failures)}`],
  ];
}
