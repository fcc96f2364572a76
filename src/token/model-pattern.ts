// May this token ask for that model? A list names models exactly, or by how they begin with one `*`
// at the end, and nothing else: no regular expression of a stranger's runs here, and no case, alias
// or version is guessed at. What `model` says must come from request-fields.ts, so that it is what
// the upstream reads too.

/** Undefined allows everything, an empty list nothing. */
export function allowedModel(model: string, patterns: readonly string[] | undefined): boolean {
  return patterns === undefined || patterns.some((pattern) => matches(model, pattern))
}

/** Where lists are written: a pattern that is not one would be a name that no model has. */
export function isModelPattern(text: string): boolean {
  return PATTERN.test(text)
}

/** Printable ASCII, as in request-fields.ts, with `*` at the end alone. */
const PATTERN = /^(?=.{1,256}$)[!-)+-~]*\*?$/

function matches(model: string, pattern: string): boolean {
  return pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : model === pattern
}

const MAX_SHOWN = 100

/** A name that a stranger wrote, as errors may repeat it. */
export function printable(text: string): string {
  const cut = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
  return cut.replace(/[^\x20-\x7e…]/g, '?')
}

/** The patterns that name exactly the models that both lists name; none where they share none. */
export function intersection(a: readonly string[], b: readonly string[]): readonly string[] {
  if (a.every((one) => b.some((other) => covers(other, one)))) return a
  const shared = new Set(a.flatMap((one) => b.flatMap((other) => meet(one, other))))
  return [...shared].filter(
    (each) => ![...shared].some((wider) => wider !== each && covers(wider, each)),
  )
}

/** Of two patterns, the one that the other covers. */
function meet(a: string, b: string): string[] {
  if (covers(b, a)) return [a]
  return covers(a, b) ? [b] : []
}

/** Every model of `pattern` is one of `wider`. */
function covers(wider: string, pattern: string): boolean {
  if (!wider.endsWith('*')) return wider === pattern
  const end = pattern.endsWith('*') ? -1 : pattern.length
  return pattern.slice(0, end).startsWith(wider.slice(0, -1))
}
