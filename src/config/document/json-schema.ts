// The schema for editors, without the members that only this program reads.

import { DOCUMENT } from './schema.ts'

const OURS = new Set(['setting', 'secretFile', 'forEditors', 'own', 'hint'])

export function jsonSchema(): string {
  const schema = JSON.stringify(
    { $schema: 'http://json-schema.org/draft-07/schema#', ...DOCUMENT },
    (name, value: unknown) => (OURS.has(name) && typeof value !== 'object' ? undefined : value),
    2,
  )
  return `${schema}\n`
}
