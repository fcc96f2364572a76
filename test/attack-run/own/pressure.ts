// 52, memory: bodies that have to be held whole, because a limit depends on what they say, from many
// devices at once and never finished. They are given so much, and the others go on.

import { connect, type Socket } from 'node:net'
import { anthropicScene, messages } from '../../support/anthropic.ts'
import { drained } from '../../support/drained.ts'
import { judged, mib, MIB, type Own, peakOf } from '../own.ts'

const DEVICES = 12
const EACH = 3
const BODY_BYTES = 31 * MIB
const ROUNDS = 3
/** What bodies may hold together (src/dispatch/held-bytes.ts), and what carrying them takes. */
const PROMISED_BYTES = 256 * MIB + 192 * MIB
/** Bodies that were refused half way stay until they are collected; but not without an end. */
const MOST_BYTES = 1280 * MIB

export const PRESSURE: Own = {
  name: '52: pressure on memory',
  async run(size) {
    const rounds = size === 'full' ? ROUNDS : 1
    const on = await anthropicScene()
    const tokens = await Promise.all(
      Array.from({ length: DEVICES }, () => on.device('--models', 'claude-*')),
    )
    const free = await on.device('--models', 'claude-*')
    await (await messages(on.gate, free)).bytes()
    const before = on.gate.rssBytes()
    const block = Buffer.alloc(MIB, 120)
    const statuses: Record<string, number> = {}
    let offered = 0
    const sockets: Socket[] = []
    const hold = async (token: string): Promise<void> => {
      const socket = connect({ port: on.gate.port, host: '127.0.0.1' })
      sockets.push(socket)
      const answer = { status: 'held' }
      socket.on('error', () => {})
      socket.on('data', (bytes: Buffer) => {
        answer.status = bytes.toString('latin1', 9, 12)
      })
      socket.write(
        `POST /v1/messages HTTP/1.1\r\nHost: gate.test\r\nAuthorization: Bearer ${token}\r\n` +
          `Content-Type: application/json\r\nContent-Length: ${BODY_BYTES + 1}\r\n\r\n`,
      )
      for (let sent = 0; sent < BODY_BYTES; sent += MIB) {
        if (answer.status !== 'held' || socket.destroyed) break
        offered += MIB
        if (!socket.write(block)) {
          await Promise.race([drained(socket), Bun.sleep(3000)])
        }
      }
      await Bun.sleep(1000)
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
    }
    const peaks: number[] = []
    const meanwhile: number[] = []
    let after: number[] = []
    for (let round = 0; round < rounds; round++) {
      const peak = peakOf(() => on.gate.rssBytes())
      await Promise.all(tokens.flatMap((token) => Array.from({ length: EACH }, () => hold(token))))
      const small = await messages(on.gate, free)
      await small.bytes()
      const ready = await fetch(`${on.gate.url}/readyz`)
      meanwhile.push(small.status, ready.status)
      peaks.push(peak.stop() - before)
      for (const socket of sockets.splice(0)) socket.destroy()
      await Bun.sleep(1500)
      after = await Promise.all(
        [...tokens, free].map(async (token) => {
          const response = await messages(on.gate, token)
          await response.bytes()
          return response.status
        }),
      )
    }
    const { exitCode } = on.gate.process
    await on.close()
    const told = Object.entries(statuses).map(([status, count]) => `${count} x ${status}`)
    return judged(
      `${mib(offered)} of bodies without an end in ${rounds} rounds: ${told.join(', ')}; ` +
        `RSS +${peaks.map(mib).join(', +')}; a small one and readyz meanwhile ` +
        `${[...new Set(meanwhile)].join()}, all devices afterwards ${[...new Set(after)].join()}`,
      size,
      {
        'bounded memory': Math.max(...peaks) < MOST_BYTES,
        'some turned away': Object.keys(statuses).some((status) => Number(status) >= 429),
        alive: exitCode === null,
        'small ones go on': meanwhile.every((status) => status === 200),
        'all served afterwards': after.every((status) => status === 200),
      },
      {
        'shed by 503 (it is 429 with Retry-After)': !('429' in statuses),
        'within 448 MiB (bodies refused half way wait for the collector)':
          Math.max(...peaks) < PROMISED_BYTES,
      },
    )
  },
}
