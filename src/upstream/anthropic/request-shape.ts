// Where the body of a request to the Messages API names a model, requests a price class or carries
// something other than text: the API's reference as a table, from the SDK's types of November 2026. A
// member that is not in the table may still name a model: its name decides, and it is checked like
// `model`.

import { printable } from '../../token/model-pattern.ts'
import type { Advisor, Fallback } from '../costly.ts'
import { countIn, MODEL_MEMBER, modelIn, stringIn } from '../reading/members.ts'
import { priceClassesIn } from '../reading/price-classes.ts'
import { type OutlinedMembers, type Names, type OutlineShape } from '../reading/outline.ts'
import { outlineTables } from '../reading/outline-tables.ts'

export type Trouble = 'wrong_model' | 'wrong_count' | 'too_many_models'

/** What is collected from a body. */
export interface Gathered {
  images: number
  /** The base64 bytes of images and documents in the body. */
  mediaBytes: number
  /** It refers to content outside: a document, a thread, a server tool's results. */
  refers: boolean
  cacheWrite: 'none' | '5m' | '1h'
  runsCode: boolean
  compacts: boolean
  readonly serverTools: Record<string, number>
  readonly fallbacks: Fallback[]
  readonly advisors: Advisor[]
  readonly models: string[]
  /** Unknown features, in a few words each. */
  readonly unknown: string[]
  trouble: Trouble | undefined
}

export function nothingGathered(): Gathered {
  return {
    images: 0,
    mediaBytes: 0,
    refers: false,
    cacheWrite: 'none',
    runsCode: false,
    compacts: false,
    serverTools: {},
    fallbacks: [],
    advisors: [],
    models: [],
    unknown: [],
    trouble: undefined,
  }
}

/** In addition to its own; the API accepts a handful. */
const MAX_MODELS = 32

const { known, shape, add } = outlineTables<Gathered>()

const CACHE = shape(
  { ttl: 'text' },
  {
    leave(found, to) {
      const ttl = found.get('ttl')
      if (ttl !== undefined && ttl !== 'null' && ttl !== '"5m"') to.cacheWrite = '1h'
      else if (to.cacheWrite === 'none') to.cacheWrite = '5m'
    },
  },
)

/** The caller's own schemas, and values without members of the API. */
const SCHEMAS = {
  input_schema: 'opaque',
  output_schema: 'opaque',
  schema: 'opaque',
  json_schema: 'opaque',
  input_examples: 'opaque',
  metadata: 'opaque',
} as const

const OPEN = shape({ ...SCHEMAS, cache_control: CACHE })

const OUTPUT = shape({ format: 'opaque' })

/** The known tools, the kind of each, and the members that bound its cost. */
const TOOL = shape(
  {
    ...SCHEMAS,
    description: 'opaque',
    type: 'text',
    model: 'text',
    max_uses: 'text',
    max_tokens: 'text',
    cache_control: CACHE,
    caching: shape({ ttl: 'text' }, { leave: (found) => found.get('ttl') ?? '"5m"' }),
    // Keyed by tool names, which the caller chooses.
    configs: 'opaque',
    tools: shape({ ...SCHEMAS, description: 'opaque' }),
    // OpenAI's form of a tool.
    function: shape({ parameters: 'opaque', description: 'opaque' }),
  },
  { leave: gatherTool },
)

/** Tools that the caller runs, or that are part of the model's prompt. */
const CLIENT_TOOL =
  /^(?:custom|(?:bash|text_editor|computer|memory|browser_toolset|computer_toolset|tool_search_tool_(?:bm25|regex))(?:_\d{8})?)$/
const SERVER_TOOL = /^(web_search|web_fetch|code_execution|advisor)_\d{8}$/
/** The API pauses its own loop after ten turns. */
const ASSUMED_USES = 10

function gatherTool(found: OutlinedMembers, to: Gathered): void {
  const type = found.has('type') && found.get('type') !== 'null' ? stringIn(found.get('type')) : ''
  const kind = type && SERVER_TOOL.exec(type)?.[1]
  const maxUses = count(found, 'max_uses', to)
  if (kind === 'advisor') {
    const ttl = found.get('caching')
    const model = named(found, to)
    if (to.trouble) return
    to.advisors.push({
      model,
      maxUses,
      maxTokens: count(found, 'max_tokens', to),
      cacheWrite: ttl === undefined ? 'none' : ttl === '"5m"' || ttl === 'null' ? '5m' : '1h',
    })
    return
  }
  if (found.has('model') && found.get('model') !== 'null') {
    const model = named(found, to)
    if (!to.trouble) to.models.push(model)
  }
  if (type === '' || (type !== undefined && CLIENT_TOOL.test(type))) return
  if (kind === 'web_search' || kind === 'web_fetch') {
    const member = `${kind}_requests`
    to.serverTools[member] = (to.serverTools[member] ?? 0) + (maxUses ?? ASSUMED_USES)
  } else if (kind === 'code_execution') to.runsCode = true
  else if (type !== 'mcp_toolset') tellOf(`a tool of type ${printable(type ?? '?')}`, to)
  to.refers = true
}

function tellOf(what: string, { unknown }: Gathered): void {
  if (unknown.length === 0) unknown.push(what)
}

function hasRoom({ fallbacks, advisors, models }: Gathered): boolean {
  return fallbacks.length + advisors.length + models.length < MAX_MODELS
}

function named(found: OutlinedMembers, to: Gathered): string {
  const name = modelIn(found.get('model'))
  if (name === undefined) to.trouble ??= 'wrong_model'
  if (!hasRoom(to)) to.trouble ??= 'too_many_models'
  return name ?? ''
}

function count(found: OutlinedMembers, name: string, to: Gathered): number | undefined {
  const value = countIn(found.get(name))
  if (value === null) to.trouble ??= 'wrong_count'
  return value ?? undefined
}

const FALLBACK: OutlineShape<Gathered> = shape(
  { model: 'text', max_tokens: 'text', speed: 'text', output_config: OUTPUT },
  {
    leave(found, to) {
      const speed = stringIn(found.get('speed'))
      const model = named(found, to)
      if (to.trouble) return
      to.fallbacks.push({
        model,
        maxTokens: count(found, 'max_tokens', to),
        priceClasses: found.has('speed') ? priceClassesIn({ speed: speed ?? null }) : undefined,
      })
    },
    scalar(text, to) {
      if (text === '"default"') tellOf('fallbacks "default", whose models the API chooses', to)
      else if (text.startsWith('"') || text === '') NAMES.named(text, to)
    },
  },
)

const SOURCE = shape(
  { type: 'text', data: 'length' },
  { leave: (found) => ({ type: stringIn(found.get('type')), bytes: found.get('data') }) },
)

const BLOCK: OutlineShape<Gathered> = shape(
  {
    type: 'text',
    id: 'opaque',
    name: 'opaque',
    text: 'opaque',
    tool_use_id: 'opaque',
    source: SOURCE,
    cache_control: CACHE,
    input: 'later',
    from: 'later',
    to: 'later',
    trigger: 'later',
  },
  {
    // The arguments of a call, and what a response says about its models.
    isOpaque(name, found) {
      const type = stringIn(found.get('type'))
      return name === 'input' ? type?.endsWith('tool_use') === true : type === 'fallback'
    },
    leave(found, to) {
      const type = stringIn(found.get('type'))
      if (type !== 'image' && type !== 'document') return
      const source = found.get('source') as { type?: string; bytes?: number } | undefined
      if (source?.type === 'base64') to.mediaBytes += source.bytes ?? 0
      if (type === 'image') to.images += 1
      else if (source?.type !== 'text' && source?.type !== 'content') to.refers = true
    },
  },
)

/** `tool_addition`, and the changes that a compaction keeps: a tool by value in a message. */
const TOOL_CHANGE = shape({ definition: TOOL })
add(TOOL_CHANGE, { tool: TOOL_CHANGE })
add(SOURCE, { content: BLOCK })
add(BLOCK, { content: BLOCK, tool: TOOL_CHANGE, tool_changes: TOOL_CHANGE, tools: TOOL })

const MESSAGE = shape({ role: 'opaque', content: BLOCK, output_config: OUTPUT })

add(OPEN, {
  tools: TOOL,
  definition: TOOL,
  messages: MESSAGE,
  system: BLOCK,
  output_config: OUTPUT,
})

const EDIT = shape(
  { type: 'text' },
  {
    leave(found, to) {
      if (stringIn(found.get('type'))?.startsWith('compact') !== false) to.compacts = true
    },
  },
)

const THREAD = shape(
  { type: 'text' },
  {
    leave(found, to) {
      if (found.get('type') !== '"create"') to.refers = true
    },
  },
)

const REFERS = shape({}, { leave: (_found, to) => void (to.refers = true) })

export const REQUEST = shape({
  model: 'text',
  max_tokens: 'text',
  stream: 'text',
  speed: 'text',
  inference_geo: 'text',
  service_tier: 'text',
  messages: MESSAGE,
  system: BLOCK,
  tools: TOOL,
  fallbacks: FALLBACK,
  cache_control: CACHE,
  thread: THREAD,
  context_management: shape({ edits: EDIT }),
  mcp_servers: REFERS,
  output_config: OUTPUT,
  output_format: 'opaque',
  metadata: 'opaque',
  stop_sequences: 'opaque',
  diagnostics: 'opaque',
  fallback_credit_token: 'opaque',
})

/** `POST /v1/complete`. */
export const LEGACY_REQUEST = shape({
  model: 'text',
  max_tokens_to_sample: 'text',
  stream: 'text',
  prompt: 'opaque',
  metadata: 'opaque',
  stop_sequences: 'opaque',
})

export const NAMES: Names<Gathered> = {
  known,
  unlisted(folded) {
    if (folded.startsWith('fallback')) return FALLBACK
    return MODEL_MEMBER.test(folded) ? 'models' : OPEN
  },
  named(text, to) {
    const name = modelIn(text)
    if (name === undefined) to.trouble ??= 'wrong_model'
    else if (hasRoom(to)) to.models.push(name)
    else to.trouble ??= 'too_many_models'
  },
}
