// A policy that an enrolment code names, on a gate that has none of that name.

import { expect, test } from 'bun:test'
import { anthropicScene, messages, refusalOf } from '../support/anthropic.ts'

test('a device of a policy that the gate does not have may do nothing', async () => {
  const on = await anthropicScene()
  try {
    const lost = await on.device('--policy', 'staff')
    const refused = await messages(on.gate, lost)
    expect(refused.status).toBe(403)
    expect(await refusalOf(refused)).toBe('403 permission_error')
    expect((await messages(on.gate, await on.device())).status).toBe(200)
    expect(on.upstream.seen).toHaveLength(1)
  } finally {
    await on.close()
  }
})
