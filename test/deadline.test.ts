// Time limits that share one timer: each is kept, none is early, and none outlives its being cleared.

import { PATIENCE_MS } from './support/patience.ts'
import { afterEach, beforeEach, expect, jest, test } from 'bun:test'
import { clearDeadline, type Deadline, deadline, setDeadline } from '../src/turn/deadline.ts'

beforeEach(() => {
  jest.useFakeTimers()
})
afterEach(() => {
  // So that the timer of one test, which is not a real one, isn't the next one's.
  jest.advanceTimersByTime(100_000)
  jest.useRealTimers()
})

/** The milliseconds after which it passed; undefined while it has not. */
function watched(afterMs: number, also?: () => void): { at: number | undefined; set: Deadline } {
  const began = performance.now()
  const watch: { at: number | undefined; set: Deadline } = {
    at: undefined,
    set: deadline(afterMs, () => {
      if (watch.at !== undefined) throw new Error('passed twice')
      watch.at = performance.now() - began
      also?.()
    }),
  }
  return watch
}

test('none is early, and none later than a tick', () => {
  const all = [0, 1, 99, 100, 101, 250, 1000, 4999].map((ms) => ({ ms, watch: watched(ms) }))
  for (let ms = 0; ms < 5200; ms += 1) jest.advanceTimersByTime(1)
  for (const { ms, watch } of all) {
    expect(watch.at).toBeGreaterThanOrEqual(ms)
    expect(watch.at).toBeLessThanOrEqual(ms + 101)
  }
})

test('one that was cleared never passes, and clearing it again or none is nothing', () => {
  const kept = watched(300)
  const cleared = watched(200)
  jest.advanceTimersByTime(150)
  clearDeadline(cleared.set)
  clearDeadline(cleared.set)
  clearDeadline(undefined)
  jest.advanceTimersByTime(1000)
  expect(cleared.at).toBeUndefined()
  expect(kept.at).toBeDefined()
  clearDeadline(kept.set)
})

test('each passes once', () => {
  let passed = 0
  deadline(10, () => {
    passed += 1
  })
  jest.advanceTimersByTime(5000)
  expect(passed).toBe(1)
})

test('one that is set, or cleared, where another passes', () => {
  let later: ReturnType<typeof watched> | undefined
  const doomed: { set?: Deadline } = {}
  let doomedPassed = false
  watched(50, () => {
    later = watched(50)
    clearDeadline(doomed.set)
  })
  doomed.set = deadline(60, () => {
    doomedPassed = true
  })
  jest.advanceTimersByTime(150)
  expect(later).toBeDefined()
  expect(later?.at).toBeUndefined()
  jest.advanceTimersByTime(200)
  expect(later?.at).toBeGreaterThanOrEqual(50)
  expect(doomedPassed).toBe(false)
})

test('a deadline that is set again moves and passes once; afterwards it can be set again', () => {
  const began = performance.now()
  const passed: number[] = []
  const own: Deadline = {
    place: -1,
    atMs: -1,
    passed: () => void passed.push(performance.now() - began),
  }
  setDeadline(own, 200)
  const other = watched(200)
  setDeadline(own, 1000)
  for (let ms = 0; ms < 2000; ms += 1) jest.advanceTimersByTime(1)
  expect(other.at).toBeLessThanOrEqual(301)
  expect(passed).toHaveLength(1)
  expect(passed[0]).toBeWithin(1000, 1102)
  setDeadline(own, 500)
  clearDeadline(own)
  setDeadline(own, 1000)
  for (let ms = 0; ms < 2000; ms += 1) jest.advanceTimersByTime(1)
  expect(passed).toHaveLength(2)
  expect(passed[1]).toBeWithin(3000, 3102)
})

test('they go on after all were gone', () => {
  for (let round = 0; round < 3; round++) {
    const watch = watched(20)
    jest.advanceTimersByTime(500)
    expect(watch.at).toBeLessThanOrEqual(121)
  }
})

test('of many, each on its own time', () => {
  const watches = Array.from({ length: 10_000 }, (_, index) => watched(index % 1000))
  for (const [index, { set }] of watches.entries()) if (index % 2 === 0) clearDeadline(set)
  for (let ms = 0; ms < 1200; ms += 10) jest.advanceTimersByTime(10)
  for (const [index, { at }] of watches.entries()) {
    if (index % 2 === 0) expect(at).toBeUndefined()
    else expect(at).toBeGreaterThanOrEqual(index % 1000)
  }
})

test('one that throws takes no other with it, and a process ends when none is left', async () => {
  const file = new URL('../src/turn/deadline.ts', import.meta.url).pathname
  const code = `
    import { clearDeadline, deadline } from ${JSON.stringify(file)}
    process.on('uncaughtException', (error) => console.log(error.message))
    deadline(10, () => { throw new Error('first') })
    deadline(10, () => console.log('second'))
    clearDeadline(deadline(60_000, () => {}))`
  const child = Bun.spawn([process.execPath, '-e', code], {
    stdout: 'pipe',
    stderr: 'inherit',
    timeout: PATIENCE_MS,
  })
  const said = await new Response(child.stdout).text()
  expect(said.trim().split('\n').toSorted()).toEqual(['first', 'second'])
  expect(await child.exited).toBe(0)
})
