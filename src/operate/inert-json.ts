// JSON for a program whose output may still end on a terminal.

/** JSON leaves these characters as they are, and a terminal may obey them. They occur only in strings. */
const OBEYED = /[\u007f-\u009f\u2028\u2029\p{Cf}]/gu

export function inertJson(document: unknown): string {
  return `${inert(JSON.stringify(document, null, 2))}\n`
}

/** Escapes what a terminal could obey in a JSON text. */
export function inert(json: string): string {
  return json.replace(OBEYED, (sign) =>
    sign.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )
}
