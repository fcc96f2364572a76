// A key that another process revokes is refused within a second.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { anthropicScene, type DeviceScene, messages } from '../support/anthropic.ts'
import { eventually } from '../support/sink.ts'

let on: DeviceScene
beforeAll(async () => {
  on = await anthropicScene()
})
afterAll(() => on.close())

test('revoked by another process, a key is refused within a second', async () => {
  const took: number[] = []
  for (let run = 0; run < 5; run += 1) {
    const key = (await on.command(['key', 'add', `ci-${run}`])).stdout.trim()
    await eventually(async () => (await messages(on.gate, key)).ok)
    expect(await on.command(['key', 'revoke', `ci-${run}`])).toMatchObject({ exitCode: 0 })
    const revokedAt = performance.now()
    await eventually(async () => !(await messages(on.gate, key)).ok)
    took.push(performance.now() - revokedAt)
  }
  // The median: a neighbour may hold up one of them.
  expect(took.toSorted((a, b) => a - b)[2]).toBeLessThan(1000)
})
