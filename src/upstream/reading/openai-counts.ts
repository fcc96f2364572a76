// Reads the `usage` of OpenAI's dialect, in which routes have different names for the same counts, from
// every place in a response. Prompt tokens include those read from or written to a cache, which are
// separate classes in a tally. Some providers count reasoning only in the total, and not in the
// completion.

import { objectIn } from './json-object.ts'
import { type Kept, tellKept } from './kept.ts'
import { type MeteredUsage, Tally } from './tally.ts'
import type { Passed } from './passed.ts'
import { hasParts, largerParts, NO_PARTS, type TokenParts } from './token-parts.ts'

type JsonObject = Readonly<Record<string, unknown>>

/** Chat and completions; responses and images; transcriptions. */
const INPUT_DETAILS = ['prompt_tokens_details', 'input_tokens_details', 'input_token_details']
const OUTPUT_DETAILS = [
  'completion_tokens_details',
  'output_tokens_details',
  'output_token_details',
]

/** Tools that the API runs and bills by the call, by their items in `output`. */
const BILLED_CALLS: ReadonlyMap<string, string> = new Map([
  ['web_search_call', 'web_search_requests'],
  ['file_search_call', 'file_search_requests'],
  ['code_interpreter_call', 'code_interpreter_requests'],
  ['image_generation_call', 'image_generation_requests'],
  ['shell_call', 'shell_requests'],
])

export class OpenAiCounts {
  readonly #tally: Tally
  readonly #kept: Kept | undefined
  #prompt: number | undefined
  #completion: number | undefined
  #cached = 0
  #written = 0
  #writtenLong = 0
  #parts: TokenParts = NO_PARTS
  #tier: unknown
  #tools: Record<string, number> | undefined

  constructor(to: Tally = new Tally(), kept?: Kept) {
    this.#tally = to
    this.#kept = kept
  }

  /** Adds a chunk, an event or a complete body; returns whether it had counts. */
  noteAnswer(answer: JsonObject): boolean {
    const response = objectIn(answer['response'])
    const holder = response ?? answer
    const groq = objectIn(answer['x_groq'])
    if (this.#kept) tellKept(holder, this.#kept)
    const writes = Array.isArray(answer['choices']) || Array.isArray(holder['output'])
    const isCounted = this.#note(answer['usage'] ?? response?.['usage'] ?? groq?.['usage'], writes)
    this.#tally.model(answer['model'] ?? response?.['model'])
    this.#noteError(answer, response)
    this.#tier = holder['service_tier'] ?? this.#tier
    if (Array.isArray(holder['output'])) this.#noteOutput(holder['output'], holder['tool_usage'])
    return isCounted
  }

  doubt(): void {
    this.#tally.doubt()
  }

  tell(): void {
    if (this.#prompt === undefined && this.#completion === undefined) return
    const prompt = this.#prompt ?? 0
    const cached = Math.min(this.#cached, prompt)
    const written = Math.min(this.#written, prompt - cached)
    this.#tally.note(
      {
        input_tokens: this.#prompt === undefined ? undefined : prompt - cached - written,
        output_tokens: this.#completion,
        cache_read_input_tokens: cached,
        cache_creation_input_tokens: written,
        cache_creation: { ephemeral_1h_input_tokens: Math.min(this.#writtenLong, written) },
        service_tier: this.#tier,
        server_tool_use: this.#tools,
      },
      'last',
    )
    if (hasParts(this.#parts)) this.#tally.parts(this.#parts)
  }

  /** `passed`: undefined if nothing in the response tells how much was written. */
  result(isWhole: boolean, passed: Passed | undefined): MeteredUsage {
    this.tell()
    const since = passed && {
      outputTokens: passed.tokens,
      inputTokens: 0,
      spokenMs: passed.spokenMs,
    }
    const isFinal = isWhole && (since?.outputTokens ?? 0) === 0
    return this.#tally.result(isFinal, since, isWhole)
  }

  /** `writes`: a model wrote the response. */
  #note(usage: unknown, writes: boolean): boolean {
    if (usage === undefined || usage === null) return false
    const members = objectIn(usage)
    if (!members) {
      this.doubt()
      return false
    }
    const prompt = this.#count(members['prompt_tokens'] ?? members['input_tokens'])
    const said = this.#count(members['completion_tokens'] ?? members['output_tokens'])
    const total = this.#count(members['total_tokens'])
    const completion = withThought(prompt, said, total)
    // Some servers write zeros instead of counts: no prompt is empty.
    if (prompt === 0 && (completion ?? 0) === 0) return false
    this.#noteInput(detailsIn(members, INPUT_DETAILS))
    this.#noteWritten(detailsIn(members, OUTPUT_DETAILS))
    if (prompt !== undefined) this.#prompt = Math.max(this.#prompt ?? 0, prompt)
    // Embeddings have no output, and no count of it.
    const written = completion ?? (prompt === undefined || writes ? undefined : 0)
    if (written !== undefined) this.#completion = Math.max(this.#completion ?? 0, written)
    return (prompt ?? 0) + (completion ?? 0) > 0
  }

  #noteInput(details: JsonObject | undefined): void {
    if (!details) return
    const of = (name: string): number => this.#count(details[name]) ?? 0
    this.#cached = Math.max(this.#cached, of('cached_tokens'))
    this.#written = Math.max(this.#written, of('cache_write_tokens'))
    const byTime = objectIn(details['cache_write_tokens_details'])
    this.#writtenLong = Math.max(this.#writtenLong, this.#count(byTime?.['ttl_12h_tokens']) ?? 0)
    this.#parts = largerParts(this.#parts, {
      ...NO_PARTS,
      audioInputTokens: of('audio_tokens'),
      imageInputTokens: of('image_tokens'),
    })
  }

  #noteWritten(details: JsonObject | undefined): void {
    if (!details) return
    const of = (name: string): number => this.#count(details[name]) ?? 0
    this.#parts = largerParts(this.#parts, {
      ...NO_PARTS,
      reasoningTokens: of('reasoning_tokens'),
      audioOutputTokens: of('audio_tokens'),
      imageOutputTokens: of('image_tokens'),
    })
  }

  /** Counts the tool calls of a response, which its tokens do not include. */
  #noteOutput(output: readonly unknown[], usage: unknown): void {
    const tools: Record<string, number> = {}
    for (const item of output) {
      const name = BILLED_CALLS.get(String(objectIn(item)?.['type']))
      if (name !== undefined) tools[name] = (tools[name] ?? 0) + 1
    }
    // Opening a page is a call too, but it is not billed: the API does not count it.
    const searches = objectIn(objectIn(usage)?.['web_search'])?.['num_requests']
    if (typeof searches === 'number') tools['web_search_requests'] = this.#count(searches) ?? 0
    this.#tools = tools
  }

  /** `{"error":{"type":…}}`, an event of that type, or the error of a failed response. */
  #noteError(event: JsonObject, response: JsonObject | undefined): void {
    const error = event['error'] ?? response?.['error']
    if (error !== undefined && error !== null) {
      const { type, code } = objectIn(error) ?? {}
      this.#tally.error(typeof code === 'number' ? typeOfStatus(code, type) : (type ?? code))
    } else if (event['type'] === 'error') {
      this.#tally.error(event['code'])
    } else if (response?.['status'] === 'failed') {
      this.#tally.error(undefined)
    }
  }

  #count(value: unknown): number | undefined {
    if (value === undefined || value === null) return undefined
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
    this.doubt()
    return undefined
  }
}

/** The completion's tokens, or the total minus the prompt if that is more. */
function withThought(
  prompt: number | undefined,
  completion: number | undefined,
  total = 0,
): number | undefined {
  if (prompt === undefined || total - prompt <= (completion ?? 0)) return completion
  return total - prompt
}

function detailsIn(usage: JsonObject, names: readonly string[]): JsonObject | undefined {
  for (const name of names) {
    const details = objectIn(usage[name])
    if (details) return details
  }
  return undefined
}

/** Some servers use the status as the code, and a type of their own. */
function typeOfStatus(status: number, type: unknown): unknown {
  if (status === 429 || status === 529) return 'rate_limit_error'
  if (status >= 400 && status < 500) return 'invalid_request_error'
  return type
}
