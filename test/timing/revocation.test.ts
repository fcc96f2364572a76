// 37: a revocation from another process is heard within a second.

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { anthropicScene, type DeviceScene, messages } from '../support/anthropic.ts'
import { eventually } from '../support/sink.ts'

let on: DeviceScene
beforeAll(async () => {
  on = await anthropicScene()
})
afterAll(() => on.close())

test('revoked by another process, a token is refused within a second', async () => {
  const took: number[] = []
  for (let run = 0; run < 5; run += 1) {
    const token = await on.device()
    const family = JSON.parse(atob(token.split('.')[1] ?? '')).family
    expect(await on.command(['revoke', family])).toMatchObject({ exitCode: 0 })
    const revokedAt = performance.now()
    await eventually(async () => !(await messages(on.gate, token)).ok)
    took.push(performance.now() - revokedAt)
  }
  // The median: a neighbour may hold up one of them.
  expect(took.toSorted((a, b) => a - b)[2]).toBeLessThan(1000)
})
