// Writes a JSON list of any length, one element a line, as it is read.

import { inert } from './inert-json.ts'

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
