// What somebody without a credential can make the gate spend: memory, against the bytes that he
// sends himself, while they are under way and when they are over; and connections of ours, none.

import { connect, type Socket } from 'node:net'
import { startForge } from '../../support/forge.ts'
import { flood } from '../crowd.ts'
import { lane } from '../lane.ts'
import { quietScene } from '../quiet.ts'
import { judged, mib, MIB, type Own, peakOf } from '../own.ts'

const TIMES = 10
const SENT_BYTES = 48 * MIB
const LANES = 64
const MOST_REQUESTS = { full: 100_000, quick: 30_000 }
const LEAST_REQUESTS = 1000

const text = (size: number): string => 'a'.repeat(size)
const KINDS: Readonly<Record<string, (forged: string) => string>> = {
  'no credential': () => get('/v1/models'),
  'no credential, 15 KB of headers': () => get('/v1/models', `X-A: ${text(15_000)}`),
  'a forged token': (forged) => get('/v1/models', `Authorization: Bearer ${forged}`),
  'a token of 8 KB': () => get('/v1/models', `Authorization: Bearer ${text(8000)}`),
  'a path of 8 KB': () => get(`/${text(8000)}`),
  'a body of 64 KB': () => post('/v1/chat/completions', 65_536),
  'an attestation beyond its bound': () => post('/attestation', 65_536),
  'a health check': () => get('/health'),
}
const get = (path: string, ...lines: readonly string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: gate.test', ...lines, '', ''].join('\r\n')
const post = (path: string, bytes: number): string =>
  `${['POST', path, 'HTTP/1.1'].join(' ')}\r\nHost: gate.test\r\nContent-Length: ${bytes}\r\n\r\n${text(bytes)}`

/** Never finished, and held by as many. */
const HELD: Readonly<Record<string, { readonly bytes: string; readonly connections: number }>> = {
  '15 KB of headers without their end': {
    bytes: `GET /v1/models HTTP/1.1\r\nHost: gate.test\r\nX-A: ${text(15_000)}`,
    connections: 2000,
  },
  '1 KB of headers without their end': {
    bytes: `GET /v1/models HTTP/1.1\r\nHost: gate.test\r\nX-A: ${text(960)}`,
    connections: 4000,
  },
  'a request line without its end': {
    bytes: 'GET /v1/models?abcdefghijklmnopqrstuvwxyz HTTP/1.1\r\n',
    connections: 4000,
  },
  '100 MB announced, 64 KB sent': {
    bytes: `POST /v1/chat/completions HTTP/1.1\r\nHost: gate.test\r\nContent-Length: 100000000\r\n\r\n${text(65_536)}`,
    connections: 500,
  },
}

export const STRANGERS: Own = {
  name: 'M: what strangers cost',
  async run(size) {
    const forge = await startForge()
    const at = await quietScene(forge.env)
    const { port } = at.gate
    const forged = forge.token().slice(0, -86) + text(86)
    await flood({ port, kind: 'health', perSecond: 0, count: 40_000, lanes: LANES })
    const [outgoing, asked] = [at.upstream.connections.opened, forge.asked.length]

    const ratios: [name: string, times: number, grown: number][] = []
    const sentBytes = size === 'full' ? SENT_BYTES : SENT_BYTES / 6
    for (const [name, make] of Object.entries(KINDS)) {
      const bytes = make(forged)
      const wanted = Math.ceil(sentBytes / bytes.length)
      const requests = Math.max(LEAST_REQUESTS, Math.min(wanted, MOST_REQUESTS[size]))
      await sendAll(port, bytes, requests / 4)
      const before = at.gate.rssBytes()
      const peak = peakOf(() => at.gate.rssBytes(), 10)
      const count = await sendAll(port, bytes, requests)
      const grown = peak.stop() - before
      ratios.push([name, grown / (count * bytes.length), grown])
    }
    for (const [name, { bytes, connections }] of Object.entries(HELD)) {
      await held(port, bytes, Math.floor(connections / 8))
      await Bun.sleep(500)
      const before = at.gate.rssBytes()
      const peak = peakOf(() => at.gate.rssBytes(), 10)
      const count = await held(port, bytes, size === 'full' ? connections : connections / 4)
      const grown = peak.stop() - before
      ratios.push([name, grown / (count * bytes.length), grown])
      await Bun.sleep(500)
    }
    const reached = at.upstream.connections.opened - outgoing
    const fetched = forge.asked.length - asked
    await at.close()
    await forge.close()
    const worst = ratios.toSorted(([, a], [, b]) => b - a)
    return judged(
      `worst ${worst
        .slice(0, 3)
        .map(([name, times, grown]) => `${times.toFixed(2)} x (${name}, +${mib(grown)})`)
        .join(', ')} of ${ratios.length} kinds; ${reached} connections to the upstream, ` +
        `${fetched} reads of the key set`,
      size,
      {
        'at most 10 times their bytes': worst.every(([, times]) => times < TIMES),
        'no connection to the upstream': reached === 0,
        'no read of the key set': fetched === 0,
      },
    )
  },
}

/** Whole requests over connections that stay, for as long as they do. */
async function sendAll(port: number, bytes: string, wanted: number): Promise<number> {
  const buffer = Buffer.from(bytes, 'latin1')
  let [started, answered] = [0, 0]
  const worker = async (): Promise<void> => {
    let one = await lane(port)
    while (started < wanted) {
      started += 1
      if (!one.open) one = await lane(port)
      await Promise.race([one.ask(buffer), Bun.sleep(2000)])
      answered += 1
    }
    one.close()
  }
  await Promise.all(Array.from({ length: LANES }, worker))
  return answered
}

async function held(port: number, bytes: string, connections: number): Promise<number> {
  const sockets: Socket[] = []
  for (let number = 0; number < connections; number++) {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.on('error', () => {})
    socket.write(bytes)
    sockets.push(socket)
    if (number % 100 === 99) await Bun.sleep(20)
  }
  await Bun.sleep(1500)
  for (const socket of sockets) socket.destroy()
  return sockets.length
}
