// Where a request body in OpenAI's dialect names a model, carries something other than text, or requests
// something that is billed besides tokens: the API's reference as a table, from the SDK's types of
// November 2026. A member that is not in the table may still name a model: its name decides, and it is
// checked like `model`.

import { printable } from '../../token/model-pattern.ts'
import { MODEL_MEMBER, modelIn, stringIn } from './members.ts'
import { type Names, type OutlinedMembers, type OutlineShape } from './outline.ts'
import { outlineTables } from './outline-tables.ts'

/** What is collected from a body. */
export interface OpenAiGathered {
  images: number
  /** The base64 bytes of images in the body. */
  mediaBytes: number
  hasAudio: boolean
  /** It refers to content outside: a file, an earlier response, a tool's results. */
  refers: boolean
  /** A cache is requested for longer than the API's shortest time. */
  cachesLong: boolean
  compacts: boolean
  /** The stream's usage is requested. */
  asksUsage: boolean
  /** The texts of `prompt` or `input`, each of which is a prompt of its own. */
  prompts: number
  /** `prompt` contains numbers: tokens of an unknown number of prompts. */
  hasTokenIds: boolean
  readonly models: string[]
  /** Requests that run unknown models. */
  readonly unknown: string[]
  /** Requests whose cost is unknown. */
  readonly unpriced: string[]
  trouble: 'wrong_model' | 'too_many_models' | undefined
}

export const nothingOfOpenAi = (): OpenAiGathered => ({
  images: 0,
  mediaBytes: 0,
  hasAudio: false,
  refers: false,
  cachesLong: false,
  compacts: false,
  asksUsage: false,
  prompts: 0,
  hasTokenIds: false,
  models: [],
  unknown: [],
  unpriced: [],
  trouble: undefined,
})

/** In addition to its own. */
const MAX_MODELS = 32

const { known, shape, add } = outlineTables<OpenAiGathered>()

const tell = (what: string, to: string[]): void => {
  if (to.length === 0) to.push(what)
}

const ANY = shape({})

/** The shortest time is the default. */
const CACHE = shape(
  { ttl: 'text' },
  {
    leave(found, to) {
      const ttl = found.get('ttl')
      if (ttl !== undefined && ttl !== 'null' && ttl !== '"30m"') to.cachesLong = true
    },
  },
)

/** Tools that the caller runs, or that are part of the model's prompt. */
const CLIENT_TOOL =
  /^(?:function|custom|namespace|tool_search|local_shell|apply_patch|computer(?:_use_preview)?)$/
/** The API's own tools that run no model: the model reads their results, and calls are billed. */
const SERVER_TOOL =
  /^(?:web_search|file_search|code_interpreter|mcp|shell|programmatic_tool_calling)/

/** The caller's own schemas, in which a member may have any name. */
const TOOL: OutlineShape<OpenAiGathered> = shape(
  {
    type: 'text',
    model: 'text',
    function: 'opaque',
    parameters: 'opaque',
    description: 'opaque',
    format: 'opaque',
    filters: 'opaque',
  },
  { leave: gatherTool },
)
add(TOOL, { tools: TOOL })

function gatherTool(found: OutlinedMembers, to: OpenAiGathered): void {
  if (found.has('model') && found.get('model') !== 'null') {
    NAMES.named(String(found.get('model')), to)
  }
  const type = found.has('type') ? stringIn(found.get('type')) : 'function'
  if (type !== undefined && CLIENT_TOOL.test(type)) return
  to.refers = true
  const what = `a tool of type ${printable(type ?? '?')}`
  if (type !== undefined && SERVER_TOOL.test(type)) return tell(what, to.unpriced)
  if (type === 'image_generation' && found.has('model')) return tell(what, to.unpriced)
  tell(what, to.unknown)
}

/** Their text is in the body. */
const PLAIN_BLOCK =
  /^(?:(?:input_|output_|summary_|reasoning_)?text|refusal|message|reasoning|compaction|function|(?:function|custom_tool|computer|local_shell|shell|apply_patch|tool_search)_call(?:_output)?|tool_search_output|additional_tools)$/
const PICTURE = /^(?:input_image|image_url|computer_screenshot)$/

/** A message, an item of `input`, or a part of either. */
const BLOCK: OutlineShape<OpenAiGathered> = shape(
  {
    type: 'text',
    id: 'length',
    role: 'length',
    name: 'opaque',
    text: 'opaque',
    refusal: 'opaque',
    arguments: 'opaque',
    input: 'opaque',
    action: 'opaque',
    operation: 'opaque',
    summary: 'opaque',
    encrypted_content: 'length',
    tool_calls: 'opaque',
    function_call: 'opaque',
    reasoning_content: 'opaque',
    reasoning_details: 'opaque',
    annotations: 'opaque',
    image_url: 'length',
    file: 'length',
    file_data: 'length',
    file_id: 'length',
    audio_url: 'length',
    video_url: 'length',
    input_audio: 'length',
    audio: 'length',
    tools: TOOL,
    prompt_cache_breakpoint: CACHE,
  },
  { leave: gatherBlock },
)
add(BLOCK, { content: BLOCK, output: BLOCK })

function gatherBlock(found: OutlinedMembers, to: OpenAiGathered): void {
  const type = found.has('type') ? stringIn(found.get('type')) : ''
  const isPicture = found.has('image_url') || (type !== undefined && PICTURE.test(type))
  if (isPicture) {
    to.images += 1
    to.mediaBytes += Number(found.get('image_url') ?? 0)
    return
  }
  // Audio that the model made before is named by its id; `null` means none.
  if (found.has('audio') && found.get('audio') !== 'null'.length) {
    to.hasAudio = true
    to.refers = true
  }
  if (type === 'input_audio') to.hasAudio = true
  else if (type === undefined || (type !== '' && !PLAIN_BLOCK.test(type))) to.refers = true
  else if (type === '' ? isReference(found) : isKept(type, found)) to.refers = true
  if (type === '' && (found.has('input_audio') || found.has('audio_url'))) to.hasAudio = true
}

/**
 * Without a type: an item that the API stores, by its id, or a part that some servers identify by its
 * member.
 */
function isReference(found: OutlinedMembers): boolean {
  if (found.has('id') && !found.has('role')) return true
  return REFERRING.some((name) => found.has(name))
}
const REFERRING = ['file', 'file_data', 'file_id', 'audio_url', 'video_url']

/** Reasoning or a compaction without its text: the API finds it by its id. */
const isKept = (type: string, found: OutlinedMembers): boolean =>
  (type === 'reasoning' || type === 'compaction') &&
  found.has('id') &&
  !isGiven(found.get('encrypted_content'))

const isGiven = (bytes: unknown): boolean => typeof bytes === 'number' && bytes > 'null'.length

const REFERS = shape(
  {},
  {
    leave: (_found, to) => void (to.refers = true),
    scalar: (text, to) => void (to.refers ||= text !== 'null'),
  },
)

/** A template that the API stores, with tools of its own. */
const TEMPLATE = shape(
  { id: 'opaque', variables: BLOCK },
  { leave: (_found, to) => (tell('a prompt that is kept at the API', to.unpriced), undefined) },
)

/** The input of embeddings. It may be numbers: one array of them is one prompt. */
const INPUTS = shape({}, { scalar: (text, to) => void (to.prompts += text === 'null' ? 0 : 1) })

const PROMPTS = shape(
  {},
  {
    scalar(text, to) {
      if (text === '' || text.startsWith('"')) to.prompts += 1
      else if (text !== 'null') to.hasTokenIds = true
    },
  },
)

const beside = (what: string): OutlineShape<OpenAiGathered> => {
  const told = (to: OpenAiGathered): void => tell(what, to.unpriced)
  return shape(
    {},
    {
      leave: (_found, to) => void told(to),
      scalar: (text, to) => void (text === 'null' || text === 'false' || told(to)),
    },
  )
}

const SEARCH = beside('a search of the web')

const PLUGIN = shape(
  {},
  { leave: (_found, to) => (tell('plugins of a router', to.unknown), undefined) },
)

const EDIT = shape(
  { type: 'text' },
  {
    leave(_found, to) {
      to.compacts = true
    },
  },
)

/** Other spellings of `true` are read differently by different parsers. */
const STREAM_OPTIONS = shape(
  { include_usage: 'text' },
  {
    leave(found, to) {
      to.asksUsage = found.get('include_usage') === 'true'
    },
  },
)

/** For routes whose streams report usage on request. */
const STREAMED = { stream: 'text', stream_options: STREAM_OPTIONS } as const

const COMMON = {
  model: 'text',
  service_tier: 'text',
  user: 'opaque',
  metadata: 'opaque',
  prompt_cache_options: CACHE,
} as const

/** Of llama.cpp, Ollama and other model servers. */
export const OTHER_MAX_TOKENS = [
  'n_predict',
  'num_predict',
  'max_new_tokens',
  'max_output_tokens',
] as const
const OTHER_BOUNDS = Object.fromEntries(OTHER_MAX_TOKENS.map((name) => [name, 'text' as const]))

export const CHAT = shape({
  ...COMMON,
  ...STREAMED,
  ...OTHER_BOUNDS,
  n: 'text',
  best_of: 'text',
  max_tokens: 'text',
  max_completion_tokens: 'text',
  messages: BLOCK,
  tools: TOOL,
  functions: 'opaque',
  response_format: 'opaque',
  stop: 'opaque',
  logit_bias: 'opaque',
  modalities: shape(
    {},
    { scalar: (text, to) => void (to.hasAudio ||= text !== '"text"' && text !== 'null') },
  ),
  prediction: beside('a prediction, which is billed where it is not met'),
  web_search_options: SEARCH,
  // xAI's and Qwen's.
  search_parameters: SEARCH,
  enable_search: SEARCH,
  plugins: PLUGIN,
})

export const RESPONSE = shape({
  ...COMMON,
  ...OTHER_BOUNDS,
  max_output_tokens: 'text',
  input: BLOCK,
  instructions: BLOCK,
  tools: TOOL,
  text: 'opaque',
  previous_response_id: REFERS,
  conversation: REFERS,
  prompt: TEMPLATE,
  background: beside('an answer that is made in the background'),
  context_management: EDIT,
  plugins: PLUGIN,
})

export const COMPLETION = shape({
  ...COMMON,
  ...STREAMED,
  ...OTHER_BOUNDS,
  n: 'text',
  best_of: 'text',
  max_tokens: 'text',
  prompt: PROMPTS,
  suffix: 'opaque',
  stop: 'opaque',
  logit_bias: 'opaque',
})

/** Embeddings, moderations. */
export const INPUT = shape({ ...COMMON, input: INPUTS })

export const PICTURES = shape({ ...COMMON, n: 'text', prompt: 'opaque' })

export const SPEECH = shape({ ...COMMON, input: 'opaque', instructions: 'opaque' })

export const TRAINING = shape({
  model: 'text',
  service_tier: 'text',
  metadata: 'opaque',
  suffix: 'opaque',
})

export const NAMES: Names<OpenAiGathered> = {
  known,
  unlisted: (folded) => (folded.includes('fallback') || MODEL_MEMBER.test(folded) ? 'models' : ANY),
  named(text, to) {
    const name = modelIn(text)
    if (name === undefined) to.trouble ??= 'wrong_model'
    else if (to.models.length < MAX_MODELS) to.models.push(name)
    else to.trouble ??= 'too_many_models'
  },
}
