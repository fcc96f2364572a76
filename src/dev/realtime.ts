// GET /v1/realtime of the stand-in OpenAI: a session that answers text with text. Speech that is sent is
// counted and not listened to.

import type { ServerWebSocket } from 'bun'
import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import net from 'node:net'
import type { Duplex } from 'node:stream'

import {
  countTokens,
  type DevFields,
  generate,
  type Generated,
  isObject,
  parseJson,
  textOf,
} from './answer.ts'
import type { TokenPace } from './transmit.ts'

interface Talk {
  readonly model: string
  session: DevFields
  said: string
  soundBytes: number
  promptTokens: number
  running: boolean
}

type Socket = ServerWebSocket<Talk>

export interface DevRealtime {
  /** The socket of an upgrade that was authenticated. */
  take(request: IncomingMessage, socket: Duplex, head: Buffer): void
  close(): Promise<void>
}

/** On a port of its own, since the stand-in's server is Node's, whose upgrades end in bare sockets. */
export function startRealtime(pace: TokenPace): DevRealtime {
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch(request, self) {
      const model = new URL(request.url).searchParams.get('model') ?? 'gpt-realtime'
      const session = { type: 'realtime', output_modalities: ['text'] }
      const talk = { session, said: '', soundBytes: 0, promptTokens: 0, running: false }
      const offered = request.headers.get('sec-websocket-protocol')?.split(/, */) ?? []
      const headers = offered.includes('realtime') ? { 'sec-websocket-protocol': 'realtime' } : {}
      return self.upgrade(request, { data: { model, ...talk }, headers })
        ? undefined
        : new Response('not a WebSocket', { status: 426 })
    },
    websocket: {
      data: {} as Talk,
      open: (socket) => tell(socket, 'session.created', { session: sessionOf(socket.data) }),
      message(socket, message) {
        const event = parseJson(Buffer.from(message))
        if (event) answer(socket, event, pace)
        else fail(socket, 'The message is not a JSON object.')
      },
    },
  })
  return {
    take(request, socket, head) {
      const to = net.connect(server.port ?? 0, '127.0.0.1')
      const { rawHeaders } = request
      const names = rawHeaders.filter((_, at) => at % 2 === 0)
      const lines = names.map((name, at) => `${name}: ${rawHeaders[2 * at + 1]}\r\n`)
      to.write(`GET ${request.url} HTTP/1.1\r\n${lines.join('')}\r\n`)
      to.write(head)
      to.pipe(socket)
      socket.pipe(to)
      to.on('error', () => socket.destroy())
      socket.on('error', () => to.destroy()).on('close', () => to.destroy())
    },
    close: () => server.stop(true),
  }
}

function answer(socket: Socket, event: DevFields, pace: TokenPace): void {
  const talk = socket.data
  switch (event['type']) {
    case 'session.update':
      if (isObject(event['session'])) talk.session = { ...talk.session, ...event['session'] }
      return tell(socket, 'session.updated', { session: sessionOf(talk) })
    case 'conversation.item.create': {
      const item = { id: `item_${randomUUID()}`, ...Object(event['item']) } as DevFields
      if (item['role'] === 'user') talk.said = textOf(item['content'])
      talk.promptTokens += countTokens(textOf(item['content'])) + 3
      tell(socket, 'conversation.item.added', { previous_item_id: null, item })
      return tell(socket, 'conversation.item.done', { previous_item_id: null, item })
    }
    case 'input_audio_buffer.append':
      talk.soundBytes += Buffer.from(String(event['audio'] ?? ''), 'base64').byteLength
      return
    case 'input_audio_buffer.commit': {
      talk.said = `${talk.soundBytes} bytes of sound`
      talk.promptTokens += Math.ceil(talk.soundBytes / 4800)
      talk.soundBytes = 0
      return tell(socket, 'input_audio_buffer.committed', { item_id: `item_${randomUUID()}` })
    }
    case 'response.create':
      if (talk.running) return fail(socket, 'A response is running.', event['event_id'])
      return void respond(socket, Object(event['response']) as DevFields, pace)
    case 'response.cancel':
      talk.running = false
      return
    default:
      return fail(socket, 'The development stand-in does not know this event.', event['event_id'])
  }
}

async function respond(socket: Socket, asked: DevFields, pace: TokenPace): Promise<void> {
  const talk = socket.data
  talk.running = true
  const id = `resp_${randomUUID()}`
  const item = { id: `item_${randomUUID()}`, type: 'message', role: 'assistant' }
  const of = { response_id: id, item_id: item.id, output_index: 0, content_index: 0 }
  const generated = generate(talk.said, asked['max_output_tokens'])
  const begun = { id, object: 'realtime.response', metadata: asked['metadata'] ?? null }
  const open = { ...begun, status: 'in_progress', output: [], usage: null }
  tell(socket, 'response.created', { response: open })
  tell(socket, 'response.output_item.added', { ...of, item: { ...item, status: 'in_progress' } })
  tell(socket, 'response.content_part.added', { ...of, part: { type: 'text', text: '' } })
  let text = ''
  for (const [at, delta] of generated.tokens.entries()) {
    await Bun.sleep(at === 0 ? pace.firstTokenMs : pace.tokenMs)
    if (!talk.running || socket.readyState !== WebSocket.OPEN) break
    text += delta
    tell(socket, 'response.output_text.delta', { ...of, delta })
  }
  const status = talk.running ? endOf(generated) : 'cancelled'
  talk.running = false
  const content = [{ type: 'output_text', text }]
  const done = { ...item, status: 'completed', content }
  tell(socket, 'response.output_text.done', { ...of, text })
  tell(socket, 'response.content_part.done', { ...of, part: { type: 'text', text } })
  tell(socket, 'response.output_item.done', { ...of, item: done })
  const usage = usageOf(talk.promptTokens, countTokens(text))
  talk.promptTokens = usage.total_tokens
  tell(socket, 'response.done', { response: { ...begun, status, output: [done], usage } })
}

const endOf = ({ truncated }: Generated): string => (truncated ? 'incomplete' : 'completed')

const usageOf = (input: number, output: number) => ({
  total_tokens: input + output,
  input_tokens: input,
  output_tokens: output,
  input_token_details: { text_tokens: input, audio_tokens: 0, image_tokens: 0, cached_tokens: 0 },
  output_token_details: { text_tokens: output, audio_tokens: 0 },
})

const sessionOf = ({ model, session }: Talk) => ({
  id: 'sess_development',
  object: 'realtime.session',
  ...session,
  model,
})

function fail(socket: Socket, message: string, eventId: unknown = null): void {
  const error = { type: 'invalid_request_error', code: null, message, param: null }
  tell(socket, 'error', { error: { ...error, event_id: eventId } })
}

function tell(socket: Socket, type: string, more: object): void {
  socket.send(JSON.stringify({ type, event_id: `event_${randomUUID()}`, ...more }))
}
