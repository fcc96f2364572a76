// The members of a request, and of its response's `usage`, that change the price of tokens. A price class
// is written as in the API: `speed:fast`, `inference_geo:us`, `service_tier:batch`.

/**
 * Each member with the values that mean the list price. `auto` and `standard_only` occur in requests;
 * `default` is OpenAI's and `on_demand` Groq's.
 */
const PLAIN_VALUES: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['speed', new Set(['standard'])],
  // From models that do not let the caller choose a region.
  ['inference_geo', new Set(['global', 'not_available'])],
  ['service_tier', new Set(['standard', 'standard_only', 'auto', 'default', 'on_demand'])],
])

export const PRICE_CLASS_MEMBERS: readonly string[] = [...PLAIN_VALUES.keys()]

/** The form of a class's value, which is looked up and appears in logs and errors. */
const VALUE = /^[A-Za-z0-9_-]{1,32}$/

/**
 * Undefined for the list price. An unknown value is a class too, for which no table has a price: it must
 * not pass as the list price.
 */
export function priceClassOf(member: string, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined
  const text = typeof value === 'string' && VALUE.test(value) ? value : '?'
  return PLAIN_VALUES.get(member)?.has(text) ? undefined : `${member}:${text}`
}

/** From an object with such members: a request's body, or the `usage` of a response. */
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
