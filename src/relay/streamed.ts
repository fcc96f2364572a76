// Tells proxies in front that a response is streamed. nginx buffers every response unless told
// otherwise; others compress it, which also buffers, or cache it.

/** Media types whose pieces are useful one by one: what inference APIs send. */
const STREAMED =
  /^\s*(?:text\/event-stream|application\/(?:x-ndjson|ndjson|x-jsonl|jsonl|json-seq|stream\+json)|audio\/[\w.+-]+)\s*(?:;|$)/i

/** RFC 9111 §5.2.2: caches must revalidate, and nobody may transform. */
const DIRECTIVES = ['no-cache', 'no-transform']

/** Added to the upstream's own directives, none of which is removed. */
export function sayStreamed(headers: Headers): void {
  const type = headers.get('content-type')
  if (type === null || !STREAMED.test(type)) return
  headers.set('x-accel-buffering', 'no')
  const said = headers.get('cache-control')?.trim() ?? ''
  const names = new Set(said.split(',').map((each) => each.trim().toLowerCase()))
  const missing = DIRECTIVES.filter((directive) => !names.has(directive))
  headers.set('cache-control', [...(said === '' ? [] : [said]), ...missing].join(', '))
}
