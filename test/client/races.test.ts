// Races between real processes and within one: one family, and nobody locked out.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { connect } from '../../src/client/client.ts'
import { fileStorage } from '../../src/client/storage.ts'
import { type FakeGate, startFakeGate } from './fake-gate.ts'
import { folder } from './scene.ts'

const PROCESSES = 6
const racer = new URL('racer.ts', import.meta.url).pathname
let gate: FakeGate
let kept: ReturnType<typeof folder>

beforeEach(async () => {
  gate = await startFakeGate()
  kept = folder()
})
afterEach(async () => {
  await gate.close()
  kept.remove()
})

async function race(rounds: number, code: string): Promise<string[]> {
  const runs = Array.from({ length: PROCESSES }, async () => {
    const child = Bun.spawn([process.execPath, racer, gate.url, kept.path, String(rounds), code], {
      stdout: 'pipe',
      stderr: 'inherit',
    })
    const text = await new Response(child.stdout).text()
    expect(await child.exited).toBe(0)
    return text.trim()
  })
  return Promise.all(runs)
}

test('six processes on their first run with a one-time code: one enrolment, one token', async () => {
  gate.codes = new Set(['code-1'])
  const tokens = await race(0, 'code-1')
  expect(new Set(tokens).size).toBe(1)
  expect(gate.issued.has(tokens[0] ?? '')).toBe(true)
  expect(gate.count('/bootstrap')).toBe(1)
})

test('six processes that refresh at once, five times: one family, not one reuse', async () => {
  gate.codes = new Set(['code-1'])
  gate.graceMs = 0
  const tokens = await race(5, 'code-1')
  expect({ families: gate.families, reuses: gate.reuses, revoked: gate.revoked.size }).toEqual({
    families: 1,
    reuses: 0,
    revoked: 0,
  })
  for (const token of tokens) expect(gate.issued.has(token)).toBe(true)
})

test('200 refreshes at once in one process are one ask', async () => {
  const client = await connect({
    baseUrl: gate.url,
    storage: fileStorage(kept.path),
    background: false,
  })
  const all = await Promise.all(Array.from({ length: 200 }, () => client.refreshNow()))
  expect(new Set(all.map((each) => each.ok && each.value)).size).toBe(1)
  expect(gate.count('/refresh')).toBe(1)
})

test('two that share a storage without a lock live by the grace: one family', async () => {
  const { exclusively: _, ...storage } = fileStorage(kept.path)
  const of = () => connect({ baseUrl: gate.url, storage, background: false })
  const first = await of()
  const second = await of()
  for (let round = 0; round < 10; round += 1) {
    const both = await Promise.all([first.refreshNow(), second.refreshNow()])
    expect(both.every(({ ok }) => ok)).toBe(true)
  }
  expect({ families: gate.families, reuses: gate.reuses }).toEqual({ families: 1, reuses: 0 })
})
