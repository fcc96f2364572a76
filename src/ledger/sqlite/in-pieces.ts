// Long queries on the event loop's own thread, a few rows at a time: SQLite is synchronous, and every
// request of the gate waits while a statement runs. Each piece takes about two milliseconds (with
// fewer rows on a slow disk), and the event loop gets a turn after it. All queries share one pace, so
// that twenty of them slow the gate no more than one.

/** Yields between statements, and is given how many rows the next one may touch. */
export type Pieces<T> = Generator<undefined, T, number>

const PIECE_MS = 2
const PAUSE_MS = 4
const FIRST_ROWS = 50
const MAX_ROWS = 4000

/** Runs everything at once, where nothing waits: at start, and in commands. */
export function atOnce<T>(pieces: Pieces<T>): T {
  pieces.next(0)
  for (;;) {
    const step = pieces.next(MAX_ROWS)
    if (step.done) return step.value
  }
}

export type PiecePacer = <T>(pieces: Pieces<T>) => Promise<T>

/** Takes turns one after the other, over everything that is asked of it. */
export function pace(): PiecePacer {
  let last: Promise<unknown> = Promise.resolve()
  const turn = async <T>(work: () => T): Promise<T> => {
    const mine = last.then(work)
    last = mine.then(
      () => Bun.sleep(PAUSE_MS),
      () => Bun.sleep(PAUSE_MS),
    )
    return mine
  }
  return async (pieces) => {
    let rows = FIRST_ROWS
    let begun = false
    for (;;) {
      const step = await turn(() => {
        if (!begun) pieces.next(0)
        begun = true
        const began = performance.now()
        const next = pieces.next(rows)
        const tookMs = Math.max(performance.now() - began, 0.01)
        const fitting = Math.min(rows * 2, (rows * PIECE_MS) / tookMs)
        rows = Math.trunc(Math.min(MAX_ROWS, Math.max(FIRST_ROWS, fitting)))
        return next
      })
      if (step.done) return step.value
    }
  }
}
