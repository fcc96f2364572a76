// What proxies in front are told of an answer that comes piece by piece. nginx holds every answer back
// unless it is told otherwise; others compress one, and hold it back for that, or keep it.

/** Types whose pieces are of use one by one. The list is of what inference APIs send. */
const STREAMED =
  /^\s*(?:text\/event-stream|application\/(?:x-ndjson|ndjson|x-jsonl|jsonl|json-seq|stream\+json)|audio\/[\w.+-]+)\s*(?:;|$)/i

/** RFC 9111 §5.2.2: nobody serves it again unasked, and nobody changes it. */
const DIRECTIVES = ['no-cache', 'no-transform']

/** Added to what the upstream has said, which is taken back nowhere. */
export function sayStreamed(headers: Headers): void {
  const type = headers.get('content-type')
  if (type === null || !STREAMED.test(type)) return
  headers.set('x-accel-buffering', 'no')
  const said = headers.get('cache-control')?.trim() ?? ''
  const names = new Set(said.split(',').map((each) => each.trim().toLowerCase()))
  const missing = DIRECTIVES.filter((directive) => !names.has(directive))
  headers.set('cache-control', [...(said === '' ? [] : [said]), ...missing].join(', '))
}
