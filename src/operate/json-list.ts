// Writes a JSON list of any length, one element a line, as it is read.

/** JSON leaves these as they are, and a terminal may obey them; they occur in strings alone. */
const OBEYED = /[\u007f-\u009f\u2028\u2029\p{Cf}]/gu

export function* jsonList<T>(
  pages: Iterable<readonly T[]>,
  asJson: (each: T) => object,
): Generator<string> {
  let before = '[\n'
  for (const page of pages) {
    const lines = page.map((each) => `  ${inert(JSON.stringify(asJson(each)))}`)
    yield before + lines.join(',\n')
    before = ',\n'
  }
  yield before === '[\n' ? '[]\n' : '\n]\n'
}

function inert(text: string): string {
  return text.replace(OBEYED, (sign) =>
    sign.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )
}
