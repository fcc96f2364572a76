// Reads the cost of a request to an OpenAI-compatible API from its body, if a limit depends on it, as the
// upstream will read it. A body that two parsers could read differently is refused.
//
// Without a bound, a response may be as long as its model can write, and so may each of several responses to
// one prompt. Servers differ in what they read as no bound: for some it is 0, for others `null` means another
// default, and some read a bound under a name of their own first.

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
  OTHER_MAX_TOKENS,
  PICTURES,
  RESPONSE,
  SPEECH,
  TRAINING,
} from './openai-request-shape.ts'
import { Outline, type OutlinedMembers, type OutlineShape } from './outline.ts'
import { priceClassOf } from './price-classes.ts'
import { ambiguousBody } from './unparsed.ts'

interface Route {
  readonly shape: OutlineShape<OpenAiGathered>
  /** Members that bound the response; undefined if nothing is written. */
  readonly maxTokens?: readonly string[]
  /** Names that some servers read too, or first; they can only raise the assumed cost. */
  readonly otherMaxTokens?: readonly string[]
  /** The route writes no text. */
  readonly writesNothing?: boolean
  /** Members with the number of responses. */
  readonly answers?: readonly string[]
  readonly free?: boolean
  readonly media?: Costly['media']
  readonly unpriced?: string
}

const HEARD: Route = { shape: SPEECH, media: ['audio'], unpriced: 'sound to read' }

/** Audio to transcribe and images to edit come in forms. */
const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  [
    '/v1/chat/completions',
    {
      shape: CHAT,
      maxTokens: ['max_completion_tokens', 'max_tokens'],
      otherMaxTokens: OTHER_MAX_TOKENS,
      answers: ['n', 'best_of'],
    },
  ],
  ['/v1/chat/completions/input_tokens', { shape: CHAT, writesNothing: true, free: true }],
  [
    '/v1/responses',
    { shape: RESPONSE, maxTokens: ['max_output_tokens'], otherMaxTokens: OTHER_MAX_TOKENS },
  ],
  ['/v1/responses/compact', { shape: RESPONSE }],
  ['/v1/responses/input_tokens', { shape: RESPONSE, writesNothing: true, free: true }],
  [
    '/v1/completions',
    {
      shape: COMPLETION,
      maxTokens: ['max_tokens'],
      otherMaxTokens: OTHER_MAX_TOKENS,
      answers: ['n', 'best_of'],
    },
  ],
  ['/v1/embeddings', { shape: INPUT, writesNothing: true }],
  ['/v1/moderations', { shape: INPUT, writesNothing: true, free: true }],
  ['/v1/images/generations', { shape: PICTURES, answers: ['n'], media: ['image'] }],
  [
    '/v1/images/edits',
    { shape: PICTURES, answers: ['n'], media: ['image'], unpriced: 'pictures to edit' },
  ],
  [
    '/v1/images/variations',
    { shape: PICTURES, answers: ['n'], media: ['image'], unpriced: 'pictures to vary' },
  ],
  ['/v1/audio/transcriptions', HEARD],
  ['/v1/audio/translations', HEARD],
  ['/v1/fine_tuning/jobs', { shape: TRAINING, unpriced: 'a model to train' }],
  ['/v1/audio/speech', { shape: SPEECH, media: ['audio'], unpriced: 'speech to make' }],
])

const UNREAD =
  'this token is limited in models or spending, and this gate cannot tell which model a request to this route runs'

/** OpenRouter's way to request it. */
const SEARCHES = /:online$/i

/** The most tokens that any model counts for an image: 48,169 of gpt-4o-mini, under 16,000 of others. */
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
  const maxTokens = boundIn(found, route)
  if (maxTokens === null) return refused('invalid_max_tokens', { reason: 'wrong_max_tokens' })
  const counts = countsIn(found, route.answers ?? [])
  if (!counts) return refused('invalid_count', { reason: 'wrong_count' })
  return granted(
    costly(route, gathered, {
      model,
      maxTokens: route.writesNothing === true ? 0 : maxTokens,
      // A server that does not read `n` gives one response, whatever `n` is.
      answers: Math.max(1, ...counts) * Math.max(1, gathered.prompts),
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
    ...(SEARCHES.test(read.model) ? ['a search of the web'] : []),
    ...gathered.unpriced,
  ]
  const media = [...(route.media ?? []), ...(hasAudio ? (['audio'] as const) : [])]
  return {
    model: read.model,
    maxTokens: read.maxTokens,
    answers: read.answers,
    prompts: Math.max(1, gathered.prompts),
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

/** Undefined if nothing certainly bounds the response, null if a bound is invalid. */
function boundIn(
  found: OutlinedMembers,
  { maxTokens = [], otherMaxTokens = [] }: Route,
): number | undefined | null {
  const own = countsIn(found, maxTokens)
  const others = countsIn(found, otherMaxTokens)
  if (!own || !others) return null
  const all = [...own, ...others]
  return own.length === 0 || all.includes(0) ? undefined : Math.max(...all)
}

/** Undefined if one is invalid. */
function countsIn(found: OutlinedMembers, names: readonly string[]): number[] | undefined {
  const counts: number[] = []
  for (const name of names) {
    const count = countIn(found.get(name))
    if (count === null) return undefined
    if (count !== undefined) counts.push(count)
  }
  return counts
}

/** `fast` is the newer name of a tier that responses still call `priority`. */
function tierOf(text: unknown): readonly string[] {
  if (text === undefined || text === 'null') return []
  const value = stringIn(text) ?? '?'
  const found = priceClassOf('service_tier', value === 'fast' ? 'priority' : value)
  return found === undefined ? [] : [found]
}
