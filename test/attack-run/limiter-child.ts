// The gate's own table of buckets, in a process of its own: `bun limiter-child.ts COUNT`. A spent
// bucket first, then COUNT strangers, and whether the spent one is still spent. One line of JSON.

import { buckets } from '../../src/state/memory/bucket.ts'

const count = Number(Bun.argv[2])
const table = buckets({ perMinute: 60, burst: 10 })
/** As long as an HMAC in hexadecimal, and cheaper: what is measured is the table. */
const keyOf = (number: number): string => number.toString(16).padStart(64, '0')
const FLOOD_MS = 500

for (let number = 0; number < 100_000; number++) keyOf(number)
Bun.gc(true)
const before = process.memoryUsage.rss()
for (let number = 0; number < 10; number++) table.take('spent', 0)
let [most, passed, refused] = [before, 0, 0]
// All within half a second, in which no bucket fills up again: the worst that time can make of it.
for (let number = 0; number < count; number++) {
  const { allowed } = table.take(keyOf(number), (number / count) * FLOOD_MS)
  if (allowed) passed += 1
  else refused += 1
  if (number % 10_000 === 0) {
    most = Math.max(most, process.memoryUsage.rss())
    // As a server does between requests.
    await new Promise((resolve) => setImmediate(resolve))
  }
}
const spent = !table.take('spent', FLOOD_MS).allowed
const [keys, again] = [table.size, table.take(keyOf(count + 1), 5000).allowed]
Bun.gc(true)
const kept = process.memoryUsage.rss() - before
console.log(JSON.stringify({ grown: most - before, kept, passed, refused, spent, keys, again }))
