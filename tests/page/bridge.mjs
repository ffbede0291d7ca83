// A browser for a test: reads lines of JSON `{"run": "JavaScript"}` and answers each with `{"value"}` or `{"error"}`.
// What runs sees `page` and its `context`, `reopen` for another one, `until`, the source of `axe`, and `seen`: the
// requests, violations and errors of all pages so far.
// Usage: node bridge.mjs FOLDER    where FOLDER has node_modules/playwright-core
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const require = createRequire(join(resolve(process.argv[2]), "package.json"));
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;
const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const executablePath = PLACES.find(existsSync);
if (!executablePath) throw new Error(`no Chromium at ${PLACES.join(", ")}; \`make tools\` installs it`);

const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const seen = { requests: [], violations: [], errors: [] };

/** A page of its own whose traffic, violations and errors are written down. */
async function open(options) {
  const context = await browser.newContext(options);
  await context.exposeFunction("violated", (what) => seen.violations.push(what));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      window.violated(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
    });
  });
  context.on("request", (request) => seen.requests.push(request.url()));
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  return { context, page };
}

let { context, page } = await open({});

/** The page from now on, with other options: a phone, dark colours, no scripts. */
async function reopen(options) {
  await context.close();
  ({ context, page } = await open(options));
}

/** Waits for a function in the page to return something true; fails with what it returned last. */
async function until(look, argument) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const found = await page.evaluate(look, argument);
    if (found) return found;
    if (Date.now() > deadline) {
      throw new Error(`waited 30 s for ${look}; the page says:\n${await page.innerText("body")}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const AsyncFunction = (async () => {}).constructor;
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

say({ value: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const run = new AsyncFunction("context", "page", "seen", "reopen", "until", "axe", JSON.parse(line).run);
    say({ value: (await run(context, page, seen, reopen, until, axe)) ?? null });
  } catch (error) {
    say({ error: String(error?.stack ?? error) });
  }
}
await browser.close();
