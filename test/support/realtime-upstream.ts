// A server of OpenAI's realtime API: it answers `response.create`, echoes what is no event of the API, and
// remembers what it was sent.

import type { ServerWebSocket } from 'bun'

export const UPSTREAM_KEY = 'sk-realtime-canary-4711'

export interface RealtimeUpstream {
  readonly url: string
  /** The headers of each handshake, and its target. */
  readonly handshakes: { readonly target: string; readonly headers: Headers }[]
  readonly messages: (string | Buffer)[]
  readonly closes: (readonly [code: number, reason: string])[]
  readonly sockets: Set<ServerWebSocket<undefined>>
  /** Answers the next handshakes like this. */
  refuse(answer: (() => Response) | undefined): void
  /** The usage of the responses; undefined tells none. */
  usage: Record<string, unknown> | undefined
  /** Responses stay unfinished. */
  hangs: boolean
  stop(): Promise<void>
}

export const USAGE = {
  total_tokens: 150,
  input_tokens: 100,
  output_tokens: 50,
  input_token_details: { text_tokens: 40, audio_tokens: 60, cached_tokens: 20 },
  output_token_details: { text_tokens: 10, audio_tokens: 40 },
}

export function startRealtimeUpstream(): RealtimeUpstream {
  let refusal: (() => Response) | undefined
  let responses = 0
  const answer = (socket: ServerWebSocket<undefined>, text: string): void => {
    const event = parsed(text)
    if (event?.['type'] !== 'response.create') {
      if (event === undefined || event['type'] === 'echo') socket.send(text)
      return
    }
    responses += 1
    const id = `resp_${responses}`
    const say = (type: string, more: object): void =>
      void socket.send(JSON.stringify({ type, event_id: 'event_1', ...more }))
    say('response.created', { response: { id, status: 'in_progress', usage: null } })
    say('response.output_text.delta', { response_id: id, delta: 'Hello' })
    if (upstream.hangs) return
    const status = 'completed'
    say('response.done', { response: { id, status, output: [], usage: upstream.usage } })
  }
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request, self) {
      const { pathname, search } = new URL(request.url)
      upstream.handshakes.push({ target: pathname + search, headers: request.headers })
      if (refusal) return refusal()
      if (request.headers.get('authorization') !== `Bearer ${UPSTREAM_KEY}`) {
        return Response.json({ error: { message: 'Incorrect API key' } }, { status: 401 })
      }
      const offered = request.headers.get('sec-websocket-protocol')
      const headers = offered === null ? {} : { 'sec-websocket-protocol': 'realtime' }
      return self.upgrade(request, { headers }) ? undefined : new Response('', { status: 400 })
    },
    websocket: {
      maxPayloadLength: 64 * 1024 * 1024,
      backpressureLimit: 0,
      open(socket) {
        upstream.sockets.add(socket)
        socket.send(JSON.stringify({ type: 'session.created', event_id: 'event_0', session: {} }))
      },
      message(socket, message) {
        upstream.messages.push(message)
        if (typeof message === 'string') answer(socket, message)
        else socket.send(message)
      },
      close(socket, code, reason) {
        upstream.sockets.delete(socket)
        upstream.closes.push([code, reason])
      },
    },
  })
  const upstream: RealtimeUpstream = {
    url: `http://127.0.0.1:${server.port}/v1`,
    handshakes: [],
    messages: [],
    closes: [],
    sockets: new Set(),
    refuse: (with_) => {
      refusal = with_
    },
    usage: USAGE,
    hangs: false,
    stop: () => server.stop(true),
  }
  return upstream
}

function parsed(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
