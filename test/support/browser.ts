// A real browser, where this machine has one: Debian's chromium, or what CHROMIUM names. Where
// everything has to be shown (CI=true), none is an error; elsewhere it is said once.

import { PATIENCE_MS } from './patience.ts'
import { type Browser, chromium } from 'playwright-core'

const path = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** Whether tests that need a browser can run; says so where they cannot. */
export async function hasBrowser(): Promise<boolean> {
  if (await Bun.file(path).exists()) return true
  // `startBrowser` then fails, and says what is missing.
  if (process.env['CI'] === 'true') return true
  console.warn(`skipped: no browser at ${path} (apt-get install chromium, or set CHROMIUM)`)
  return false
}

/** The last such flag counts: playwright's own list is in it, as far as it matters here. */
const NEEDLESS = [
  'AvoidUnnecessaryBeforeUnloadCheckSync',
  'DestroyProfileOnBrowserClose',
  'HttpsUpgrades',
  'HttpsFirstBalancedModeAutoEnable',
  'MediaRouter',
  'PaintHolding',
  'ThirdPartyStoragePartitioning',
  'OptimizationHints',
  'NetworkTimeServiceQuerying',
  'PreconnectToSearch',
  'IsolateOrigins',
  'site-per-process',
  'SpareRendererForSitePerProcess',
].join()

/** A third less processor time: no process for each site, and scripts of a few lines are not compiled. */
const FRUGAL = [
  '--disable-gpu',
  '--disable-software-rasterizer',
  '--disable-site-isolation-trials',
  `--disable-features=${NEEDLESS}`,
  '--renderer-process-limit=2',
  '--js-flags=--max-lazy --jitless',
]

export function startBrowser(): Promise<Browser> {
  // Chromium's sandbox is not for root, which containers run as.
  const args = [...FRUGAL, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])]
  return chromium.launch({ executablePath: path, args, timeout: PATIENCE_MS })
}
