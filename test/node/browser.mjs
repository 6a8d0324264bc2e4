// Drives a real Chromium for the tests. Each line of standard input is {"id", "script", "args"}; the script is the body of an
// async function with page, context, cdp (Chrome's own protocol) and args in scope, and its result is written back
// as one line {"id", "result"} or {"id", "error"}. The end of standard input closes the browser.
import { chromium } from 'playwright-core'
import readline from 'node:readline'

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
})
const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1000, height: 760 } })
context.setDefaultTimeout(Number(process.env.PATIENCE_MS))
const page = await context.newPage()
const cdp = await context.newCDPSession(page)
const AsyncFunction = (async () => {}).constructor

process.stdout.write(JSON.stringify({ id: 0, result: browser.version() }) + '\n')
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { id, script, args } = JSON.parse(line)
  let answer
  try {
    const run = new AsyncFunction('page', 'context', 'cdp', 'browser', 'args', script)
    answer = { id, result: (await run(page, context, cdp, browser, args)) ?? null }
  } catch (error) {
    answer = { id, error: `${error}\nat ${page.url()}` }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
await browser.close()
process.exit(0)
