// 1, as smuggler mutates it: the Transfer-Encoding line with every byte in every place where a lax
// parser forgives one, beside a Content-Length, in either order. One connection each. Whatever the
// gate makes of it, the request inside the body may never be answered, nor reach the upstream.

import { dial, head } from '../../support/wire.ts'
import { quietScene } from '../quiet.ts'
import { judged, type Own } from '../own.ts'

const PLACES: readonly ((byte: string) => string)[] = [
  (byte) => `${byte}Transfer-Encoding: chunked`,
  (byte) => `Transfer${byte}Encoding: chunked`,
  (byte) => `Transfer-Encoding${byte}: chunked`,
  (byte) => `Transfer-Encoding:${byte}chunked`,
  (byte) => `Transfer-Encoding: ${byte}chunked`,
  (byte) => `Transfer-Encoding: chunked${byte}`,
  (byte) => `Transfer-Encoding: chun${byte}ked`,
  (byte) => `X-Before: x${byte}Transfer-Encoding: chunked`,
  (byte) => `X-Before: x\r\n${byte}Transfer-Encoding: chunked`,
]
const WORDS = [
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: identity, chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: chunked, chunked',
  'Transfer-Encoding: cow\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow',
  'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding:\r\n chunked',
  'Transfer-Encoding:\r\n\tchunked',
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding: 'chunked'",
  'Transfer-Encoding: CHUNKED',
  'TRANSFER-ENCODING: chunked',
  'Transfer-Encoding: chunked;q=1',
  'Transfer-Encoding: ,chunked',
  'Transfer-Encoding: chunked,',
  'Transfer-Encoding: chu\r\n nked',
  'Content-Encoding: chunked',
  'TE: chunked',
]
const AT_ONCE = 24

export const SMUGGLING: Own = {
  name: '1: every mutation of Transfer-Encoding',
  async run(size) {
    const at = await quietScene()
    at.upstream.respond((request, response) => void response.end(request.url))
    const authorization = `Authorization: Bearer ${await at.token('smuggler')}`
    const hidden = head('GET /v1/models?smuggled HTTP/1.1', 'Host: gate.test', authorization)

    const bodies = {
      // Read by its length, the rest of the chunks is a request; read in chunks, all is one body.
      byLength: { length: 4, body: `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n` },
      // Read in chunks, what follows the last is a request; read by its length, all is one body.
      byChunks: { length: 5 + hidden.length, body: `0\r\n\r\n${hidden}` },
    }
    const step = size === 'full' ? 1 : 16
    const lines = [
      ...WORDS,
      ...PLACES.flatMap((place) =>
        Array.from({ length: 256 }, (_, byte) => byte)
          .filter((byte) => byte % step === 0)
          .map((byte) => place(String.fromCharCode(byte))),
      ),
    ]
    const attempts = lines.flatMap((line) =>
      Object.values(bodies).flatMap(({ length, body }) =>
        [
          [line, `Content-Length: ${length}`],
          [`Content-Length: ${length}`, line],
        ].map((framing) => ({
          line,
          bytes:
            head(
              'POST /v1/chat/completions?outer HTTP/1.1',
              'Host: gate.test',
              authorization,
              ...framing,
            ) + body,
        })),
      ),
    )
    const counts: Record<string, number> = {}
    const desynced: string[] = []
    let next = 0
    const worker = async (): Promise<void> => {
      for (let each = attempts[next++]; each; each = attempts[next++]) {
        const wire = await dial(at.gate.port)
        wire.write(Buffer.from(each.bytes, 'latin1'))
        // A gate that waits for more has taken the hidden request for body, or for nothing.
        await Promise.race([wire.settled(), Bun.sleep(1000)]).catch(() => {})
        // An answer to what was hidden comes right behind the first, where there is one.
        await Bun.sleep(2)
        const answers = wire.answers()
        if (wire.received().includes('smuggled') || answers.length > 1) {
          desynced.push(JSON.stringify(each.line))
        }
        const status = answers[0]?.status ?? (wire.closed() ? 'closed' : 'waiting')
        counts[status] = (counts[status] ?? 0) + 1
        wire.destroy()
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, worker))
    await Bun.sleep(100)
    const smuggled = at.upstream.seen.filter(({ url }) => url.includes('smuggled'))
    await at.close()
    const told = Object.entries(counts).map(([status, count]) => `${count} x ${status}`)
    return judged(
      `${attempts.length} mutations: ${told.join(', ')}; smuggled ${smuggled.length}`,
      size,
      {
        'none reached the upstream': smuggled.length === 0,
        [`no second answer (${desynced.slice(0, 3).join(', ')})`]: desynced.length === 0,
      },
    )
  },
}
