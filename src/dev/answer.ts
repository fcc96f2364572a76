// The responses of the stand-in enclave before they are paced, sealed or sent: a complete body, a stream
// of server-sent events, or an error in OpenAI's shape.
//
// Everything here is a value. No model runs, and nothing of a request is stored.

export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
}

export interface WholeAnswer {
  readonly kind: 'whole'
  readonly status: number
  readonly contentType: string
  readonly body: string | Uint8Array
  readonly usage?: Usage
  /** The allowed method, which a 405 must name (RFC 9110 §15.5.6). */
  readonly allow?: string
}

export interface StreamedAnswer {
  readonly kind: 'stream'
  /** Sent right before the first token. */
  readonly opening: string
  /** One server-sent event for each token, sent at the enclave's pace. */
  readonly tokens: readonly string[]
  /** Sent with the last token. */
  readonly closing: string
  readonly usage: Usage
}

export type DevAnswer = WholeAnswer | StreamedAnswer

/** The fields of a JSON request. Clients write them, so their types are unknown. */
export type DevFields = Readonly<Record<string, unknown>>

export type ParsedBody =
  { ok: true; fields: DevFields; model: string } | { ok: false; refusal: DevAnswer }

type Capability = 'generate' | 'embed'

export const MODELS: ReadonlyMap<string, Capability> = new Map([
  ['gpt-oss-120b', 'generate'],
  ['llama3-3-70b', 'generate'],
  ['gpt-4o-mini', 'generate'],
  ['nomic-embed-text', 'embed'],
  ['text-embedding-3-small', 'embed'],
])

// A fixed date, so that two runs of the enclave list the same models.
const MODELS_CREATED_SECONDS = Date.UTC(2025, 7, 5) / 1000

// The maximum of a request that is echoed, which bounds the response.
const MAX_ECHO_CODE_POINTS = 200

const TOKEN = /[\p{L}\p{N}_']+|[^\s\p{L}\p{N}_']/gu
// Only for text of bounded length: on a long run of spaces its time is quadratic.
const TOKEN_AND_SPACE_BEFORE = new RegExp(`\\s*(?:${TOKEN.source})`, 'gu')

export function json(body: unknown, usage?: Usage): WholeAnswer {
  const answer = { kind: 'whole', status: 200, contentType: 'application/json' } as const
  return { ...answer, body: JSON.stringify(body), ...(usage && { usage }) }
}

export function refuse(
  status: number,
  message: string,
  type = 'invalid_request_error',
  code: string | null = null,
  param: string | null = null,
): WholeAnswer {
  return { ...json({ error: { message, type, param, code } }), status }
}

const modelNamed = (id: string) => ({
  id,
  object: 'model',
  created: MODELS_CREATED_SECONDS,
  owned_by: 'postern-dev',
})

export function listModels(): DevAnswer {
  return json({ object: 'list', data: Array.from(MODELS.keys(), modelNamed) })
}

export function oneModel(id: string): DevAnswer {
  if (MODELS.has(id)) return json(modelNamed(id))
  const message = `The model \`${clip(id)}\` does not exist.`
  return refuse(404, message, 'invalid_request_error', 'model_not_found', 'model')
}

/** Reads a JSON body and checks that its model can do what is requested. */
export function parseRequest(body: Buffer, capability: Capability): ParsedBody {
  const fields = parseJson(body)
  if (fields === undefined) {
    return { ok: false, refusal: refuse(400, 'The request body is not a JSON object.') }
  }
  const model = fields['model']
  if (typeof model !== 'string' || model === '') {
    return { ok: false, refusal: missing('model') }
  }
  if (MODELS.get(model) !== capability) {
    const message = `The model \`${clip(model)}\` does not exist or does not serve this endpoint.`
    const refusal = refuse(404, message, 'invalid_request_error', 'model_not_found', 'model')
    return { ok: false, refusal }
  }
  return { ok: true, fields, model }
}

/** The body as a JSON object; undefined if it is none. */
export function parseJson(body: Buffer): DevFields | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    return isObject(value) && !Array.isArray(value) ? value : undefined
  } catch {
    return undefined
  }
}

export function missing(param: string): WholeAnswer {
  const message = `Missing or malformed parameter: '${param}'.`
  return refuse(400, message, 'invalid_request_error', 'invalid_parameter', param)
}

/** A word or a punctuation mark with the white space before it: about the size of a model's tokens. */
function tokenize(text: string): string[] {
  return text.match(TOKEN_AND_SPACE_BEFORE) ?? []
}

export function countTokens(text: string): number {
  // Counted without a list, because a prompt may be as long as the largest body.
  const tokens = new RegExp(TOKEN)
  let count = 0
  while (tokens.test(text)) count += 1
  return count
}

export interface Generated {
  readonly tokens: readonly string[]
  readonly text: string
  readonly truncated: boolean
}

/** Equal requests get equal words, which say that no model runs. */
export function generate(lastText: string, maxTokens: unknown, who = 'You'): Generated {
  const said = clip(lastText)
  const echo = said === '' ? `${who} said nothing.` : `${who} said: ${said}`
  const all = tokenize(
    `Hello from postern's embedded development enclave. ` +
      `No model ran here, but the whole road to it works. ${echo}`,
  )
  const isLimit = typeof maxTokens === 'number' && Number.isInteger(maxTokens) && maxTokens > 0
  const tokens = isLimit ? all.slice(0, maxTokens) : all
  return { tokens, text: tokens.join(''), truncated: tokens.length < all.length }
}

/** The text of a message's content, which is a string or a list of typed parts. */
export function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  const texts = content.map((part: unknown) => {
    const text = isObject(part) ? part['text'] : undefined
    return typeof text === 'string' ? text : ''
  })
  return texts.join('')
}

export function lastUserText(messages: readonly unknown[]): string {
  const last = messages.findLast((message) => isObject(message) && message['role'] === 'user')
  return isObject(last) ? textOf(last['content']) : ''
}

/** The arguments of a tool call, in pieces of a token's size. */
export function generateArguments(json: string): Generated {
  return { tokens: tokenize(json), text: json, truncated: false }
}

/** Chat templates spend a few tokens around each message; three is a usual number. */
export function countMessageTokens(messages: readonly unknown[]): number {
  const texts = messages.map((message) => (isObject(message) ? textOf(message['content']) : ''))
  return texts.reduce((sum, text) => sum + countTokens(text) + 3, 0)
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function clip(text: string): string {
  // A code point has at most two code units, so this prefix is long enough.
  const start = text.trim().slice(0, 2 * MAX_ECHO_CODE_POINTS)
  return Array.from(start).slice(0, MAX_ECHO_CODE_POINTS).join('').trimEnd()
}
