// Many streams at once, in a process of its own: `bun stream-crowd.ts PORT TOKEN COUNT EVENTS`. Opened
// at a pace that no listener's queue drops, each checked event by event. One line of JSON.

import { event } from '../stream/raw-upstream.ts'
import { wire } from '../stream/wire.ts'

const [port, token = '', count, events] = Bun.argv.slice(2)
const PER_TURN = 50
const TURN_MS = 40
const expected = Array.from({ length: Number(events) }, (_, number) => event(number, 180)).join('')

const results: Record<string, number> = {}
let [begun, fullAt, longestGapMs] = [0, 0, 0]

async function one(): Promise<void> {
  let movedAt = 0
  const text: Buffer[] = []
  const stream = wire(Number(port), {
    token,
    path: '/v1/chat/completions',
    body: '{}',
    onBody(bytes) {
      const now = performance.now()
      if (movedAt === 0 && ++begun === Number(count)) fullAt = now
      // Only of all together: until then none is sent a second event.
      if (fullAt > 0) longestGapMs = Math.max(longestGapMs, now - Math.max(movedAt, fullAt))
      movedAt = now
      text.push(bytes)
    },
  })
  await stream.finished
  const exact = Buffer.concat(text).toString() === expected
  const end = stream.status === 200 && stream.whole && exact ? 'whole' : `broken ${stream.status}`
  results[end] = (results[end] ?? 0) + 1
  stream.socket.destroy()
}

const all: Promise<void>[] = []
for (let number = 0; number < Number(count); number++) {
  all.push(one())
  if (number % PER_TURN === PER_TURN - 1) await Bun.sleep(TURN_MS)
}
const late = setTimeout(() => finish({ begun }), 120_000)
await Promise.all(all)
clearTimeout(late)
finish({})

function finish(more: object): void {
  console.log(JSON.stringify({ results, longestGapMs, ...more }))
  process.exit(0)
}
