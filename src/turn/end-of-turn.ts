// Who has something to deliver at the end of this turn of the event loop, and delivers it then: an
// answer's bytes to a client, a request to its upstream.

export interface Waiting {
  /** `now`: monotonic milliseconds, asked for once for all. */
  deliver(now: number): void
  /** Delivering has failed. */
  fail(): void
}

/** Those that something has come for in this turn, in that order. */
let waiting: Waiting[] = []
/** How many may wait for each other: so long is the first of them held up by reading the others. */
const MAX_WAITING = 64

/**
 * When many streams' events come at once, they are all read, and then they all leave: whoever reads
 * many of them is woken once and not for each.
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
      // Its trouble alone: those behind it are not to wait for it.
      each.fail()
      process.nextTick(() => {
        throw error
      })
    }
  }
}
