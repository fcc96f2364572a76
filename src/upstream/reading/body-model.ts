// Reads the model of a body, as strictly as for limits: if it decides the upstream, the upstream must not
// read another name.

import { type Decision, granted, refused } from '../../refusal.ts'
import { ambiguousBody } from './unparsed.ts'
import { modelIn } from './members.ts'
import { hashOf, type Names, Outline, type OutlineShape } from './outline.ts'

const MODEL = 'model'
const NAMES: Names<undefined> = {
  known: new Map([[hashOf(MODEL), MODEL]]),
  unlisted: () => 'opaque',
  named: () => undefined,
}
const SHAPE: OutlineShape<undefined> = { members: new Map([[MODEL, 'text' as const]]) }

export function bodyModel(body: Uint8Array): Decision<string> {
  const found = new Outline(body, NAMES, undefined).read(SHAPE)
  if (typeof found === 'string') return ambiguousBody(found)
  const model = modelIn(found.get(MODEL))
  if (model !== undefined) return granted(model)
  return refused('invalid_model', { reason: found.has(MODEL) ? 'wrong_model' : 'missing_model' })
}
