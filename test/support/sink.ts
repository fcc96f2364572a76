// What of an attack reached the upstream.

import { PATIENCE_MS } from './patience.ts'
import type { Scene } from './gate.ts'
import type { Seen } from './upstream.ts'

/** Before each test: an upstream that has seen nothing and answers as it did at first. */
export function forget(...scenes: readonly Scene[]): void {
  for (const { upstream } of scenes) {
    upstream.seen.length = 0
    upstream.respond((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
    })
  }
}

/**
 * Everything that the upstream has seen since the last call. A good request is sent after the
 * attack and left out: when it has been answered, the attack has had its chance.
 */
export async function reachedUpstream({ gate, upstream, token }: Scene): Promise<Seen[]> {
  const marker = crypto.randomUUID()
  const response = await fetch(`${gate.url}/v1/models?${marker}`, { headers: bearer(token) })
  await response.bytes()
  return upstream.seen.splice(0).filter(({ url }) => !url.includes(marker))
}

export function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` }
}

/** The `error` object of a refusal, whatever else was sent. */
export function errorOf(body: string): Record<string, unknown> {
  const { error } = JSON.parse(body) as { error: Record<string, unknown> }
  return error
}

/** The longest pause between two looks, in milliseconds. */
const LONGEST_PAUSE_MS = 60

/**
 * Asks again and again, one after the other, until there is an answer; fails after `timeoutMs`. Its
 * pauses grow: a look may be a whole command, and routes limit how often they are asked.
 */
export async function eventually<T>(
  look: () => Promise<T | undefined | false>,
  timeoutMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + timeoutMs
  for (let pauseMs = 5; ; pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 1.4)) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) throw new Error(`nothing within ${timeoutMs} ms: ${look}`)
    await Bun.sleep(pauseMs)
  }
}
