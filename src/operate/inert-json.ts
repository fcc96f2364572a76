// A document for a program, which may end on a terminal all the same.

/** JSON leaves these signs as they are, and a terminal may obey them; they occur in strings alone. */
export function inertJson(document: unknown): string {
  const text = JSON.stringify(document, null, 2)
  const inert = text.replace(/[\u007f-\u009f\u2028\u2029\p{Cf}]/gu, (sign) =>
    sign.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )
  return `${inert}\n`
}
