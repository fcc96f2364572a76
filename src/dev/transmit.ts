// Sends one response of the stand-in enclave: at its pace, sealed or plain, with usage where Tinfoil puts
// it. If the client leaves, generation stops at once.

import type { ServerResponse } from 'node:http'

import type { DevAnswer, StreamedAnswer, Usage, WholeAnswer } from './answer.ts'
import { RESPONSE_NONCE_HEADER, type OpenedRequest } from './ehbp.ts'

const USAGE_HEADER = 'X-Tinfoil-Usage-Metrics'

/** The pace of a response. A complete response takes as long as its stream would. */
export interface TokenPace {
  readonly firstTokenMs: number
  readonly tokenMs: number
}

export interface Transmission {
  readonly pace: TokenPace
  /** Present for a sealed request: then every response is sealed, errors included. */
  readonly opened: OpenedRequest | undefined
  readonly wantsUsage: boolean
  /** Aborted when the client leaves. */
  readonly left: AbortSignal
}

export function transmit(response: ServerResponse, answer: DevAnswer, to: Transmission) {
  return answer.kind === 'stream'
    ? transmitStream(response, answer, to)
    : transmitWhole(response, answer, to)
}

async function transmitWhole(
  response: ServerResponse,
  { status, contentType, body, usage, allow }: WholeAnswer,
  { pace, opened, wantsUsage, left }: Transmission,
): Promise<void> {
  const tokens = usage?.completionTokens ?? 0
  if (tokens > 0) await wait(pace.firstTokenMs + (tokens - 1) * pace.tokenMs, left)
  if (left.aborted) return
  const bytes = Buffer.from(body)
  const headers: Record<string, string | number> = { 'Content-Type': contentType }
  if (allow !== undefined) headers['Allow'] = allow
  if (usage && wantsUsage) headers[USAGE_HEADER] = formatUsage(usage)
  if (opened) {
    // A sealed response has no Content-Length: EHBP §4.2 requires chunked.
    headers[RESPONSE_NONCE_HEADER] = opened.responseNonceHex
    headers['Transfer-Encoding'] = 'chunked'
  } else {
    headers['Content-Length'] = bytes.byteLength
  }
  response.writeHead(status, headers).end(opened ? opened.seal(bytes) : bytes)
}

async function transmitStream(
  response: ServerResponse,
  { opening, tokens, closing, usage }: StreamedAnswer,
  { pace, opened, wantsUsage, left }: Transmission,
): Promise<void> {
  const headers: Record<string, string> = {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-cache',
  }
  // A stream's usage is known at its end, so it is sent in a trailer (RFC 9110 §6.5).
  if (wantsUsage) headers['Trailer'] = USAGE_HEADER
  if (opened) headers[RESPONSE_NONCE_HEADER] = opened.responseNonceHex
  response.writeHead(200, headers)
  response.flushHeaders()

  // No backpressure: a response is bounded to a few kilobytes.
  const write = (text: string) => {
    if (text !== '') response.write(opened ? opened.seal(Buffer.from(text)) : text)
  }
  for (const [index, token] of tokens.entries()) {
    await wait(index === 0 ? pace.firstTokenMs : pace.tokenMs, left)
    if (left.aborted) return
    if (index === 0) write(opening)
    write(token)
  }
  write(closing)
  if (wantsUsage) response.addTrailers({ [USAGE_HEADER]: formatUsage(usage) })
  response.end()
}

function formatUsage({ promptTokens, completionTokens }: Usage): string {
  const total = promptTokens + completionTokens
  return `prompt=${promptTokens},completion=${completionTokens},total=${total}`
}

/** Ends early and without an error if the signal is aborted. */
function wait(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, delayMs)
    signal.addEventListener('abort', done)
  })
}
