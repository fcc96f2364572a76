// 46 in full: a gibibyte to one reader that stops, and to five hundred.

import type { Socket } from 'node:net'
import { rawUpstream } from '../../stream/raw-upstream.ts'
import { soon } from '../../support/patience.ts'
import { wire } from '../../stream/wire.ts'
import { drained } from '../../support/drained.ts'
import { quietScene } from '../quiet.ts'
import { judged, mib, MIB, type Own } from '../own.ts'

const GIBIBYTE = 1024 * MIB
const EACH_BYTES = 8 * MIB
/** What a process that has just begun to work grows by, whoever reads. */
const BASE_BYTES = 48 * MIB
const block = Buffer.alloc(MIB, 120)

export const SLOW_READERS: Own = {
  name: '46: readers that stop',
  async run(size) {
    const crowd = size === 'full' ? 500 : 100
    const upstream = await rawUpstream(({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${GIBIBYTE}\r\n\r\n`)
      void pour(socket)
    })
    const at = await quietScene({ TINFOIL_BASE_URL: upstream.url })
    const token = await at.token('slow')
    const stalled = async (count: number): Promise<number> => {
      const before = at.gate.rssBytes()
      const readers = Array.from({ length: count }, () => {
        const one = wire(at.gate.port, {
          token,
          path: '/v1/chat/completions',
          body: '{}',
          onBody: () => {},
        })
        void one.head.then(() => one.socket.pause())
        return one
      })
      await soon(Promise.all(readers.map(({ head }) => head)), 'the heads')
      const statuses = new Set(readers.map(({ status }) => status))
      if ([...statuses].join() !== '200') throw new Error(`answered ${[...statuses].join()}`)
      await Bun.sleep(3000)
      const grown = at.gate.rssBytes() - before
      for (const { socket } of readers) socket.destroy()
      await Bun.sleep(1000)
      return grown
    }
    const one = await stalled(1)
    const many = await stalled(crowd)
    const served = (await fetch(`${at.gate.url}/health`)).status
    await at.close()
    await upstream.close()
    return judged(
      `1 GiB each: one reader RSS +${mib(one)}, ${crowd} readers +${mib(many)}, ` +
        `${mib(many / crowd)} for each`,
      size,
      {
        'at most 8 MiB for one': one < EACH_BYTES + BASE_BYTES,
        'at most 8 MiB for each': many < crowd * EACH_BYTES,
        'the gate answers': served === 200,
      },
    )
  },
}

/** As fast as it is taken. */
async function pour(socket: Socket): Promise<void> {
  for (let sent = 0; sent < GIBIBYTE && !socket.destroyed; sent += MIB) {
    if (!socket.write(block)) await drained(socket)
  }
}
