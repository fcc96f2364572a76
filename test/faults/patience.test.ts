// Whole answers take minutes, and are waited for with the defaults; a host that has gone is not.

import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import { anthropicScene, type DeviceScene } from '../support/anthropic.ts'
import { until } from '../support/binary.ts'
import { LONG } from '../support/long.ts'

const SECOND_MS = 1000

let on: DeviceScene
beforeEach(async () => {
  on = await anthropicScene()
  on.upstream.respond((_request, response, body) => {
    const seconds = Number(/"seconds (\d+)"/.exec(body.toString())?.[1] ?? 0)
    setTimeout(() => {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"type":"message"}')
    }, seconds * SECOND_MS)
  })
})
afterEach(() => on.close())

/** With node:http, which waits for as long as it takes. */
function post(token: string, seconds: number): Promise<number> {
  const content = `seconds ${seconds}`
  const body = JSON.stringify({
    model: 'claude-haiku-4-5',
    max_tokens: 1,
    messages: [{ role: 'user', content }],
  })
  return new Promise((resolve, reject) => {
    const request = http.request(`${on.gate.url}/v1/messages`, {
      method: 'POST',
      agent: false,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    })
    request.on('error', reject)
    request.on('response', (response) => {
      response.resume()
      response.on('end', () => resolve(response.complete ? (response.statusCode ?? 0) : -1))
      response.on('error', reject)
    })
    request.end(body)
  })
}

describe.skipIf(!LONG)('whole answers', () => {
  test('after 75 s for six devices, and after 270 s for one more, while others go through', async () => {
    const tokens = await Promise.all(Array.from({ length: 8 }, () => on.device()))
    const slow = tokens.slice(0, 6).map((token) => post(token, 75))
    const slowest = post(tokens[6] ?? '', 270)
    for (let at = 0; at < 90; at += 10) {
      expect(await post(tokens[7] ?? '', 0)).toBe(200)
      await Bun.sleep(10 * SECOND_MS)
    }
    expect(await Promise.all(slow)).toEqual([200, 200, 200, 200, 200, 200])
    expect(await slowest).toBe(200)
  }, 300_000)

  test('six devices that wait alone, for 100 s, with an upstream that says nothing else', async () => {
    const tokens = await Promise.all(Array.from({ length: 7 }, () => on.device()))
    const slow = tokens.slice(0, 6).map((token) => post(token, 100))
    await Bun.sleep(80 * SECOND_MS)
    expect(await post(tokens[6] ?? '', 0)).toBe(200)
    expect(await Promise.all(slow)).toEqual([200, 200, 200, 200, 200, 200])
    // It was asked whether it is there, and not shut.
    expect(on.upstream.seen.some(({ url }) => url === '/v1/models')).toBe(true)
  }, 150_000)
})

test.skipIf(process.platform !== 'linux')(
  'a connection to an upstream is probed by the kernel after 30 s of silence',
  async () => {
    const waiting = post(await on.device(), 1)
    // proc(5): the fourth column is the state, 01 for established; the sixth is the timer that runs,
    // 02 for keep-alive, and its hundredths of a second.
    const theirs = `0100007F:${on.upstream.port.toString(16).toUpperCase().padStart(4, '0')}`
    const timer = await until(
      () =>
        readFileSync('/proc/net/tcp', 'latin1')
          .split('\n')
          .map((line) => line.trim().split(/\s+/))
          .find(
            ([, , to, state, , running = '']) =>
              to === theirs && state === '01' && running.startsWith('02:'),
          )?.[5],
    )
    const seconds = Number.parseInt(timer.slice(3), 16) / 100
    expect(seconds).toBeLessThanOrEqual(30)
    expect(seconds).toBeGreaterThan(20)
    expect(await waiting).toBe(200)
  },
)
