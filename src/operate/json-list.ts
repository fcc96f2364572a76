// Writes a JSON list of any length, one element a line, as it is read.

import { inert } from './inert-json.ts'

export async function* jsonList<T>(
  pages: AsyncIterable<readonly T[]>,
  asJson: (each: T) => object,
): AsyncGenerator<string> {
  let before = '[\n'
  for await (const page of pages) {
    const lines = page.map((each) => `  ${inert(JSON.stringify(asJson(each)))}`)
    yield before + lines.join(',\n')
    before = ',\n'
  }
  yield before === '[\n' ? '[]\n' : '\n]\n'
}
