// The crowd itself, in a process of its own: `COUNT` streams at once, each checked event by event.
// Prints one line of JSON. "full" on stdout means that all of them have begun.

import { event } from '../stream/raw-upstream.ts'
import { wire } from '../stream/wire.ts'

const [port, token, count, events] = Bun.argv.slice(2)
const PER_TURN = 200

const results = { complete: 0, broken: 0, longestGapMs: 0 }
let begun = 0
let fullAt = 0

async function one(): Promise<void> {
  let text = ''
  let next = 0
  let wrong = false
  let movedAt = 0
  const stream = wire(Number(port), {
    token: token ?? '',
    path: '/v1/chat/completions',
    body: '{}',
    onBody(bytes) {
      const now = performance.now()
      if (movedAt === 0 && ++begun === Number(count)) {
        fullAt = now
        console.log('full')
      } else if (fullAt > 0) {
        const gapMs = now - Math.max(movedAt, fullAt)
        results.longestGapMs = Math.max(results.longestGapMs, gapMs)
      }
      movedAt = now
      text += bytes.toString()
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        if (text.slice(0, end + 2) !== event(next, 180)) wrong = true
        next += 1
        text = text.slice(end + 2)
      }
    },
  })
  await stream.finished
  const well = stream.status === 200 && stream.whole && !wrong && next === Number(events)
  results[well ? 'complete' : 'broken'] += 1
  stream.socket.destroy()
}

const all: Promise<void>[] = []
for (let number = 0; number < Number(count); number++) {
  all.push(one())
  if (number % PER_TURN === PER_TURN - 1) await Bun.sleep(20)
}
await Promise.all(all)
console.log(JSON.stringify(results))
