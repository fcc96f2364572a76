// Finds the word that was probably meant: at most two typing errors away, or one a prefix of the other.

/** Undefined if none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const most = word.length < 5 ? 1 : 2
  let best: string | undefined
  let least = most + 1
  for (const each of known) {
    const slips = slipsBetween(word, each)
    if (slips < least) [best, least] = [each, slips]
  }
  return best ?? known.find((each) => word.length > 2 && each.startsWith(word))
}

/** Optimal string alignment: a letter is added, removed or changed, or two are swapped. */
function slipsBetween(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, at) => at)]
  const of = (row: number, column: number): number => rows[row]?.[column] ?? Infinity
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= b.length; j += 1) {
      const changed = a[i - 1] === b[j - 1] ? 0 : 1
      const swapped =
        a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? of(i - 2, j - 2) + 1 : Infinity
      row.push(Math.min(of(i - 1, j) + 1, of(i, j - 1) + 1, of(i - 1, j - 1) + changed, swapped))
    }
  }
  return of(a.length, b.length)
}
