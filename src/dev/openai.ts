// The stand-in for an upstream of kind `openai` that a document lists without an address, in development
// mode, so that OpenAI's SDK works through the gate without an account.
//
// It runs no model, keeps files in memory only (files.ts) and listens on 127.0.0.1 only. It answers like
// the stand-in enclave, but never sealed.

import type { IncomingMessage, ServerResponse } from 'node:http'

import { listModels, oneModel, refuse, type DevAnswer } from './answer.ts'
import { speech, transcriptions } from './audio.ts'
import { chatCompletions, completions } from './chat.ts'
import { embeddings } from './embeddings.ts'
import { type DevFiles, devFiles } from './files.ts'
import { keyMatcher, listenOnLoopback, readBody } from './loopback.ts'
import { moderations } from './moderations.ts'
import { startRealtime } from './realtime.ts'
import { responses } from './responses.ts'
import { transmit, type TokenPace } from './transmit.ts'

const MAX_BODY_BYTES = 64 * 1024 * 1024

export interface DevOpenAiOptions {
  readonly apiKey: string
  readonly pace?: TokenPace
}

export interface DevOpenAi {
  /** With `/v1`, as clients write it. */
  readonly url: string
  /** Closes every connection, even in the middle of a stream. */
  close(): Promise<void>
}

type Answering = (body: Buffer, contentType: string) => DevAnswer | Promise<DevAnswer>

const ROUTES: ReadonlyMap<string, Answering> = new Map<string, Answering>([
  ['GET /v1/models', listModels],
  ['POST /v1/chat/completions', chatCompletions],
  ['POST /v1/completions', completions],
  ['POST /v1/responses', responses],
  ['POST /v1/embeddings', embeddings],
  ['POST /v1/moderations', moderations],
  ['POST /v1/audio/transcriptions', transcriptions],
  ['POST /v1/audio/speech', speech],
])
const MODEL_PATH = '/v1/models/'

export async function startOpenAi({
  apiKey,
  pace = { firstTokenMs: 250, tokenMs: 25 },
}: DevOpenAiOptions): Promise<DevOpenAi> {
  const isKey = keyMatcher(apiKey)
  const files = devFiles(ROUTES)
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const leaving = new AbortController()
    response.once('close', () => leaving.abort())
    const to = { pace, wantsUsage: false, left: leaving.signal, opened: undefined }
    const chunks = await readBody(request, MAX_BODY_BYTES)
    if (chunks === undefined) {
      // The rest of the body may still arrive, so the connection cannot be reused.
      response.setHeader('Connection', 'close')
      return transmit(response, refuse(413, 'The request body is larger than 64 MiB.'), to)
    }
    return transmit(response, await decide(request, Buffer.concat(chunks), isKey, files), to)
  }
  const realtime = startRealtime(pace)
  const { url, close } = await listenOnLoopback(serve, (request, socket, head) => {
    const isSession = request.url?.split('?', 1)[0] === '/v1/realtime'
    if (isSession && isKey(keyOf(request))) realtime.take(request, socket, head)
    else socket.end(`HTTP/1.1 ${isSession ? '401 Unauthorized' : '404 Not Found'}\r\n\r\n`)
  })
  return {
    url: `${url}/v1`,
    async close() {
      await realtime.close()
      await close()
    },
  }
}

function keyOf({ headers }: Pick<IncomingMessage, 'headers'>): string {
  const bearer = /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
  return bearer ?? String(headers['api-key'] ?? '')
}

async function decide(
  { url = '', method = '', headers }: IncomingMessage,
  body: Buffer,
  isKey: (given: string) => boolean,
  files: DevFiles,
): Promise<DevAnswer> {
  const path = url.split('?', 1)[0] ?? ''
  if (!isKey(keyOf({ headers }))) {
    const message = 'Incorrect API key provided.'
    return refuse(401, message, 'invalid_request_error', 'invalid_api_key')
  }
  if (method === 'GET' && path.startsWith(MODEL_PATH))
    return oneModel(path.slice(MODEL_PATH.length))
  const contentType = headers['content-type'] ?? ''
  try {
    const answer = ROUTES.get(`${method} ${path}`)
    if (answer) return await answer(body, contentType)
    const kept = await files.answer({ method, path, body, contentType })
    return kept ?? refuse(404, 'There is nothing at this path.')
  } catch {
    return refuse(500, 'The embedded OpenAI failed.', 'server_error')
  }
}
