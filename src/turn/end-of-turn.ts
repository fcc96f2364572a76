// A queue of writes that are flushed together at the end of the current event-loop turn: response
// bytes to clients, requests to upstreams.

export interface Waiting {
  /** `now`: monotonic milliseconds, read once for the whole queue. */
  deliver(now: number): void
  /** `deliver` threw. */
  fail(): void
}

/** In the order in which they were queued. */
let waiting: Waiting[] = []
/** At this many the queue is flushed at once: the first entry waits while the others are read. */
const MAX_WAITING = 64

/**
 * When events of many streams arrive at once, all are read before any is written: a client that reads
 * several streams wakes once instead of once for each.
 */
export function soon(each: Waiting): void {
  const place = waiting.push(each)
  if (place === 1) setImmediate(deliverAll)
  else if (place === MAX_WAITING) deliverAll()
}

function deliverAll(): void {
  const all = waiting
  const now = performance.now()
  waiting = []
  for (const each of all) {
    try {
      each.deliver(now)
    } catch (error) {
      // One failure must not hold up the rest of the queue.
      each.fail()
      process.nextTick(() => {
        throw error
      })
    }
  }
}
