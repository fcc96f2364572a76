// What a request to an OpenAI-compatible API may cost, read from its body where a limit depends on it,
// and as the upstream will read it. A body that two parsers could read differently is refused.
//
// Without a bound of its own an answer is as long as its model writes. Several answers to one prompt
// are each as long as that.

import { type Decision, granted, refused } from '../../refusal.ts'
import type { Costly } from '../costly.ts'
import { countIn, modelIn, stringIn } from './members.ts'
import {
  CHAT,
  COMPLETION,
  INPUT,
  NAMES,
  nothingOfOpenAi,
  type OpenAiGathered,
  PICTURES,
  RESPONSE,
  SPEECH,
} from './openai-request-shape.ts'
import { Outline, type OutlinedMembers, type OutlineShape } from './outline.ts'
import { priceClassOf } from './price-classes.ts'
import { ambiguousBody } from './unparsed.ts'

interface Route {
  readonly shape: OutlineShape<OpenAiGathered>
  /** Members that bound the answer; undefined where there is none to bound. */
  readonly maxTokens?: readonly string[]
  /** What the API takes where none is given; undefined: as much as the model writes. */
  readonly usualTokens?: number
  /** Members that say how many answers are made. */
  readonly answers?: readonly string[]
  readonly free?: boolean
  readonly media?: Costly['media']
  readonly unpriced?: string
}

/** Files to transcribe, and pictures to edit, come in forms. */
const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  [
    '/v1/chat/completions',
    { shape: CHAT, maxTokens: ['max_completion_tokens', 'max_tokens'], answers: ['n'] },
  ],
  ['/v1/responses', { shape: RESPONSE, maxTokens: ['max_output_tokens'] }],
  [
    '/v1/completions',
    { shape: COMPLETION, maxTokens: ['max_tokens'], usualTokens: 16, answers: ['n', 'best_of'] },
  ],
  ['/v1/embeddings', { shape: INPUT, usualTokens: 0 }],
  ['/v1/moderations', { shape: INPUT, usualTokens: 0, free: true }],
  ['/v1/images/generations', { shape: PICTURES, answers: ['n'], media: ['image'] }],
  ['/v1/audio/speech', { shape: SPEECH, media: ['audio'], unpriced: 'speech to make' }],
])

const UNREAD =
  'this token is limited in models or spending, and this gate cannot tell which model a request to this route runs'

/** A picture is at most so many tokens of any model's: 48,169 of gpt-4o-mini's, under 16,000 of others. */
const MAX_IMAGE_TOKENS = 50_000

export function openAiCost(path: string, body: Uint8Array): Decision<Costly> {
  const route = ROUTES.get(path)
  if (!route) return refused('unknown_cost', { message: UNREAD })
  const gathered = nothingOfOpenAi()
  const found = new Outline(body, NAMES, gathered).read(route.shape)
  if (typeof found === 'string') return ambiguousBody(found)
  const model = modelIn(found.get('model'))
  if (model === undefined) {
    const reason = found.has('model') ? 'wrong_model' : 'missing_model'
    return refused('invalid_model', { reason })
  }
  const { trouble } = gathered
  if (trouble === 'wrong_model') return refused('invalid_model', { reason: trouble })
  if (trouble) return refused('too_many_models', { reason: trouble })
  const maxTokens = largest(found, route.maxTokens ?? [])
  if (maxTokens === null) return refused('invalid_max_tokens', { reason: 'wrong_max_tokens' })
  const answers = largest(found, route.answers ?? [])
  if (answers === null) return refused('invalid_count', { reason: 'wrong_count' })
  return granted(
    costly(route, gathered, {
      model,
      maxTokens: maxTokens ?? route.usualTokens,
      answers: (answers ?? 1) * Math.max(1, gathered.prompts),
      bytes: body.byteLength,
      tier: found.get('service_tier'),
      streams: isStream(found.get('stream')),
    }),
  )
}

interface Read {
  readonly model: string
  readonly maxTokens: number | undefined
  readonly answers: number
  readonly bytes: number
  readonly tier: unknown
  readonly streams: boolean
}

function costly(route: Route, gathered: OpenAiGathered, read: Read): Costly {
  const { hasTokenIds, hasAudio, unknown, models, mediaBytes, images } = gathered
  const unpriced = [
    ...(route.unpriced === undefined ? [] : [route.unpriced]),
    ...(hasTokenIds ? ['a prompt of token numbers'] : []),
    ...gathered.unpriced,
  ]
  const media = [...(route.media ?? []), ...(hasAudio ? (['audio'] as const) : [])]
  return {
    model: read.model,
    maxTokens: read.maxTokens,
    answers: read.answers,
    isBoundByModel: true,
    isSilentStream: read.streams && !gathered.asksUsage,
    free: route.free === true,
    textBytes: read.bytes - mediaBytes,
    images,
    imageTokens: MAX_IMAGE_TOKENS,
    media,
    refers: gathered.refers,
    cacheWrite: gathered.cachesLong ? '1h' : '5m',
    priceClasses: tierOf(read.tier),
    serverTools: {},
    runsCode: false,
    compacts: gathered.compacts,
    fallbacks: [],
    advisors: [],
    models,
    unknown,
    unpriced,
  }
}

/** Some parsers take `1` or `"true"` for true. */
const isStream = (text: unknown): boolean =>
  text !== undefined && text !== 'false' && text !== 'null'

/** Undefined where none is given, null where one is a mistake. */
function largest(found: OutlinedMembers, names: readonly string[]): number | undefined | null {
  let most: number | undefined
  for (const name of names) {
    const count = countIn(found.get(name))
    if (count === null) return null
    if (count !== undefined) most = Math.max(most ?? 0, count)
  }
  return most
}

/** `fast` is the newer name of a tier whose answers still say `priority`. */
function tierOf(text: unknown): readonly string[] {
  if (text === undefined || text === 'null') return []
  const value = stringIn(text) ?? '?'
  const found = priceClassOf('service_tier', value === 'fast' ? 'priority' : value)
  return found === undefined ? [] : [found]
}
