// Which models a request to an OpenAI-compatible API names, read as the upstream will read it. Names
// of models stand in `model`; a member that is not known here and is called like one is judged alike.
// What such a request costs nobody here can tell, so a cap on spending admits none.

import { type Decision, granted, type Refusal, refused } from '../../refusal.ts'
import type { Costly } from '../costly.ts'
import { MODEL_MEMBER, modelIn } from './members.ts'
import { hashOf, type OutlineMember, type Names, Outline, type OutlineShape } from './outline.ts'
import { ambiguousBody } from './unparsed.ts'

interface Gathered {
  readonly models: string[]
  trouble: Refusal | undefined
}

/** Beside its own. */
const MAX_MODELS = 32
const NOT_A_MODEL = refused('invalid_model', { reason: 'wrong_model' })
const TOO_MANY = refused('too_many_models', { reason: 'too_many_models' })

const READ: ReadonlySet<string> = new Set([
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/responses',
  '/v1/embeddings',
  '/v1/audio/speech',
])

/** Files to transcribe come in forms. */
const UNREAD =
  'this token is limited in models or spending, and this gate cannot tell which model a request to this route runs'
/** In no table of prices. */
const UNPRICED = ['requests of this API']

const ANY: OutlineShape<Gathered> = { members: new Map() }
/** Schemas of the caller's own, in which a member may have any name. */
const TOOL: OutlineShape<Gathered> = {
  members: new Map<string, OutlineMember<Gathered>>([
    ['function', 'opaque'],
    ['parameters', 'opaque'],
    ['description', 'opaque'],
  ]),
}
const REQUEST: OutlineShape<Gathered> = {
  members: new Map<string, OutlineMember<Gathered>>([
    ['model', 'text'],
    ['messages', 'opaque'],
    ['input', 'opaque'],
    ['prompt', 'opaque'],
    ['instructions', 'opaque'],
    ['suffix', 'opaque'],
    ['stop', 'opaque'],
    ['user', 'opaque'],
    ['metadata', 'opaque'],
    ['prediction', 'opaque'],
    ['response_format', 'opaque'],
    ['text', 'opaque'],
    ['functions', 'opaque'],
    ['logit_bias', 'opaque'],
    ['tools', TOOL],
  ]),
}

const NAMES: Names<Gathered> = {
  known: new Map([REQUEST, TOOL].flatMap(({ members }) => [...members.keys()].map(withHash))),
  unlisted: (folded) =>
    folded.startsWith('fallback') || MODEL_MEMBER.test(folded) ? 'models' : ANY,
  named(text, to) {
    const name = modelIn(text)
    if (name === undefined) to.trouble ??= NOT_A_MODEL
    else if (to.models.length < MAX_MODELS) to.models.push(name)
    else to.trouble ??= TOO_MANY
  },
}

function withHash(name: string): [number, string] {
  return [hashOf(name), name]
}

export function openAiModel(path: string, body: Uint8Array): Decision<Costly> {
  if (!READ.has(path)) return refused('unknown_cost', { message: UNREAD })
  const gathered: Gathered = { models: [], trouble: undefined }
  const found = new Outline(body, NAMES, gathered).read(REQUEST)
  if (typeof found === 'string') return ambiguousBody(found)
  const model = modelIn(found.get('model'))
  if (model === undefined) {
    const reason = found.has('model') ? 'wrong_model' : 'missing_model'
    return refused('invalid_model', { reason })
  }
  if (gathered.trouble) return gathered.trouble
  return granted({
    model,
    models: gathered.models,
    maxTokens: 0,
    free: false,
    textBytes: body.byteLength,
    images: 0,
    refers: false,
    cacheWrite: 'none',
    priceClasses: UNPRICED,
    serverTools: {},
    runsCode: false,
    compacts: false,
    fallbacks: [],
    advisors: [],
    unknown: [],
  })
}
