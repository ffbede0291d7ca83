// A browser for a test: reads lines of JSON `{"run": "JavaScript"}` and answers each with `{"value"}` or `{"error"}`.
// What runs sees `browser`, `context`, `page` and `seen`: requests, violations and errors of all pages so far.
// Usage: node bridge.mjs FOLDER    where FOLDER has node_modules/playwright-core
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const { chromium } = createRequire(join(resolve(process.argv[2]), "package.json"))("playwright-core");
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

const AsyncFunction = (async () => {}).constructor;
const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

say({ value: browser.version() });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const run = new AsyncFunction("browser", "context", "page", "seen", "reopen", JSON.parse(line).run);
    say({ value: (await run(browser, context, page, seen, reopen)) ?? null });
  } catch (error) {
    say({ error: String(error?.stack ?? error) });
  }
}
await browser.close();
