// 49: 3,000 streams at once with POSTERN_LONG=1, and 1,000 without. None is stalled, none is cut, each gets every event, in order.

import type { Subprocess } from 'bun'
import { afterAll, expect, test } from 'bun:test'
import { until } from '../support/binary.ts'
import { scene } from '../support/gate.ts'
import { howMany } from '../support/long.ts'

const STREAMS = howMany(1000, 3000)
const EVENTS = 8
const PERIOD_MS = 400

test(`49: ${STREAMS} streams at once, every event of each, in order`, async () => {
  const here = import.meta.dir
  const upstream = run([`${here}/crowd-upstream.ts`, ...[STREAMS, EVENTS, PERIOD_MS].map(String)])
  const port = await until(() => upstream.lines()[0])
  const at = await scene({ env: { TINFOIL_BASE_URL: `http://127.0.0.1:${port}` } })
  const before = at.gate.rssBytes()
  const args = [`${here}/crowd-clients.ts`, at.gate.port, at.token, STREAMS, EVENTS].map(String)
  const clients = run(args)
  await until(() => clients.lines().includes('full'))
  let most = at.gate.rssBytes()
  await until(() => {
    most = Math.max(most, at.gate.rssBytes())
    return clients.lines()[1]
  })
  const grown = most - before
  const { longestGapMs, ...results } = JSON.parse(clients.lines()[1] ?? '')
  console.log(
    `49: RSS ${mb(before)} MB before, ${mb(before + grown)} MB at most with ${STREAMS} streams, ` +
      `${(grown / STREAMS / 1024).toFixed(1)} KiB each; longest gap ${Math.round(longestGapMs)} ms`,
  )
  expect(results).toEqual({ complete: STREAMS, broken: 0 })
  expect(grown / STREAMS).toBeLessThan(100 * 1024)
  expect(at.gate.errors()).toBe('')
  await at.close()
})

const children = new Set<Subprocess>()
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

function run(args: readonly string[]): { lines(): string[] } {
  const child = Bun.spawn([process.execPath, ...args], { stdout: 'pipe', stderr: 'inherit' })
  children.add(child)
  let text = ''
  const read = async (): Promise<void> => {
    const decoder = new TextDecoder()
    for await (const bytes of child.stdout) text += decoder.decode(bytes)
  }
  void read()
  return { lines: () => text.split('\n').slice(0, -1) }
}

const mb = (bytes: number): string => (bytes / 1_048_576).toFixed(0)
