// What must hold of one request whatever broke on its way, said of three accounts of it that know
// nothing of each other: the client's, the upstream's and the ledger's. Pure.

import type { Counted } from './counting-upstream.ts'
import { answerOf, type Asking, bodyOf, FIRST_OUTPUT, isDevice, isStream } from './shapes.ts'

/** What the client saw. */
export interface Outcome {
  readonly asking: Asking
  /** 0 where none came. */
  readonly status: number
  readonly body: Buffer
  /** The answer said that it was whole. */
  readonly whole: boolean
  /** It left before the answer had ended. */
  readonly left: boolean
}

/** A row of the ledger. */
export interface Row {
  readonly request_id: string
  readonly end_reason: string | null
  readonly status: number | null
  readonly usage: string
  readonly input_tokens: number | null
  readonly output_tokens: number | null
  readonly cache_read_tokens: number | null
  readonly cache_creation_tokens: number | null
  readonly first_byte_ms: number | null
}

export interface Circumstances {
  /** The way between client and gate was well, and the client in no hurry. */
  readonly clientWell: boolean
  /** So was the way between gate and upstream. */
  readonly upstreamWell: boolean
}

/** Refused before a row is opened: by the credential, the rate, or the route. */
export const UNADMITTED = new Set([400, 401, 403, 404, 405, 421, 429, 431, 503])

export function judge(
  outcome: Outcome,
  counted: Counted | undefined,
  row: Row | undefined,
  { clientWell, upstreamWell }: Circumstances,
): string[] {
  const problems: string[] = []
  const must = (fact: boolean, problem: string): void => {
    if (!fact) problems.push(`${outcome.asking.id}: ${problem}`)
  }
  const { asking, status, body, whole, left } = outcome
  const expected = bodyOf(answerOf(asking))

  if (status === 200) {
    must(expected.subarray(0, body.byteLength).equals(body), 'other bytes than were sent')
    must(!whole || body.byteLength === expected.byteLength, 'a false end')
  } else if (whole) {
    must(isRefusal(asking, body), `${status} in no shape of ours`)
  }
  if (counted) must(counted.bodyIsRight, 'the upstream took an incomplete body for a whole one')

  if (!row) {
    must(!counted, 'the upstream was asked, and there is no row')
    must(status === 0 || UNADMITTED.has(status), `answered ${status}, and there is no row`)
    return problems
  }
  const { end_reason: end } = row
  must(end !== null, 'the row is still open')
  if (end === null) return problems
  must(row.status === null || status === 0 || row.status === status, 'row and client: two statuses')
  if (end === 'complete') must(counted?.sent === true, 'complete, but the upstream never said all')
  if (whole && status === 200) must(end === 'complete', `all there, and the row says ${end}`)
  if (clientWell && !left) {
    must(end !== 'client_gone', 'client_gone, and it had not gone')
    must(end !== 'complete' || whole, 'complete, and the client has not got all')
  }
  if (upstreamWell && end === 'upstream_error') must(false, 'upstream_error, and it was well')
  if (clientWell && upstreamWell && !left)
    must(end === 'complete', `nothing failed, and it is ${end}`)
  problems.push(...usageProblems(outcome, counted, row, end))
  return problems
}

/** The row's tokens against the upstream's own, and against what even the client has seen. */
function usageProblems(
  { asking, status, body }: Outcome,
  counted: Counted | undefined,
  row: Row,
  end: string,
): string[] {
  const { usage, input_tokens: input, output_tokens: output } = row
  const said = [input, output, row.cache_read_tokens, row.cache_creation_tokens]
  const problem = (text: string): string[] => [`${asking.id}: ${text}: ${usage} ${said.join()}`]
  if (usage === 'unknown') {
    if (said.some((each) => each !== null)) return problem('tokens of nobody')
    if (end === 'complete' && !tooLarge(asking)) return problem('complete, and the usage is lost')
    const seen = status === 200 && asking.shape === 'message' && body.includes('\n\n')
    return seen ? problem('the client could read usage that the row has not') : []
  }
  const isNothing = usage === 'exact' && said.every((each) => each === 0)
  if (!counted) return isNothing ? [] : problem('usage that no upstream had')
  const { used } = counted
  const bills =
    input === used.input &&
    row.cache_read_tokens === used.cacheRead &&
    row.cache_creation_tokens === used.cacheCreation
  if (!bills) return problem(`not what the upstream counted, ${Object.values(used).join()}`)
  if (usage === 'exact') return output === used.output ? [] : problem('exact, and wrong')
  if (usage !== 'partial') return problem('no word for usage')
  if (end === 'complete') return problem('complete, and only partly counted')
  return output === FIRST_OUTPUT || output === used.output ? [] : problem('partial, and wrong')
}

/** A whole message beyond this is passed on, and its usage not read. */
const MAX_READ_BYTES = 8 * 1024 * 1024

const tooLarge = ({ shape, events, eventBytes }: Asking): boolean =>
  shape === 'message_whole' && events * eventBytes > MAX_READ_BYTES / 2

function isRefusal({ shape }: Asking, body: Buffer): boolean {
  try {
    const parsed = JSON.parse(body.toString('utf8')) as { type?: unknown; error?: object }
    const typed = !isDevice(shape) || parsed.type === 'error'
    return typed && typeof parsed.error === 'object' && 'message' in parsed.error
  } catch {
    return false
  }
}

/**
 * For an upstream that answers one request on each connection: the body bytes among the first
 * `rawBytes` that reached the gate are what the client must have got.
 */
export function lostBytes({ asking, status, body }: Outcome, rawBytes: number): string[] {
  const arrived = bodyOf(answerOf(asking, true), rawBytes).byteLength
  if (status === 200 && body.byteLength === arrived) return []
  // An answer that broke before its first byte is told of, not passed on; one that is short and
  // whole has all to come before it is.
  if (status === 502 && (arrived === 0 || !isStream(asking.shape))) return []
  return [`${asking.id}: ${arrived} bytes reached the gate, ${body.byteLength} the client`]
}
