// Statements that are prepared when they are first needed: a start prepares none in vain, and an idle
// gate keeps none in memory.

export function whenNeeded<T extends object>(prepare: () => T): () => T {
  let prepared: T | undefined
  return () => (prepared ??= prepare())
}
