// Sums up the usage of one response from every `usage` object in it. Counts are cumulative: for each
// class the largest one counts, because some upstreams end a stream with zeros. An invalid count is
// ignored and makes the result partial.

import { objectIn } from './json-object.ts'
import { PRICE_CLASS_MEMBERS, priceClassOf } from './price-classes.ts'
import { MODEL, Samplings } from './samplings.ts'
import {
  type ClassCounts,
  isCount,
  type ModelUsage,
  takeCacheCreation,
  takeUsage,
  type TokenClass,
  type TokenCounts,
} from './token-counts.ts'
import { largerParts, NO_PARTS, type TokenParts } from './token-parts.ts'

/**
 * `exact`: the response reported everything. `partial`: a lower bound, because the end was not seen or
 * something could not be read. `unknown`: nothing was reported, and every count is 0.
 */
export type MeterState = 'exact' | 'partial' | 'unknown'

/** The usage of the response's own model, and related facts. */
export interface MeteredUsage extends TokenCounts {
  readonly state: MeterState
  /** The model that answered; the request may contain an alias. */
  readonly model?: string
  /** The `type` of the error in the stream or the body, never its message. */
  readonly sawError?: string
  /** Parts of the tokens above; absent if the response reports none. */
  readonly parts?: TokenParts
  /** The price classes that the response names; absent for the list price. */
  readonly priceClasses?: readonly string[]
  /** Requests of server tools, by their names in `usage.server_tool_use`. */
  readonly serverTools?: Readonly<Record<string, number>>
  /** How often code ran in a container; no response reports its time. */
  readonly codeRuns?: number
  /** Other models that the same request ran: an advisor, a fallback. */
  readonly others?: readonly ModelUsage[]
  /** What a batch used, which is counted once, however often it is read. */
  readonly resultsOf?: BatchResults
  /** For a response without a final count, if everything that came could be read. */
  readonly since?: Since
}

export interface BatchResults {
  /** Of the batch, or of the file that it wrote. */
  readonly id: string
  readonly isFile: boolean
}

/** Estimated from the bytes since the last count. */
export interface Since {
  readonly outputTokens: number
  /** A server tool's results make the model read its prompt again. */
  readonly inputTokens: number
  readonly serverTools?: Readonly<Record<string, number>>
  /** How long text arrived; absent if thinking is already counted. */
  readonly spokenMs?: number
  /** The end of the response was not seen: the model may have written more. */
  readonly isUnfinished: boolean
}

/** For a route that uses no tokens. */
export const NO_USAGE: MeteredUsage = {
  state: 'exact',
  inputTokens: 0,
  outputTokens: 0,
  cacheReadTokens: 0,
  cacheCreationTokens: 0,
  cacheCreation1hTokens: 0,
}

const PROMPT = [
  'input',
  'cacheRead',
  'cacheCreation',
  'cacheCreation5m',
  'cacheCreation1h',
] as const satisfies readonly TokenClass[]

const ERROR_TYPE = /^[a-z_]{1,64}$/
const TOOL = /^[a-z][a-z0-9_]{0,63}$/
const MAX_TOOLS = 16

/** Every running stream has one, so rare members take no memory until they occur. */
export class Tally {
  readonly #said: ClassCounts = {}
  #samplings: Samplings | undefined
  #tools: Map<string, number> | undefined
  #classes: Map<string, string | undefined> | undefined
  #parts: TokenParts | undefined
  #outputIsFinal = false
  #sawLast = false
  #inDoubt = false
  #codeRuns = 0
  #model: string | undefined
  #errorType: string | undefined

  /** `first`: the usage before a stream has written anything, whose output is not final. */
  note(usage: unknown, which: 'first' | 'last'): void {
    if (usage === undefined || usage === null) return
    const said = this.#said
    const now: ClassCounts = {}
    if (!takeUsage(usage, now)) this.doubt()
    // A final count does not decrease.
    if (now.output !== undefined) {
      this.#outputIsFinal = which === 'last' && now.output >= (said.output ?? 0)
      this.#sawLast ||= which === 'last'
    }
    for (const count of Object.keys(now) as TokenClass[]) {
      said[count] = Math.max(said[count] ?? 0, now[count] ?? 0)
    }
    if (typeof usage !== 'object') return
    const members = usage as Readonly<Record<string, unknown>>
    if (!takeCacheCreation(members['cache_creation'], said)) this.doubt()
    this.#noteIterations(members['iterations'])
    this.#noteTools(members['server_tool_use'])
    // It is part of the output and billed like it, so an invalid count here does no harm.
    const thought = objectIn(members['output_tokens_details'])?.['thinking_tokens']
    if (isCount(thought) && thought > 0) {
      this.parts({ ...NO_PARTS, reasoningTokens: Math.min(thought, said.output ?? 0) })
    }
    for (const member of PRICE_CLASS_MEMBERS) {
      const value = members[member]
      if (value === undefined || value === null) continue
      this.#classes ??= new Map()
      this.#classes.set(member, priceClassOf(member, value))
    }
  }

  model(name: unknown): void {
    if (typeof name === 'string' && MODEL.test(name)) this.#model = name
  }

  error(type: unknown): void {
    this.#errorType = typeof type === 'string' && ERROR_TYPE.test(type) ? type : 'unknown_error'
  }

  ranCode(): void {
    this.#codeRuns += 1
  }

  parts(parts: TokenParts): void {
    this.#parts = this.#parts ? largerParts(this.#parts, parts) : parts
  }

  /** Something could not be read. */
  doubt(): void {
    this.#inDoubt = true
  }

  /** The prompt, all classes together. */
  get promptTokens(): number {
    const { input = 0, cacheRead = 0, cacheCreation = 0 } = this.#said
    return input + cacheRead + cacheCreation
  }

  /**
   * `whole`: the response's own end was seen. `since`: the bytes since its last count. `written`: the
   * model had finished.
   */
  result(whole: boolean, since?: Omit<Since, 'isUnfinished'>, written = whole): MeteredUsage {
    const said = this.#said
    const inDoubt = this.#inDoubt
    const sum = (count: TokenClass): number => {
      const total = said[count] ?? 0
      return this.#samplings?.own(count, total) ?? total
    }
    const any = Object.values(said).some((count) => count > 0)
    const nothingSince = since === undefined || since.outputTokens + since.inputTokens === 0
    const isFinal = this.#outputIsFinal || (this.#sawLast && since !== undefined && nothingSince)
    // No prompt is empty: an upstream that reports 0 does not count it.
    const isPromptSaid = PROMPT.some((count) => (said[count] ?? 0) > 0)
    const all = whole && isFinal && isPromptSaid && !inDoubt
    const state: MeterState = all ? 'exact' : any ? 'partial' : 'unknown'
    const priceClasses = [...(this.#classes?.values() ?? [])].filter((each) => each !== undefined)
    const others = this.#samplings?.others ?? []
    return {
      state,
      inputTokens: sum('input'),
      outputTokens: sum('output'),
      cacheReadTokens: sum('cacheRead'),
      // Some upstreams report the parts later than their sum, or without it.
      cacheCreationTokens: Math.max(
        sum('cacheCreation'),
        sum('cacheCreation5m') + sum('cacheCreation1h'),
      ),
      cacheCreation1hTokens: sum('cacheCreation1h'),
      ...(this.#model === undefined ? {} : { model: this.#model }),
      ...(this.#errorType === undefined ? {} : { sawError: this.#errorType }),
      ...(this.#parts && { parts: this.#parts }),
      ...(priceClasses.length === 0 ? {} : { priceClasses }),
      ...(this.#tools && { serverTools: Object.fromEntries(this.#tools) }),
      ...(this.#codeRuns === 0 ? {} : { codeRuns: this.#codeRuns }),
      ...(others.length === 0 ? {} : { others }),
      ...(since === undefined || all || inDoubt
        ? {}
        : { since: { ...since, isUnfinished: !written } }),
    }
  }

  #noteIterations(iterations: unknown): void {
    if (iterations === undefined || iterations === null) return
    if (!Array.isArray(iterations)) return this.doubt()
    this.#samplings ??= new Samplings()
    if (!this.#samplings.note(iterations as readonly unknown[], this.#model)) this.doubt()
  }

  #noteTools(used: unknown): void {
    if (used === undefined || used === null) return
    if (typeof used !== 'object') return this.doubt()
    for (const [name, count] of Object.entries(used)) {
      if (count === null || count === 0) continue
      const tools = this.#tools
      const isFull = (tools?.size ?? 0) >= MAX_TOOLS && !tools?.has(name)
      if (!isCount(count) || !TOOL.test(name) || isFull) this.doubt()
      else (this.#tools ??= new Map()).set(name, Math.max(tools?.get(name) ?? 0, count))
    }
  }
}
