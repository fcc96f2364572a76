// Whether a token may use a model. A list names models exactly, or by a prefix with one `*` at the
// end, and in no other way: no stranger's regular expression runs here, and no case, alias or version
// is guessed. The value of `model` must come from request-fields.ts, so that it is what the upstream
// reads.

/** Undefined allows everything, an empty list nothing. */
export function allowedModel(model: string, patterns: readonly string[] | undefined): boolean {
  return patterns === undefined || patterns.some((pattern) => matches(model, pattern))
}

/** For the places where lists are written: an invalid pattern would be a name that no model has. */
export function isModelPattern(text: string): boolean {
  return PATTERN.test(text)
}

/** Printable ASCII, as in request-fields.ts, with `*` only at the end. */
const PATTERN = /^(?=.{1,256}$)[!-)+-~]*\*?$/

function matches(model: string, pattern: string): boolean {
  return pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : model === pattern
}

const MAX_SHOWN = 100

/** Makes a stranger's name fit for an error message. */
export function printable(text: string): string {
  const cut = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
  return cut.replace(/[^\x20-\x7e…]/g, '?')
}

/** The patterns that match exactly the models that both lists match; none if they share none. */
export function intersection(a: readonly string[], b: readonly string[]): readonly string[] {
  if (a.every((one) => b.some((other) => covers(other, one)))) return a
  const shared = new Set(a.flatMap((one) => b.flatMap((other) => meet(one, other))))
  return [...shared].filter(
    (each) => ![...shared].some((wider) => wider !== each && covers(wider, each)),
  )
}

/** The narrower of two patterns, if one covers the other. */
function meet(a: string, b: string): string[] {
  if (covers(b, a)) return [a]
  return covers(a, b) ? [b] : []
}

/** Whether every model of `pattern` is one of `wider`. */
function covers(wider: string, pattern: string): boolean {
  if (!wider.endsWith('*')) return wider === pattern
  const end = pattern.endsWith('*') ? -1 : pattern.length
  return pattern.slice(0, end).startsWith(wider.slice(0, -1))
}
