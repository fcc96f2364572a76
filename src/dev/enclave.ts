// The stand-in for Tinfoil's enclave in development mode without a key, so that everything works without
// an account or a network, including sealed bodies.
//
// It runs no model, attests nothing, stores nothing and listens on 127.0.0.1 only. Its key lives as long
// as its process, and no client can verify whose key it is: never use it for real data.

import type { IncomingMessage, ServerResponse } from 'node:http'

import { listModels, refuse, type DevAnswer } from './answer.ts'
import { speech, transcriptions } from './audio.ts'
import { chatCompletions, completions } from './chat.ts'
import {
  ENCAPSULATED_KEY_HEADER,
  EhbpError,
  KEYS_MEDIA_TYPE,
  KEYS_PATH,
  KEY_CONFIG_PROBLEM,
  PROBLEM_MEDIA_TYPE,
  keyConfig,
  openRequest,
  type OpenedRequest,
  type RecipientKeys,
  SUITE,
} from './ehbp.ts'
import { embeddings } from './embeddings.ts'
import { keyMatcher, listenOnLoopback, readBody } from './loopback.ts'
import { responses } from './responses.ts'
import { transmit, type TokenPace } from './transmit.ts'

/** The limit of Tinfoil's own router. A frame cannot be longer than its body. */
const MAX_BODY_BYTES = 64 * 1024 * 1024
const USAGE_WANTED_HEADER = 'x-tinfoil-request-usage-metrics'

export interface EnclaveOptions {
  readonly apiKey: string
  readonly pace?: TokenPace
}

export interface DevEnclave {
  /** Its origin, without a slash at the end. */
  readonly url: string
  /** How many responses are being generated. */
  generating(): number
  /** Closes every connection, even in the middle of a stream. */
  close(): Promise<void>
}

interface DevEnclaveRoute {
  readonly method: 'GET' | 'POST'
  readonly answer: (body: Buffer, contentType: string) => DevAnswer | Promise<DevAnswer>
}

const ROUTES: ReadonlyMap<string, DevEnclaveRoute> = new Map<string, DevEnclaveRoute>([
  ['/v1/models', { method: 'GET', answer: listModels }],
  ['/v1/chat/completions', { method: 'POST', answer: chatCompletions }],
  ['/v1/completions', { method: 'POST', answer: completions }],
  ['/v1/responses', { method: 'POST', answer: responses }],
  ['/v1/embeddings', { method: 'POST', answer: embeddings }],
  ['/v1/audio/transcriptions', { method: 'POST', answer: transcriptions }],
  ['/v1/audio/speech', { method: 'POST', answer: speech }],
  ['/attestation', { method: 'GET', answer: nothingToAttest }],
])

export async function startEnclave({
  apiKey,
  pace = { firstTokenMs: 250, tokenMs: 25 },
}: EnclaveOptions): Promise<DevEnclave> {
  const recipient = await SUITE.GenerateKeyPair()
  const body = keyConfig(await SUITE.SerializePublicKey(recipient.publicKey))
  const keys: DevAnswer = { kind: 'whole', status: 200, contentType: KEYS_MEDIA_TYPE, body }
  const routes = new Map(ROUTES).set(KEYS_PATH, { method: 'GET', answer: () => keys })
  const isKey = keyMatcher(apiKey)
  let generating = 0

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const leaving = new AbortController()
    response.once('close', () => leaving.abort())
    const wantsUsage = request.headers[USAGE_WANTED_HEADER] === 'true'
    const to = { pace, wantsUsage, left: leaving.signal, opened: undefined }

    const chunks = await readBody(request, MAX_BODY_BYTES)
    if (chunks === undefined) {
      // The rest of the body may still arrive, so the connection cannot be reused.
      response.setHeader('Connection', 'close')
      await transmit(response, refuse(413, 'The request body is larger than 64 MiB.'), to)
      return
    }
    const opened = await openIfSealed(request, chunks, recipient)
    if (opened instanceof EhbpError) {
      await transmit(response, unopened(opened), to)
      return
    }
    generating += 1
    try {
      const body = opened?.body ?? Buffer.concat(chunks)
      const answer = await decide(request, body, routes, isKey)
      await transmit(response, answer, { ...to, opened })
    } finally {
      generating -= 1
    }
  }

  const { url, close } = await listenOnLoopback(serve)
  return { url, close, generating: () => generating }
}

async function openIfSealed(
  request: IncomingMessage,
  chunks: readonly Buffer[],
  recipient: RecipientKeys,
): Promise<OpenedRequest | EhbpError | undefined> {
  const encapsulatedKey = request.headers[ENCAPSULATED_KEY_HEADER.toLowerCase()]
  // A request without a body is plaintext, whatever its headers say (EHBP §7.4).
  if (typeof encapsulatedKey !== 'string' || chunks.length === 0) return undefined
  try {
    return await openRequest(encapsulatedKey, chunks, recipient, MAX_BODY_BYTES)
  } catch (error) {
    if (error instanceof EhbpError) return error
    throw error
  }
}

function unopened({ failure }: EhbpError): DevAnswer {
  switch (failure) {
    case 'framing': {
      const body = 'invalid encrypted request\n'
      return { kind: 'whole', status: 400, contentType: 'text/plain; charset=utf-8', body }
    }
    case 'key-config': {
      const body = JSON.stringify(KEY_CONFIG_PROBLEM)
      return { kind: 'whole', status: 422, contentType: PROBLEM_MEDIA_TYPE, body }
    }
  }
}

/** Every response to a sealed request is sealed, even for a wrong key or a bug. */
async function decide(
  request: IncomingMessage,
  body: Buffer,
  routes: ReadonlyMap<string, DevEnclaveRoute>,
  isKey: (given: string) => boolean,
): Promise<DevAnswer> {
  const path = request.url?.split('?', 1)[0] ?? ''
  if (path.startsWith('/v1/') && !isKey(bearerOf(request))) {
    const message = 'Incorrect API key provided.'
    return refuse(401, message, 'invalid_request_error', 'invalid_api_key')
  }
  const route = routes.get(path)
  if (route === undefined) return refuse(404, 'There is nothing at this path.')
  if (request.method !== route.method) {
    const refusal = refuse(405, `This path answers ${route.method} only.`)
    return { ...refusal, allow: route.method }
  }
  try {
    return await route.answer(body, request.headers['content-type'] ?? '')
  } catch {
    return refuse(500, 'The embedded development enclave failed.', 'server_error')
  }
}

const bearerOf = ({ headers }: IncomingMessage): string =>
  /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1] ?? ''

function nothingToAttest(): DevAnswer {
  const message =
    'The embedded development enclave has nothing to attest: it is a process on this machine, ' +
    'not an enclave. Read its key from /.well-known/hpke-keys.'
  return refuse(404, message, 'invalid_request_error', 'nothing_to_attest')
}
