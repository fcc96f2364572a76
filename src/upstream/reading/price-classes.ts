// The members of a request and of its answer's `usage` that change the price of its tokens. A price
// class is written as the API writes it: `speed:fast`, `inference_geo:us`, `service_tier:batch`.

/**
 * Each member with the values that mean the list price. `auto` and `standard_only` are a request's,
 * `default` is OpenAI's word and `on_demand` Groq's.
 */
const PLAIN_VALUES: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['speed', new Set(['standard'])],
  // What a model says that does not let the region be chosen.
  ['inference_geo', new Set(['global', 'not_available'])],
  ['service_tier', new Set(['standard', 'standard_only', 'auto', 'default', 'on_demand'])],
])

export const PRICE_CLASS_MEMBERS: readonly string[] = [...PLAIN_VALUES.keys()]

/** Of a class's value: it is looked up, and named in logs and errors. */
const VALUE = /^[A-Za-z0-9_-]{1,32}$/

/**
 * Undefined for the list price. A value that nobody knows is a class too, which no table has a
 * price for: it must not pass for the list price.
 */
export function priceClassOf(member: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  const text = typeof value === 'string' && VALUE.test(value) ? value : '?'
  return PLAIN_VALUES.get(member)?.has(text) ? undefined : `${member}:${text}`
}

/** Of an object that has such members: a request's body, or the `usage` of an answer. */
export function priceClassesIn(object: Readonly<Record<string, unknown>>): string[] {
  const classes: string[] = []
  for (const member of PRICE_CLASS_MEMBERS) {
    const found = priceClassOf(member, object[member])
    if (found !== undefined) classes.push(found)
  }
  return classes
}

/** Whether a table may have a price for it. */
export function isPriceClass(text: string): boolean {
  const [member = '', value, ...more] = text.split(':')
  return more.length === 0 && value !== '?' && priceClassOf(member, value) === text
    ? PLAIN_VALUES.has(member)
    : false
}
