// The object in a caller's body, if it is no deeper than common parsers go: JSON.parse and JSON.stringify
// take seconds for 50 KB of brackets, and the second throws.

import { afterSpace, afterValue } from '../upstream/reading/json-grammar.ts'
import { parseObject } from '../upstream/reading/json-object.ts'

export function callersObject(body: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  return afterValue(body, afterSpace(body, 0)) < 0
    ? undefined
    : parseObject(Buffer.from(body).toString('utf8'))
}
