// A page in headless Chromium: what it logs, what it asks for, what axe-core finds, whether it is too wide.
// node browser.cjs PAGE.html CHROMIUM -> one JSON document
const { chromium } = require("playwright-core");
const axe = require("fs").readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [, , file, executablePath] = process.argv;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
  "--disable-background-networking", "--disable-component-update"];

async function look(browser, width, colorScheme, media) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  const page = await context.newPage();
  const found = { width, colorScheme, media, logged: [], requests: [], faults: [] };
  page.on("console", (message) => found.logged.push(message.text()));
  page.on("pageerror", (error) => found.logged.push(String(error)));
  page.on("request", (request) => { if (request.url() !== "file://" + file) found.requests.push(request.url()); });
  await page.emulateMedia({ media, colorScheme });
  await page.goto("file://" + file);
  found.tooWide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  await page.evaluate(axe + "; 0");
  const { violations } = await page.evaluate(() => window.axe.run());
  found.faults = violations.map((one) => `${one.impact} ${one.id}: ${one.nodes[0].html.slice(0, 200)}`);
  const button = page.locator("table[data-sortable] th.number button").first();
  if (media === "screen" && await button.count()) found.sorted = await sorted(page, button);
  await context.close();
  return found;
}

async function sorted(page, button) {
  const keys = () => button.evaluate((one) => {
    const head = one.closest("th"), table = one.closest("table");
    return [head.getAttribute("aria-sort"), [...table.tBodies[0].rows].map((row) => Number(row.cells[head.cellIndex].dataset.key))];
  });
  await button.press("Enter");
  const up = await keys();
  await button.press("Enter");
  return [up, await keys()];
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: FLAGS });
  const looks = [];
  for (const width of [360, 820, 1280]) {
    for (const scheme of ["light", "dark"]) looks.push(await look(browser, width, scheme, "screen"));
  }
  looks.push(await look(browser, 794, "dark", "print"));
  await browser.close();
  console.log(JSON.stringify(looks));
})();
