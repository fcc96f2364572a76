// The JSON Schema for editors: the schema without the members that only this program reads.

import { DOCUMENT } from './schema.ts'

/** A member of the document may have one of these names; its value is then a schema. */
const isOurs = (name: string, value: unknown): boolean =>
  name === 'number' || (OURS.has(name) && typeof value !== 'object')

const OURS = new Set(['setting', 'secretFile', 'forEditors', 'own', 'hint'])

export function jsonSchema(): string {
  const schema = JSON.stringify(
    { $schema: 'http://json-schema.org/draft-07/schema#', ...DOCUMENT },
    (name, value: unknown) => (isOurs(name, value) ? undefined : value),
    2,
  )
  return `${schema}\n`
}
