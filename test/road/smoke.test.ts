import { afterAll, beforeAll, expect, test } from 'bun:test'
import { API_KEY, type Scene, scene } from '../support/gate.ts'

let at: Scene
beforeAll(async () => {
  at = await scene()
})
afterAll(() => at.close())

test("the server's key reaches the upstream, the client's token does not", async () => {
  const response = await fetch(`${at.gate.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${at.token}`, 'content-type': 'application/json' },
    body: '{"model":"m"}',
  })
  expect(await response.text()).toBe('{"ok":true}')
  expect(response.status).toBe(200)
  const [seen] = at.upstream.seen
  expect(seen?.headers.authorization).toBe(`Bearer ${API_KEY}`)
  expect(JSON.stringify(seen)).not.toContain(at.token)
  const line = await at.gate.logged(response.headers.get('x-request-id') ?? '')
  expect(line).toMatchObject({ status: 200, end: 'complete', bytes_in: 13, bytes_out: 11 })
})
