// When a gate looks at its file: seldom while nothing happens, soon after a change, and often while there
// is too much to be told of.

import { afterEach, beforeEach, expect, test } from 'bun:test'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Lookout, lookout } from '../../src/database/lookout.ts'
import { eventually } from '../support/sink.ts'

let folder: string
let files: readonly string[] | undefined
let looks: number
let onLook: () => void
let looking: Lookout

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-lookout-'))
  files = ['a', 'b'].map((name) => join(folder, name))
  for (const file of files) writeFileSync(file, '')
  looks = 0
  onLook = () => {}
  looking = lookout(
    () => {
      looks += 1
      onLook()
    },
    () => files,
  )
})

afterEach(() => {
  looking.stop()
  rmSync(folder, { recursive: true })
})

/** In as much time as has really passed: a busy machine wakes late. */
const looksWithin = async (ms: number): Promise<number> => {
  const [before, began] = [looks, performance.now()]
  await Bun.sleep(ms)
  return ((looks - before) * ms) / (performance.now() - began)
}

const nextLook = async (): Promise<number> => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const began = performance.now()
  onLook = resolve
  // The lookout's own timer holds nothing up, and `bun test` spins where nothing else is waited for.
  const waiting = setInterval(() => {}, 60_000)
  await promise
  clearInterval(waiting)
  return performance.now() - began
}

test.if(process.platform === 'linux')('nothing happens: a few looks a second', async () => {
  await eventually(async () => looks > 0)
  expect(await looksWithin(600)).toBeLessThan(6)
})

test.if(process.platform === 'linux')('a change is followed by a look', async () => {
  await eventually(async () => looks > 0)
  const took: number[] = []
  for (let time = 0; time < 5; time += 1) {
    await nextLook()
    appendFileSync(join(folder, 'a'), 'x')
    took.push(await nextLook())
  }
  expect(Math.min(...took)).toBeLessThan(125)
})

test.if(process.platform === 'linux')('so is a deletion', async () => {
  await eventually(async () => looks > 0)
  await nextLook()
  const took: number[] = []
  for (const file of files ?? []) {
    rmSync(file)
    took.push(await nextLook())
    await nextLook()
  }
  expect(Math.min(...took)).toBeLessThan(125)
})

test('many changes: it looks often, and is not told of more', async () => {
  await eventually(async () => looks > 0)
  // On a loaded machine the system tells of several changes at once, so that one burst may be too few.
  await eventually(async () => {
    for (let change = 0; change < 60; change += 1) {
      appendFileSync(join(folder, 'b'), 'x')
      await Bun.sleep(1)
    }
    return (await looksWithin(500)) > 5
  })
})

test('files that are not there, or that nobody can name: it looks often', async () => {
  files = [join(folder, 'c')]
  await eventually(async () => (await looksWithin(500)) > 5)
  files = undefined
  await eventually(async () => (await looksWithin(500)) > 5)
})

test('it stops', async () => {
  await eventually(async () => looks > 0)
  looking.stop()
  appendFileSync(join(folder, 'a'), 'x')
  expect(await looksWithin(300)).toBe(0)
})
