// Valid values of single members of a request's body, as they are written: a model's name, a count.

/** No space or control character, which another parser may trim or stop at, and only ASCII. */
const MODEL = /^[!-~]{1,256}$/
/** `1e3` and `1024.0` are integers to some parsers and mistakes to others; 0 only fills a cache. */
const COUNT = /^(?:0|[1-9]\d{0,15})$/

/** `model_id`, `default_models`, `advisor_model_name`, `modelOverride`; names come folded. */
export const MODEL_MEMBER = /^model|models?(?:ids?|names?)?$/

/** The name in a member's text; undefined if it is not one. */
export function modelIn(text: unknown): string | undefined {
  const name = stringIn(text)
  return name !== undefined && MODEL.test(name) ? name : undefined
}

/** Undefined if it is absent, null if it is invalid. */
export function countIn(text: unknown): number | undefined | null {
  if (typeof text !== 'string' || text === 'null') return undefined
  const count = COUNT.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(count) ? count : null
}

export function stringIn(text: unknown): string | undefined {
  return typeof text === 'string' && text.startsWith('"') ? JSON.parse(text) : undefined
}
