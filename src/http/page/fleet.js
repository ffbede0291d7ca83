// All rows: which are shown, in what order, and how many there are of each state.
// So many rows are made at once, and the keyboard is heard before the next. The first are there already: the server
// wrote as many.
const PORTION = 30;
const STATES = ["down", "degraded", "starting", "sleeping", "up"];
const names = new Intl.Collator("en", { numeric: true });

/** What a column sorts by, and which end comes first. No value is last either way. */
const SORTS = {
  name: [(row) => row.target.name, 1],
  state: [(row) => (row.target.health === "failing" ? -1 : STATES.indexOf(row.target.state)), 1],
  session: [(row) => row.target.session?.age_seconds ?? null, 1],
  reconnects: [(row) => row.target.counters.reconnects, -1],
  ping: [(row) => (row.target.session ? row.target.ping_ms : null), -1],
  login: [(row) => loginOf(row.target), -1],
  breaker: [(row) => ["open", "half_open", "closed"].indexOf(row.target.breaker), 1],
  next: [(row) => row.target.attempt.until ?? null, 1],
};

class Fleet {
  constructor(table) {
    this.table = table;
    this.rows = new Map(Array.from(table.tBodies, (body) => [body.dataset.name, new Row(body)]));
    this.portion = PORTION;
    this.wanted = { words: [], state: null, sort: "state", reversed: false };
  }

  /** Takes all targets; returns the rows whose state has changed. */
  show(targets, now) {
    const changed = [];
    const gone = new Set(this.rows.keys());
    for (const target of targets) {
      gone.delete(target.name);
      const row = this.rows.get(target.name) ?? this.add(target.name);
      const before = row.target?.state ?? target.state;
      target.readAt = now;
      row.show(target, now);
      if (before !== target.state) changed.push(row);
    }
    for (const name of gone) this.remove(name);
    return changed;
  }

  add(name) {
    const row = new Row(null);
    this.rows.set(name, row);
    return row;
  }

  remove(name) {
    this.rows.get(name).body?.remove();
    this.rows.delete(name);
  }

  tick(now) {
    for (const row of this.rows.values()) if (row.body && row.target) row.tick(now);
  }

  counts() {
    const counts = new Map(STATES.map((state) => [state, 0]));
    for (const { target } of this.rows.values()) counts.set(target.state, counts.get(target.state) + 1);
    return counts;
  }

  /** Hides what is not wanted, and puts the rest in order; returns how many are left. */
  arrange(now) {
    const rows = Array.from(this.rows.values()).filter((row) => row.target);
    rows.sort((a, b) => this.compare(a, b));
    const focused = document.activeElement;
    let shown = 0;
    let place = this.table.tHead.nextElementSibling;
    for (const row of rows) {
      const wanted = this.matches(row.target);
      shown += wanted;
      if (!row.body && wanted && shown <= this.portion) row.build(now);
      if (!row.body) continue;
      if (row.body === place) place = place.nextElementSibling;
      else this.table.insertBefore(row.body, place);
      row.body.hidden = !wanted;
    }
    // A row that moves loses the focus.
    if (focused !== document.activeElement) focused.focus({ preventScroll: true });
    return shown;
  }

  /** How many are wanted. */
  matching() {
    return Array.from(this.rows.values()).filter(({ target }) => this.matches(target)).length;
  }

  compare(a, b) {
    const [of, direction] = SORTS[this.wanted.sort];
    const [x, y] = [of(a), of(b)];
    const sign = this.wanted.reversed ? -direction : direction;
    if (x !== y) {
      if (x === null || y === null) return x === null ? 1 : -1;
      const order = typeof x === "string" ? names.compare(x, y) : x - y;
      if (order) return sign * order;
    }
    return names.compare(a.target.name, b.target.name);
  }

  matches(target) {
    const { words, state } = this.wanted;
    if (state && target.state !== state) return false;
    if (!words.length) return true;
    const { name, location, reason, state: is, breaker, remedy } = target;
    const told = [name, locationOf(target), location?.provider, is, reason, remedy, target.detail, `breaker ${breaker}`, usedOf(target), waitingOf(target)];
    const text = told.join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  }
}
