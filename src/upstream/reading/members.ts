// What single members of a request's body may be, as they are written there: a model's name, a count.

/** No blank or control that another parser might trim or stop at, and nothing outside of ASCII. */
const MODEL = /^[!-~]{1,256}$/
/** `1e3` and `1024.0` are integers to some parsers and mistakes to others; 0 only fills a cache. */
const COUNT = /^(?:0|[1-9]\d{0,15})$/

/** `model_id`, `default_models`, `advisor_model_name`, `modelOverride`; names come folded. */
export const MODEL_MEMBER = /^model|models?(?:ids?|names?)?$/

/** The name that a member's text is; undefined where it is none. */
export function modelIn(text: unknown): string | undefined {
  const name = stringIn(text)
  return name !== undefined && MODEL.test(name) ? name : undefined
}

/** Undefined where it is none, null where it is a mistake. */
export function countIn(text: unknown): number | undefined | null {
  if (typeof text !== 'string' || text === 'null') return undefined
  const count = COUNT.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(count) ? count : null
}

export function stringIn(text: unknown): string | undefined {
  return typeof text === 'string' && text.startsWith('"') ? JSON.parse(text) : undefined
}
